"""Healthy trainings that a checkup must leave alone, those that look ill among them."""

from __future__ import annotations

from collections.abc import Callable

from chainrule import nn
from chainrule.health.suite import faults
from chainrule.health.suite.cases import BALANCED, Case
from chainrule.health.suite.twins import Prepared, Twin
from chainrule.health.trainings import Training, run
from chainrule.optim import SGD, Adam, AdamW, RMSprop

__all__ = ["CONTROLS"]


def _control(
    name: str, twin: Twin, change: Callable[[Training], Training] | None = None, scored: str = "score"
) -> Case:
    start = twin if change is None else Prepared(twin, change)
    return Case(name, "control", twin.data, start, scored=scored)


def _trained(training: Training) -> Training:
    """Started where a training of it has ended."""
    return training.altered(module=run(training).module)


CONTROLS: tuple[Case, ...] = (
    # Depth.
    _control("deep-default-start", Twin("digits", (32,) * 11, init=None, epochs=40)),
    _control("deep-residual", Twin("circles", (24,) * 12, residual=True, optimizer=Adam(lr=1e-3))),
    _control(
        "deep-normalized", Twin("digits_half", (24,) * 8, norm=True, optimizer=SGD(lr=0.02, momentum=0.9)),
    ),
    _control("deep-tanh", Twin("digits_odd", (32,) * 8, "tanh", "xavier_uniform", Adam(lr=1e-3))),
    _control("deep-sigmoid", Twin("circles", (24,) * 5, "sigmoid", optimizer=Adam(lr=3e-3), epochs=30)),
    # Activations and widths.
    _control("shallow-sigmoid", Twin("digits", (64,), "sigmoid", "xavier_uniform", Adam(lr=1e-2))),
    _control("sigmoid-cancer", Twin("cancer", (16,), "sigmoid", None, SGD(lr=0.1, momentum=0.9))),
    _control("gelu", Twin("spirals", (48, 48), "gelu", epochs=150)),
    _control("silu", Twin("friedman", (48, 24), "silu", epochs=40)),
    _control("tanh", Twin("xor", (24,), "tanh", None, Adam(lr=1e-2), epochs=40)),
    _control("selu", Twin("clusters", (32,) * 4, "selu", "lecun_normal", Adam(lr=1e-3))),
    _control("narrow", Twin("iris", (4,), "tanh", "xavier_uniform", Adam(lr=2e-2), batch_size=10, epochs=40)),
    _control("linear-on-plane", Twin("plane", (), init=None, optimizer=SGD(lr=0.05))),
    _control("linear-on-wine", Twin("wine", (), init=None, optimizer=SGD(lr=0.1), batch_size=8)),
    # Some units are dead, and not missed.
    _control("some-dead-units", Twin("digits", (64, 64)), faults.hidden_biases(-20.0, share=0.23)),
    _control("some-dead-units-moons", Twin("moons", (64,), epochs=60),
             faults.hidden_biases(-10.0, share=0.25)),
    # Rates and batches.
    _control("small-rate", Twin("digits_half", (32,), optimizer=SGD(lr=1e-3, momentum=0.9), epochs=60)),
    _control("small-rate-cancer", Twin("cancer", (16,), optimizer=SGD(lr=3e-3), epochs=60)),
    _control("small-batch", Twin("digits", (32,), optimizer=SGD(lr=0.01), batch_size=4, epochs=10)),
    _control("big-batch", Twin("digits", (64,), optimizer=Adam(lr=1e-2), batch_size=400, epochs=60)),
    _control("whole-batch", Twin("moons", (32,), optimizer=Adam(lr=2e-2), batch_size=600, epochs=200)),
    _control("rmsprop", Twin("clusters", (32,), optimizer=RMSprop(lr=2e-3))),
    _control("clipped", Twin("plane", (32, 16), optimizer=SGD(lr=0.05), epochs=40,
                             options={"clip_norm": 1.0})),
    _control("cosine-schedule", Twin("digits_odd", (48,), optimizer=SGD(lr=0.1, momentum=0.9),
                                     options={"schedule": "cosine"})),
    # Regularization that is not too strong.
    _control("dropout", Twin("digits", (64, 64), dropout=0.5, epochs=40)),
    _control("l2", Twin("digits_noisy", (48,), options={"l2": 3e-2})),
    _control("decay", Twin("cancer", (16,), optimizer=AdamW(lr=5e-3, weight_decay=0.1))),
    # Data.
    _control("noisy-labels", Twin("digits_noisy", (32,), optimizer=Adam(lr=2e-3), epochs=8)),
    _control("tiny-data", Twin("iris", (16,), optimizer=Adam(lr=1e-2), batch_size=8, epochs=40),
             faults.few_rows(30)),
    _control("wide-data", Twin("wide", (32,), optimizer=Adam(lr=1e-3))),
    _control("raw-iris", Twin("iris", (16,), optimizer=Adam(lr=1e-2), batch_size=10, epochs=60),
             faults.raw_inputs("iris")),
    _control("raw-pixels", Twin("digits", (64,), optimizer=Adam(lr=1e-3), epochs=30),
             faults.raw_inputs("digits")),
    _control("imbalanced", Twin("digits_rare", (32,)), scored="balanced_accuracy"),
    _control("imbalanced-weighted", BALANCED, scored="balanced_accuracy"),
    # Losses.
    _control("noise-ceiling", Twin("ceiling", (8,), "tanh", None, SGD(lr=0.01), epochs=25)),
    _control("diabetes", Twin("diabetes", (16,), optimizer=SGD(lr=0.01), epochs=25)),
    _control("huber", Twin("friedman", (32,), "tanh", "xavier_uniform", Adam(lr=1e-2), nn.HuberLoss(),
                           epochs=40)),
    _control("poisson", Twin("counts", (32,), loss=nn.PoissonNLLLoss(), epochs=40)),
    _control("binary", Twin("digits_odd", (32,), loss=nn.BCEWithLogitsLoss(), n_outputs=1)),
    _control("binary-xor", Twin("xor", (32, 16), loss=nn.BCEWithLogitsLoss(), n_outputs=1, epochs=40)),
    _control("median", Twin("product", (48, 24), "silu", loss=nn.QuantileLoss(0.5), epochs=80)),
    _control("absolute-error", Twin("wave", (64,), "tanh", None, Adam(lr=1e-2), nn.L1Loss(), epochs=150)),
    _control("label-smoothing", Twin("digits_half", (32,), loss=nn.CrossEntropyLoss(label_smoothing=0.1))),
    # Nothing left to learn.
    _control("converged-digits", Twin("digits", (32,), epochs=25), _trained),
    _control("converged-plane", Twin("plane", (32,), optimizer=Adam(lr=5e-3), epochs=80), _trained),
    _control("converged-cancer", Twin("cancer", (16,), optimizer=Adam(lr=3e-3)), _trained),
)  # fmt: skip
