"""The faulty trainings: each a healthy twin and one edit, with the cause that a diagnosis should name.

**The two halves.** Rules are tuned on one half of the benchmark and reported on the other. A case belongs
to ``tuning`` if the place of its family in ``FAMILIES`` plus the place of its data set in ``data.NAMES`` is
even, and to ``held_out`` if it is odd. All cases of one family on one data set are so in the same half: no
held-out case shares both with a case of tuning. Controls are of one family, so that their halves have no
data set in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chainrule import nn
from chainrule.health.suite import faults
from chainrule.health.suite.data import NAMES
from chainrule.health.suite.faults import Edit
from chainrule.health.suite.twins import Prepared, Twin
from chainrule.health.trainings import Training
from chainrule.optim import SGD, Adam, AdamW

__all__ = ["CASES", "FAMILIES", "Case", "half_of", "split"]

# New ones go to the end: which half a case is in depends on the place of its family here.
FAMILIES = (
    "control",
    "symmetry",
    "init_small",
    "init_large",
    "output_scale",
    "vanishing",
    "exploding",
    "saturation",
    "dead_relu",
    "rate_high",
    "rate_low",
    "frozen",
    "not_zeroed",
    "loss_sign",
    "double_softmax",
    "output_range",
    "unscaled_inputs",
    "unscaled_targets",
    "no_activation",
    "over_regularised",
    "overfitting",
    "no_signal",
    "class_imbalance",
    "non_finite",
)


@dataclass(frozen=True)
class Case:
    """A training with one planted fault, or a healthy one.

    Attributes
    ----------
    name : str
    family : str
        Of the fault, one of ``FAMILIES``.
    data : str
        One of ``data.NAMES``.
    twin : callable
        ``twin(seed)`` is the healthy training; the seed draws its start.
    edit : callable or None
        Plants the fault; None for a control.
    causes : tuple of str
        What a diagnosis should name: the first, or any of the others, which are the same by construction.
    scored : {"score", "balanced_accuracy"}
        What the training is judged by, on the validation rows: accuracy or R²; or the mean of the classes'
        accuracies, where one class is rare.
    """

    name: str
    family: str
    data: str
    twin: Callable[[int], Training]
    edit: Edit | None = None
    causes: tuple[str, ...] = ()
    scored: str = "score"

    def training(self, seed: int) -> Training:
        """The twin with the fault in it."""
        training = self.twin(seed)
        return training if self.edit is None else self.edit(training)


def half_of(case: Case) -> str:
    """``"tuning"`` or ``"held_out"``, by the rule above."""
    place = FAMILIES.index(case.family) + NAMES.index(case.data)
    return "held_out" if place % 2 else "tuning"


def split(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases of each half."""
    halves: dict[str, list[Case]] = {"tuning": [], "held_out": []}
    for case in cases:
        halves[half_of(case)].append(case)
    return halves


def _case(name: str, twin: Twin, edit: Edit, causes: str, scored: str = "score") -> Case:
    """A case whose family is its first cause; ``causes`` are separated by spaces."""
    named = tuple(causes.split())
    return Case(name, named[0], twin.data, twin, edit, named, scored)


def _prepared(case: Case, change: Edit) -> Case:
    """The case with a change to its twin."""
    return Case(
        case.name, case.family, case.data, Prepared(case.twin, change), case.edit, case.causes, case.scored
    )


# ---------------------------------------------------------------------------------------------------- twins

