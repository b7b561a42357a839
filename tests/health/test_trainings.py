"""Trainings as descriptions: what they run, that nothing is changed, baselines and scores by hand."""

import numpy as np
import pytest
from tests.health.examples import blobs, chain, classes, numbers

from chainrule import fit, nn, optim
from chainrule.health import trainings
from chainrule.health.evidence import gather
from chainrule.health.trainings import (
    Training,
    baseline_loss,
    held_out,
    measure,
    redrawn,
    run,
    score_of,
    snapshot,
    timed,
    with_settings,
)


def state(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in module.state_dict().items()}


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return all((first[name] == second[name]).all() for name in first)


def test_a_run_is_that_of_fit_and_changes_nothing():
    training = classes()
    before = state(training.module)
    ran = run(training, seed=3)
    module = training.module.copy()
    history = fit(
        module, training.X, training.y, loss=training.loss, optimizer=training.optimizer, epochs=15, seed=3,
        verbose=0,
    )  # fmt: skip
    assert same(state(training.module), before)
    assert same(state(ran.module), state(module))
    assert ran.losses == history["loss"]
    assert ran.before == measure(training, training.module)
    assert ran.n_steps == 15 * 8
    assert ran.after.score > 0.9 > ran.before.score


@pytest.mark.parametrize(
    "optimizer", [optim.SGD(lr=0.1, momentum=0.9), optim.Adam(lr=1e-2), optim.AdamW(lr=1e-2)]
)
def test_steps_by_hand_come_to_what_the_engine_comes_to(optimizer):
    loss = nn.CrossEntropyLoss()
    plain = run(classes(optimizer=optimizer), seed=1)
    by_hand = run(classes(optimizer=optimizer, loss=lambda z, y: 1.0 * loss(z, y)), seed=1)
    assert by_hand.losses == pytest.approx(plain.losses, rel=1e-4)
    assert by_hand.after.loss == pytest.approx(plain.after.loss, rel=1e-3)


def test_a_step_of_the_users_own_is_called():
    seen = []

    def step(module, optimizer, x, y):
        seen.append(len(y))
        optimizer.zero_grad()
        value = nn.CrossEntropyLoss()(module(x), y)
        value.backward()
        optimizer.step()
        return value

    ran = run(classes(step=step, epochs=2, batch_size=100))
    assert seen == [100, 100, 40] * 2
    assert ran.losses == pytest.approx(run(classes(epochs=2, batch_size=100)).losses, rel=1e-5)


def test_a_short_run_takes_about_as_many_steps_as_asked_for():
    training = classes(batch_size=10)
    assert run(training, 48).n_steps == 48
    assert run(training, 5).n_steps == 5
    assert run(training, 5).losses != run(training, 5, seed=1).losses


def test_nothing_to_train_and_nothing_to_train_on():
    frozen = classes(chain(2, 4, 3).requires_grad_(False))
    ran = run(frozen)
    assert ran.losses == []
    assert ran.after == ran.before
    X, y = blobs()
    X[3, 1] = np.nan
    assert not run(classes(X=X, y=y)).is_finite


@pytest.mark.parametrize(
    ("loss", "y", "width", "expected"),
    [
        (nn.CrossEntropyLoss(), np.array([0, 0, 1, 2]), 3, -(0.5 * np.log(0.5) + 0.5 * np.log(0.25))),
        ("softmax_cross_entropy", np.array([0, 1]), 2, np.log(2)),
        (
            nn.BCEWithLogitsLoss(),
            np.array([[1.0], [1.0], [1.0], [0.0]]),
            1,
            0.75 * np.log(4 / 3) + 0.25 * np.log(4),
        ),
        (nn.MSELoss(), np.array([[1.0], [3.0]]), 1, 1.0),
        ("half_squared_error", np.array([[1.0], [3.0]]), 1, 0.5),
        (nn.PoissonNLLLoss(), np.array([[1.0], [3.0]]), 1, 2 - 2 * np.log(2)),
    ],
)
def test_the_loss_of_the_best_constant(loss, y, width, expected):
    X = np.zeros((len(y), 2), np.float32)
    y = y if y.dtype.kind == "i" else y.astype(np.float32)
    assert baseline_loss(Training(chain(2, width), X, y, loss)) == pytest.approx(expected, rel=1e-5)


def test_scores_by_hand():
    training = classes()
    z = np.array([[2.0, 1, 0], [0, 3, 1], [1, 0, 0]])
    assert score_of(training, z, np.array([0, 1, 2])) == pytest.approx(2 / 3)
    assert np.isnan(score_of(training, z * np.nan, np.array([0, 1, 2])))
    regression = numbers()
    assert score_of(regression, np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])) == pytest.approx(0.5)