DIGITS = Twin("digits", (64, 32), epochs=20)
DIGITS_SGD = Twin("digits", (48,), optimizer=SGD(lr=0.05, momentum=0.9), epochs=15)
DIGITS_TANH = Twin("digits", (32, 32, 32), "tanh", "xavier_uniform", SGD(lr=0.05), epochs=25)
DIGITS_DEEP = Twin("digits", (32,) * 6, optimizer=Adam(lr=2e-3), epochs=25)
DIGITS_DEEP_SGD = Twin("digits", (32,) * 8, optimizer=SGD(lr=0.01, momentum=0.9), epochs=25)
DIGITS_NORM = Twin("digits", (32,) * 8, init=None, norm=True, optimizer=SGD(lr=0.02, momentum=0.9), epochs=15)
DIGITS_DROPOUT = Twin("digits", (64, 64), dropout=0.2, epochs=20)
DIGITS_SIGMOID = Twin("digits", (32,), "sigmoid", "xavier_uniform", Adam(lr=1e-2), epochs=20)
DIGITS_PLAIN = Twin("digits", (32, 32), "tanh", "xavier_uniform", SGD(lr=0.05), epochs=8)
ODD_SIGMOID = Twin("digits_odd", (32,), "sigmoid", "xavier_uniform", SGD(lr=0.1, momentum=0.9), epochs=20)
ODD_DEEP = Twin("digits_odd", (32,) * 8, optimizer=SGD(lr=0.01, momentum=0.9), epochs=20)
ODD = Twin("digits_odd", (32, 32), "gelu", optimizer=AdamW(lr=3e-3), epochs=20)
ODD_SGD = Twin("digits_odd", (32, 32), "tanh", "xavier_normal", SGD(lr=0.05, momentum=0.9), epochs=15)
ODD_BINARY = Twin("digits_odd", (32,), loss=nn.BCEWithLogitsLoss(), n_outputs=1, epochs=20)
NOISY = Twin("digits_noisy", (32,), optimizer=Adam(lr=2e-3), epochs=8)
NOISY_SGD = Twin("digits_noisy", (24, 24), optimizer=SGD(lr=0.02), epochs=12)
HALF_PLAIN = Twin("digits_half", (24, 24), optimizer=SGD(lr=0.01), epochs=8)
HALF_DEEP_SGD = Twin("digits_half", (24,) * 5, optimizer=SGD(lr=0.02, momentum=0.9), epochs=20)
HALF = Twin("digits_half", (32, 16), "elu", optimizer=SGD(lr=0.03, momentum=0.9), epochs=12)
HALF_TANH_PLAIN = Twin("digits_half", (32,), "tanh", "xavier_uniform", SGD(lr=0.02), epochs=8)
HALF_TANH = Twin("digits_half", (24, 24), "tanh", "xavier_uniform", SGD(lr=0.02, momentum=0.9), epochs=8)
HALF_DEEP = Twin("digits_half", (24,) * 5, optimizer=Adam(lr=3e-3), epochs=20)
CANCER = Twin("cancer", (16,), optimizer=Adam(lr=5e-3), epochs=20)
CANCER_SGD = Twin("cancer", (16, 16), "tanh", "xavier_uniform", SGD(lr=0.05), batch_size=16, epochs=20)
WINE = Twin("wine", (16,), optimizer=SGD(lr=0.05), batch_size=8, epochs=20)
IRIS_PLAIN = Twin("iris", (12, 12), "tanh", "xavier_uniform", SGD(lr=0.05), batch_size=10, epochs=25)
IRIS_NARROW = Twin("iris", (4, 4, 4), "tanh", "xavier_uniform", Adam(lr=1e-2), batch_size=10, epochs=40)
MOONS_NARROW = Twin("moons", (6, 6), optimizer=Adam(lr=1e-2), epochs=30)
CIRCLES_NARROW = Twin("circles", (8,) * 4, optimizer=Adam(lr=1e-2), epochs=20)
MOONS = Twin("moons", (32, 16), optimizer=Adam(lr=5e-3), epochs=40)
MOONS_TANH = Twin("moons", (24,), "tanh", "xavier_uniform", SGD(lr=0.2, momentum=0.9), epochs=40)
CIRCLES = Twin("circles", (32,), optimizer=SGD(lr=0.1, momentum=0.9), epochs=30)
CIRCLES_TANH = Twin("circles", (24, 24), "tanh", "xavier_normal", SGD(lr=0.05, momentum=0.9), epochs=25)
CIRCLES_DEEP = Twin("circles", (24,) * 5, optimizer=Adam(lr=3e-3), epochs=30)
CIRCLES_DEEP_SGD = Twin("circles", (24,) * 6, optimizer=SGD(lr=0.05, momentum=0.9), epochs=30)
RESIDUAL = Twin("digits_half", (24,) * 12, init=None, residual=True, optimizer=SGD(lr=0.02), epochs=15)
XOR = Twin("xor", (32,), "tanh", "xavier_normal", Adam(lr=1e-2), epochs=40)
SPIRALS = Twin("spirals", (48, 48), "silu", optimizer=Adam(lr=5e-3), epochs=120)
CLUSTERS = Twin("clusters", (48, 24), "leaky_relu", optimizer=SGD(lr=0.05, momentum=0.9), epochs=20)
CLUSTERS_DEEP = Twin("clusters", (32,) * 7, optimizer=Adam(lr=2e-3), epochs=25)
BALANCED = Twin("imbalanced", (24,), epochs=40, options={"class_weight": "balanced"})
CLUSTERS_PLAIN = Twin("clusters", (24, 24), optimizer=SGD(lr=0.02), epochs=10)
DIABETES = Twin("diabetes", (16,), optimizer=SGD(lr=0.01), epochs=25)
DIABETES_HUBER = Twin("diabetes", (16,), loss=nn.HuberLoss(), optimizer=Adam(lr=3e-3), epochs=20)
FRIEDMAN = Twin("friedman", (48, 24), optimizer=Adam(lr=5e-3), epochs=40)
FRIEDMAN_SGD = Twin("friedman", (48,), "tanh", "xavier_uniform", SGD(lr=0.02, momentum=0.9), epochs=50)
FRIEDMAN_DEEP = Twin("friedman", (32,) * 6, optimizer=Adam(lr=3e-3), epochs=40)
PLANE = Twin("plane", (32,), optimizer=Adam(lr=5e-3), epochs=60)
PLANE_SGD = Twin("plane", (32, 16), "elu", "lecun_normal", SGD(lr=0.02, momentum=0.9), epochs=40)
WAVE = Twin("wave", (64,), "tanh", None, Adam(lr=1e-2), epochs=150)
WAVE_DEEP = Twin("wave", (32,) * 4, optimizer=Adam(lr=3e-3), epochs=80)
PRODUCT = Twin("product", (48, 24), "silu", optimizer=Adam(lr=5e-3), epochs=60)

# ---------------------------------------------------------------------------------------------------- cases

_STARTS = [
    _case("zero-weights-digits", DIGITS_SGD, faults.constant_weights(0.0), "symmetry"),
    _case("zero-weights-friedman", FRIEDMAN, faults.constant_weights(0.0), "symmetry"),
    _case("zero-weights-circles", CIRCLES_DEEP, faults.constant_weights(0.0), "symmetry"),
    _case("constant-weights-digits", DIGITS_TANH, faults.constant_weights(0.1), "symmetry"),
    _case("constant-weights-moons", MOONS_TANH, faults.constant_weights(0.3), "symmetry"),
    _case("constant-weights-half", HALF, faults.constant_weights(0.1), "symmetry"),
    _case("constant-weights-product", PRODUCT, faults.constant_weights(0.05), "symmetry"),
    _case("small-weights-digits", DIGITS_DEEP_SGD, faults.scaled_weights(0.01), "init_small vanishing"),
    _case("tiny-weights-digits", DIGITS_DEEP, faults.scaled_weights(0.001), "init_small vanishing"),
    _case("small-weights-circles", CIRCLES_DEEP, faults.scaled_weights(0.001), "init_small vanishing"),
    _case("small-weights-friedman", FRIEDMAN_DEEP, faults.scaled_weights(0.001), "init_small vanishing"),
    _case("small-weights-half", HALF_DEEP, faults.scaled_weights(0.001), "init_small vanishing"),
    _case("large-weights-digits", DIGITS, faults.scaled_weights(10), "init_large output_scale"),
    _case("huge-weights-clusters", CLUSTERS, faults.scaled_weights(30), "init_large output_scale"),
    _case("large-weights-friedman", FRIEDMAN, faults.scaled_weights(10), "init_large output_scale"),
    _case("large-weights-diabetes", DIABETES, faults.scaled_weights(10), "init_large output_scale"),
    _case("large-weights-half", HALF_DEEP, faults.scaled_weights(10), "init_large exploding output_scale"),
    _case("large-output-clusters", CLUSTERS, faults.scaled_output(100), "output_scale init_large"),
    _case("large-output-noisy", NOISY_SGD, faults.scaled_output(100), "output_scale init_large"),
    _case("large-output-plane", PLANE, faults.scaled_output(100), "output_scale init_large"),
    _case("large-output-half", HALF, faults.scaled_output(100), "output_scale init_large"),
    _case("large-output-friedman", FRIEDMAN, faults.scaled_output(100), "output_scale init_large"),
]
_DEPTH = [
    _case("deep-sigmoid-digits", DIGITS_DEEP, faults.activations("sigmoid"), "vanishing"),
    _case("deep-sigmoid-digits-sgd", DIGITS_DEEP_SGD, faults.activations("sigmoid"), "vanishing"),
    _case("deep-sigmoid-clusters", CLUSTERS_DEEP, faults.sigmoids(), "vanishing"),
    _case("deep-sigmoid-circles", CIRCLES_DEEP_SGD, faults.activations("sigmoid"), "vanishing"),
    _case("deep-sigmoid-half", HALF_DEEP_SGD, faults.sigmoids(), "vanishing"),
    _case("deeper-sigmoid-digits", DIGITS_SIGMOID, faults.deeper(5, "sigmoid"), "vanishing"),
    _case("deeper-sigmoid-odd", ODD_SIGMOID, faults.deeper(5, "sigmoid"), "vanishing"),
    _case("deep-sigmoid-wave", WAVE_DEEP, faults.activations("sigmoid"), "vanishing"),
    _case("no-normalization-digits", DIGITS_NORM, faults.without_normalization, "vanishing init_small"),
    _case("no-shortcuts-half", RESIDUAL, faults.without_shortcuts, "vanishing init_small"),
    _case("exploding-digits", DIGITS_DEEP_SGD, faults.scaled_weights(3), "exploding init_large output_scale"),
    _case("exploding-clusters", CLUSTERS_DEEP, faults.scaled_weights(4), "exploding init_large output_scale"),
    _case("exploding-half", HALF_DEEP, faults.scaled_weights(5), "exploding init_large output_scale"),
    _case("exploding-odd", ODD_DEEP, faults.scaled_weights(3), "exploding init_large output_scale"),
    _case("exploding-friedman", FRIEDMAN_DEEP, faults.scaled_weights(4), "exploding init_large output_scale"),
    _case("saturated-tanh-digits", DIGITS_TANH, faults.scaled_hidden_weights(30), "saturation init_large"),
    _case("saturated-tanh-half", HALF_TANH, faults.scaled_hidden_weights(30), "saturation init_large"),
    _case("saturated-tanh-circles", CIRCLES_TANH, faults.scaled_hidden_weights(100), "saturation init_large"),
    _case("saturated-tanh-odd", ODD_SGD, faults.scaled_hidden_weights(30), "saturation init_large"),
    _case("saturated-tanh-friedman", FRIEDMAN_SGD, faults.scaled_hidden_weights(30), "saturation init_large"),
    _case("saturated-sigmoid-digits", DIGITS_SIGMOID, faults.hidden_biases(30.0), "saturation"),
    _case("dead-relu-digits", DIGITS, faults.hidden_biases(-10.0), "dead_relu"),
    _case("dead-relu-digits-sgd", DIGITS_SGD, faults.hidden_biases(-20.0), "dead_relu"),
    _case("dead-relu-moons", MOONS, faults.hidden_biases(-5.0), "dead_relu"),
    _case("dead-relu-circles", CIRCLES, faults.hidden_biases(-10.0), "dead_relu"),
    _case("dead-relu-friedman", FRIEDMAN, faults.hidden_biases(-10.0), "dead_relu"),
    _case("dead-relu-plane", PLANE, faults.hidden_biases(-20.0), "dead_relu"),
    _case("dead-relu-cancer", CANCER, faults.hidden_biases(-20.0), "dead_relu"),
]
_STEPS = [
    _case("fast-adam-digits", DIGITS, faults.rate_times(100), "rate_high"),
    _case("fast-sgd-digits", DIGITS_SGD, faults.rate_times(100), "rate_high"),
    _case("fast-sgd-circles", CIRCLES, faults.rate_times(100), "rate_high"),
    _case("fast-adam-friedman", FRIEDMAN, faults.rate_times(100), "rate_high"),
    _case("fast-sgd-plane", PLANE_SGD, faults.rate_times(100), "rate_high"),
    _case("fast-adam-moons", MOONS, faults.rate_times(1000), "rate_high"),
    _case("slow-sgd-digits", DIGITS_SGD, faults.rate_times(1e-3), "rate_low"),
    _case("slow-adam-odd", ODD, faults.rate_times(1e-3), "rate_low"),
    _case("slow-sgd-wine", WINE, faults.rate_times(1e-3), "rate_low"),
    _case("slow-adam-friedman", FRIEDMAN, faults.rate_times(1e-3), "rate_low"),
    _case("slow-sgd-cancer", CANCER_SGD, faults.rate_times(1e-4), "rate_low"),
    _case("frozen-digits", Twin("digits", (12,) * 4, epochs=10), faults.head_only, "frozen"),
    _case("frozen-moons", MOONS_NARROW, faults.head_only, "frozen"),
    _case("frozen-friedman", Twin("friedman", (12, 12, 12), epochs=30), faults.head_only, "frozen"),
    _case("frozen-circles", CIRCLES_NARROW, faults.head_only, "frozen"),
    _case("frozen-iris", IRIS_NARROW, faults.head_only, "frozen"),
    _case("not-zeroed-digits", DIGITS_SGD, faults.not_zeroed, "not_zeroed"),
    _case("not-zeroed-clusters", CLUSTERS, faults.not_zeroed, "not_zeroed"),
    _case("not-zeroed-odd", ODD_SGD, faults.not_zeroed, "not_zeroed"),
    _case("not-zeroed-half", HALF, faults.not_zeroed, "not_zeroed"),
    _case("not-zeroed-friedman", FRIEDMAN_SGD, faults.not_zeroed, "not_zeroed"),
    _case("not-zeroed-plane", PLANE_SGD, faults.not_zeroed, "not_zeroed"),
    _case("negated-loss-noisy", NOISY, faults.loss_sign, "loss_sign"),
    _case("climbing-digits", DIGITS, faults.maximized, "loss_sign"),
    _case("negated-loss-odd", ODD_SGD, faults.loss_sign, "loss_sign"),
    _case("negated-loss-friedman", FRIEDMAN_SGD, faults.loss_sign, "loss_sign"),
    _case("negated-loss-cancer", CANCER, faults.loss_sign, "loss_sign"),
    _case("climbing-diabetes", DIABETES, faults.maximized, "loss_sign"),
]
_OUTPUTS = [
    _case("softmax-twice-digits", DIGITS_PLAIN, faults.softmax_before_loss, "double_softmax"),
    _case("softmax-twice-noisy", NOISY_SGD, faults.softmax_before_loss, "double_softmax"),
    _case("softmax-twice-half", HALF_PLAIN, faults.softmax_before_loss, "double_softmax"),
    _case("softmax-twice-half-tanh", HALF_TANH_PLAIN, faults.softmax_before_loss, "double_softmax"),
    _case("softmax-twice-clusters", CLUSTERS_PLAIN, faults.softmax_before_loss, "double_softmax"),
    _case("softmax-twice-iris", IRIS_PLAIN, faults.softmax_before_loss, "double_softmax"),
    _case("sigmoid-output-friedman", FRIEDMAN, faults.output_activation("sigmoid"), "output_range"),
    _case("relu-output-diabetes", DIABETES, faults.output_activation("relu"), "output_range"),
    _case("sigmoid-output-product", PRODUCT, faults.output_activation("sigmoid"), "output_range"),
    _case("relu-output-plane", PLANE, faults.output_activation("relu"), "output_range"),
    _case("sigmoid-output-wave", WAVE, faults.output_activation("sigmoid"), "output_range"),
    _case("relu-output-noisy", NOISY_SGD, faults.output_activation("relu"), "output_range"),
    _case("sigmoid-output-half", HALF_PLAIN, faults.output_activation("sigmoid"), "output_range"),
    _case("linear-moons", MOONS, faults.activations("identity"), "no_activation"),
    _case("linear-circles", CIRCLES_DEEP, faults.activations("identity"), "no_activation"),
    _case("linear-xor", XOR, faults.activations("identity"), "no_activation"),
    _case("linear-friedman", FRIEDMAN, faults.activations("identity"), "no_activation"),
    _case("linear-spirals", SPIRALS, faults.activations("identity"), "no_activation"),
    _case("linear-product", PRODUCT, faults.activations("identity"), "no_activation"),
]
_DATA = [
    _case("raw-inputs-wine", WINE, faults.raw_inputs("wine"), "unscaled_inputs"),
    _case("raw-inputs-cancer", CANCER_SGD, faults.raw_inputs("cancer"), "unscaled_inputs"),
    _case("large-column-friedman", FRIEDMAN, faults.scaled_column(1e4), "unscaled_inputs"),
    _case("large-column-moons", MOONS_TANH, faults.scaled_column(1e4), "unscaled_inputs"),
    _case("offset-circles", CIRCLES, faults.offset_inputs(1e3), "unscaled_inputs"),
    _case("offset-clusters", CLUSTERS, faults.offset_inputs(1e3), "unscaled_inputs"),
    _case("large-inputs-digits", DIGITS_TANH, faults.scaled_inputs(255), "unscaled_inputs"),
    _case("raw-inputs-diabetes", DIABETES, faults.raw_inputs("diabetes"), "unscaled_inputs"),
    _case("large-targets-friedman", FRIEDMAN_SGD, faults.scaled_targets(1e4), "unscaled_targets"),
    _case("large-targets-diabetes", DIABETES_HUBER, faults.scaled_targets(1e4), "unscaled_targets"),
    _case("offset-targets-plane", PLANE, faults.scaled_targets(1.0, 1e4), "unscaled_targets"),
    _case("offset-targets-wave", WAVE, faults.scaled_targets(1.0, 1e3), "unscaled_targets"),
    _case("large-targets-product", PRODUCT, faults.scaled_targets(1e4), "unscaled_targets"),
    _case("shuffled-labels-digits", DIGITS, faults.shuffled_targets, "no_signal"),
    _case("shuffled-labels-cancer", CANCER, faults.shuffled_targets, "no_signal"),
    _case("shuffled-targets-friedman", FRIEDMAN, faults.shuffled_targets, "no_signal"),
    _case("noise-inputs-wine", WINE, faults.noise_inputs, "no_signal"),
    _case("noise-inputs-plane", PLANE, faults.noise_inputs, "no_signal"),
    _case("rare-class-imbalanced", BALANCED, faults.unweighted, "class_imbalance", "balanced_accuracy"),
    _case("rare-class-moons", MOONS, faults.rare_class(1, 6), "class_imbalance", "balanced_accuracy"),
    _case("rare-class-odd", ODD_BINARY, faults.rare_class(1, 12), "class_imbalance", "balanced_accuracy"),
    _case("rare-class-cancer", CANCER, faults.rare_class(0, 5), "class_imbalance", "balanced_accuracy"),
    _case("nan-cells-digits", DIGITS, faults.broken_cells(float("nan")), "non_finite"),
    _case("infinite-cells-friedman", FRIEDMAN, faults.broken_cells(float("inf")), "non_finite"),
    _case("nan-cells-cancer", CANCER, faults.broken_cells(float("nan")), "non_finite"),
]
_CAPACITY = [
    _case("strong-l2-digits", DIGITS, faults.option(l2=1.0), "over_regularised"),
    _case("strong-l2-friedman", FRIEDMAN, faults.option(l2=1.0), "over_regularised"),
    _case("strong-decay-odd", ODD, faults.weight_decay(100.0), "over_regularised"),
    _case("strong-decay-circles", CIRCLES, faults.weight_decay(0.1), "over_regularised"),
    _case("strong-l1-wave", WAVE, faults.option(l1=0.1), "over_regularised"),
    _case("strong-dropout-digits", DIGITS_DROPOUT, faults.dropout(0.95), "over_regularised"),
    _case("strong-dropout-moons", Twin("moons", (32, 32), dropout=0.1, epochs=30), faults.dropout(0.95),
          "over_regularised"),
    _case("few-rows-digits", DIGITS, faults.few_rows(50), "overfitting"),
    _case("few-rows-odd", ODD, faults.few_rows(40), "overfitting"),
    _case("long-training-noisy", NOISY, faults.longer(20), "overfitting"),
    _case("few-rows-friedman", FRIEDMAN, faults.few_rows(40), "overfitting"),
    _case("long-training-diabetes", Twin("diabetes", (64, 64), optimizer=Adam(lr=1e-3), epochs=8),
          faults.longer(30), "overfitting"),
]  # fmt: skip
_LOGARITHMS = [
    _prepared(
        _case("log-of-zero-digits", DIGITS_SGD, faults.bare_logarithm, "non_finite"),
        lambda training: faults.log_first(faults.raw_inputs("digits")(training)),
    ),
    _prepared(
        _case("log-of-zero-half", HALF, faults.bare_logarithm, "non_finite"),
        lambda training: faults.log_first(faults.raw_inputs("digits_half")(training)),
    ),
]

CASES: tuple[Case, ...] = (*_STARTS, *_DEPTH, *_STEPS, *_OUTPUTS, *_DATA, *_CAPACITY, *_LOGARITHMS)