def test_a_rare_class_counts_as_much_as_the_others():
    y = np.array([0] * 95 + [1] * 5)
    training = Training(chain(2, 2), np.zeros((100, 2), np.float32), y, nn.CrossEntropyLoss())
    assert training.is_imbalanced
    assert not classes().is_imbalanced
    assert score_of(training, np.tile([1.0, 0.0], (100, 1)), y) == 0.5 == training.constant_score


def test_validation_rows_are_its_own_or_a_fifth():
    training = classes()
    parted = held_out(training)
    assert (len(parted.X), len(parted.validation[0])) == (192, 48)
    assert held_out(parted) is parted
    rows = np.concatenate([parted.X, parted.validation[0]])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, training.X))


def test_another_draw_has_the_same_weights_elsewhere():
    module = chain(2, 16, 3)
    other = redrawn(module, 5)
    first, second = module[0].weight.data, other[0].weight.data
    assert (np.sort(first.ravel()) == np.sort(second.ravel())).all()
    assert (first != second).any()
    assert same(state(other), state(redrawn(module, 5)))


def test_settings_of_an_optimizer():
    adam = optim.Adam(lr=0.1, betas=(0.8, 0.9), weight_decay=0.5)
    changed = with_settings(adam, lr=0.2)
    assert changed.defaults == {**adam.defaults, "lr": 0.2}
    assert adam.defaults["lr"] == 0.1


def test_a_snapshot_by_hand():
    """One linear layer, one row of X again and again: z, δ and the gradient are known."""
    linear = nn.Linear(2, 1)
    linear.weight = np.array([[2.0, -1.0]], np.float32)
    linear.bias = np.array([0.5], np.float32)
    X = np.tile(np.array([[1.0, 3.0]], np.float32), (4, 1))
    training = Training(nn.Sequential(linear), X, np.zeros((4, 1), np.float32), "half_squared_error")
    (layer,) = snapshot(training).layers
    # z = 2 − 3 + 0.5 = −0.5 = δ; ∂ℒ/∂W = −0.5 (1, 3).
    assert (layer.z_mean, layer.z_std, layer.h_rms) == (-0.5, 0.0, 0.5)
    assert layer.delta_rms == pytest.approx(0.5)
    assert layer.gradient_norm == pytest.approx(0.5 * np.sqrt(10))
    assert layer.weight_norm == pytest.approx(np.sqrt(5))
    assert (layer.activation, layer.fan_in, layer.width) == (None, 2, 1)


def test_a_snapshot_sees_what_is_dead_flat_and_double():
    module = nn.Sequential(
        nn.Linear(2, 4, rng=0), nn.ReLU(), nn.Linear(4, 4, rng=1), nn.Tanh(), nn.Linear(4, 3, rng=2)
    )
    module[0].bias = np.array([-100.0, 0, 0, -100], np.float32)
    module[2].weight = 1000 * np.ones((4, 4), np.float32)
    module[2].bias = np.full(4, 10.0, np.float32)
    module[4].weight = np.ones((3, 4), np.float32)
    first, second, last = snapshot(classes(module)).layers
    assert first.dead == 0.5
    assert second.saturated > 0.9
    assert second.duplicates == 1.0
    assert (first.activation, second.activation, last.activation) == ("relu", "tanh", None)
    assert last.duplicates == 0.0  # the same weights, but the gradients differ


def test_a_snapshot_names_the_first_thing_that_is_not_finite():
    module = chain(2, 4, 3)
    assert snapshot(classes(module)).non_finite == ""
    module[2].weight = np.full((3, 4), np.inf, np.float32)
    assert snapshot(classes(module)).non_finite == "the output of 2"


def test_a_snapshot_names_frozen_and_disconnected_parameters():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(2, 3, rng=0), nn.Linear(2, 3, rng=1)

        def forward(self, x):
            return self.used(x)

    module = Half()
    module.used.bias.requires_grad = False
    found = snapshot(classes(module))
    assert found.frozen == ("used.bias",)
    assert found.disconnected == ("unused.weight", "unused.bias")


def test_the_update_of_the_next_step():
    training = classes(optimizer=optim.SGD(lr=0.1), batch_size=240, epochs=60)
    early = gather(training, 60.0).early
    module = run(training, 30).module
    stepped = run(training.altered(module=module), 1).module
    for layer, place in zip(early.layers, (0, 2), strict=True):
        change = np.linalg.norm(stepped[place].weight.data - module[place].weight.data)
        assert layer.update_ratio == pytest.approx(
            change / np.linalg.norm(module[place].weight.data), rel=1e-4
        )
        # One batch of all rows: the step is the learning rate times the gradient.
        assert change == pytest.approx(0.1 * layer.gradient_norm, rel=0.02)


def test_steps_are_timed_without_what_is_measured_beside_them(monkeypatch):
    training = classes()
    before = state(training.module)
    monkeypatch.setattr(trainings, "measure", None)  # would fail if it were called
    seconds, n_steps = timed(training, 2)
    assert seconds > 0
    assert n_steps == 2
    assert same(state(training.module), before)
