"""Loss modules: values by hand, parity with PyTorch, what the plan reads, errors."""

import math

import numpy as np
import pytest

import chainrule
from chainrule import Tensor, nn
from chainrule.functions.losses import LOSSES, get_loss

LOSS_CLASSES = [getattr(nn, name) for name in nn.__all__ if name.endswith("Loss")]


def test_every_record_has_a_module():
    assert {loss.record for loss in LOSS_CLASSES} == set(LOSSES)


# -- by hand ---------------------------------------------------------------------------------------

Z = np.array([[3.0, 1.0], [0.0, 0.0]])
Y = np.array([[1.0, 0.0], [0.0, 0.5]])


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (nn.HalfSquaredErrorLoss(), ((4 + 1) / 2 + 0.25 / 2) / 2),
        (nn.MSELoss(), (4 + 1 + 0 + 0.25) / 4),
        (nn.L1Loss(), (2 + 1 + 0 + 0.5) / 4),
        (nn.HuberLoss(), (1.5 + 0.5 + 0 + 0.125) / 4),
        (nn.HuberLoss(delta=0.5), (0.5 * 1.75 + 0.5 * 0.75 + 0 + 0.125) / 4),
        (nn.QuantileLoss(), (2 + 1 + 0 + 0.5) / 8),
        (nn.QuantileLoss(0.9), (0.1 * 2 + 0.1 * 1 + 0 + 0.9 * 0.5) / 4),
        (nn.BCEWithLogitsLoss(), (math.log1p(math.exp(-3)) + math.log1p(math.e) + 2 * math.log(2)) / 4),
        (nn.PoissonNLLLoss(), (math.exp(3) - 3 + math.e + 1 + 1) / 4),
        (nn.CrossEntropyLoss(), (math.log1p(math.exp(-2)) + 0.5 * math.log(2)) / 2),
    ],
    ids=repr,
)
def test_by_hand(loss, value):
    result = loss(Z, Y)
    assert isinstance(result, float)
    assert result == pytest.approx(value, rel=1e-12)


def test_worked_example():
    # The chapter's: ŷ = −0.5225, y = 0, ℒ = 0.1365.
    assert nn.HalfSquaredErrorLoss()(np.array([[-0.5225]]), np.array([0.0])) == pytest.approx(
        0.1365, abs=5e-5
    )


# -- parity with PyTorch ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("MSELoss", {}),
        ("L1Loss", {}),
        ("HuberLoss", {}),
        ("HuberLoss", {"delta": 0.3}),
        ("BCEWithLogitsLoss", {}),
        ("PoissonNLLLoss", {}),
    ],
)
def test_elementwise_losses_are_pytorchs(torch, rng, name, kwargs, n_outputs):
    z = rng.normal(size=(20, n_outputs))
    y = rng.uniform(size=(20, n_outputs))
    ours, theirs = getattr(nn, name)(**kwargs), getattr(torch.nn, name)(**kwargs)
    assert repr(ours) == repr(theirs)
    assert ours(z, y) == pytest.approx(theirs(torch.from_numpy(z), torch.from_numpy(y)).item(), rel=1e-12)
    check_reductions(torch, name, kwargs, z, y)


def check_reductions(torch, name, kwargs, z, y):
    """Values and gradients of the losses that are not averaged, against PyTorch's."""
    for reduction in ("sum", "none"):
        ours = getattr(nn, name)(**kwargs, reduction=reduction)
        theirs = getattr(torch.nn, name)(**kwargs, reduction=reduction)
        z_ours, z_theirs = Tensor(z, requires_grad=True), torch.tensor(z, requires_grad=True)
        found, expected = ours(z_ours, y), theirs(z_theirs, torch.from_numpy(y))
        np.testing.assert_allclose(found.data, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
        v = np.linspace(1.0, 2.0, found.size).reshape(found.shape)
        found.backward(v)
        expected.backward(torch.from_numpy(v))
        np.testing.assert_allclose(z_ours.grad.data, z_theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("probabilities", [False, True])
def test_cross_entropy_is_pytorchs(torch, rng, label_smoothing, weighted, probabilities):
    z = rng.normal(size=(20, 4))
    y = rng.dirichlet(np.ones(4), 20) if probabilities else rng.integers(0, 4, 20)
    weight = np.array([0.5, 1.0, 2.0, 0.0]) if weighted else None
    ours = nn.CrossEntropyLoss(weight, label_smoothing)
    theirs = torch.nn.CrossEntropyLoss(
        torch.from_numpy(weight) if weighted else None, label_smoothing=label_smoothing
    )
    assert ours(z, y) == pytest.approx(theirs(torch.from_numpy(z), torch.from_numpy(y)).item(), rel=1e-12)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    check_reductions(
        torch, "CrossEntropyLoss", {"label_smoothing": label_smoothing}, z, y
    )  # fmt: skip


# -- what the plan reads ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "record", "settings", "scale"),
    [
        (nn.HalfSquaredErrorLoss(), "half_squared_error", (), 1.0),
        (nn.MSELoss(), "half_squared_error", (), 0.5),
        (nn.L1Loss(), "absolute_error", (), 0.25),
        (nn.HuberLoss(2), "huber", (2.0,), 0.25),
        (nn.QuantileLoss(0.9), "quantile", (0.9,), 0.25),
        (nn.BCEWithLogitsLoss(), "binary_cross_entropy", (), 0.25),
        (nn.PoissonNLLLoss(), "poisson", (0.0,), 0.25),
        (nn.CrossEntropyLoss(), "softmax_cross_entropy", (0.0,), 1.0),
        (nn.CrossEntropyLoss(label_smoothing=0.1), "softmax_cross_entropy", (0.1,), 1.0),
        (nn.CrossEntropyLoss([1.0] * 4, 0.1), "softmax_cross_entropy", (0.0,), 1.0),
    ],
    ids=repr,
)
def test_record_settings_and_scale_make_the_value(loss, record, settings, scale, rng):
    assert (loss.record, loss.settings, loss.scale(4)) == (record, settings, scale)
    z, y = rng.normal(size=(6, 4)), rng.uniform(size=(6, 4))
    values = get_loss(record).value(z, loss.targets(y, 4), *settings)
    assert values.shape == (6,)
    assert loss(z, y) == pytest.approx(scale * values.sum() / loss.total_weight(y, 4), rel=1e-12)


def test_class_weights_by_hand():
    loss = nn.CrossEntropyLoss(weight=[1.0, 3.0], label_smoothing=0.5)
    # Smoothed rows (3/4, 1/4) and (1/4, 3/4), then weighted by (1, 3).
    assert loss.targets([0, 1], 2).tolist() == [[0.75, 0.75], [0.25, 2.25]]
    assert loss.total_weight([0, 1, 1], 2) == 7.0
    assert loss.total_weight(np.full((5, 2), 0.5), 2) == 5.0
    assert nn.CrossEntropyLoss().total_weight([0, 1, 1], 2) == 3.0


def test_a_vector_of_targets_is_one_column():
    z, y = np.array([[1.0], [2.0]]), np.array([0.0, 0.0])
    assert nn.MSELoss()(z, y) == nn.MSELoss()(z, y[:, None]) == 2.5


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSS_CLASSES)
def test_reductions_belong_together(loss, rng):
    z = rng.normal(size=(5, 3))
    y = rng.integers(0, 3, 5) if loss is nn.CrossEntropyLoss else rng.integers(0, 2, (5, 3))
    each, total, mean = (loss(reduction=reduction)(z, y) for reduction in ("none", "sum", "mean"))
    assert each.shape == (z.shape if loss.averages_outputs else (5,))
    assert total == pytest.approx(each.sum(), rel=1e-14)
    assert mean == pytest.approx(each.mean(), rel=1e-14)


@pytest.mark.parametrize("loss", LOSS_CLASSES)
def test_reduction_is_checked(loss):
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', 'none'; got 'max'"):
        loss(reduction="max")


def test_training_minimizes_means_only():
    with pytest.raises(ValueError, match="loss must have reduction='mean', .* got 'sum'"):
        chainrule.fit(nn.Linear(2, 1), np.zeros((4, 2)), np.zeros(4), loss=nn.MSELoss(reduction="sum"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.HuberLoss(0), ValueError, "delta must be greater than 0; got 0"),
        (lambda: nn.HuberLoss("mean"), TypeError, "delta must be a number; got 'mean'"),
        (lambda: nn.QuantileLoss(1), ValueError, "q must lie strictly between 0 and 1; got 1"),
        (lambda: nn.QuantileLoss(2), ValueError, r"q must be a finite number in \[0, 1\]; got 2"),
        (lambda: nn.PoissonNLLLoss(log_input=False), ValueError, "log_input must be True"),
        (lambda: nn.PoissonNLLLoss(full=True), ValueError, "full must be False"),
        (
            lambda: nn.CrossEntropyLoss(label_smoothing=1.1),
            ValueError,
            "label_smoothing must be a finite number",
        ),
        (lambda: nn.CrossEntropyLoss(weight=[[1.0]]), ValueError, "weight must be one finite, non-negative"),
        (
            lambda: nn.CrossEntropyLoss(weight=[1.0, -1.0]),
            ValueError,
            "weight must be one finite, non-negative",
        ),
    ],
)
def test_arguments_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "z", "y", "message"),
    [
        (nn.MSELoss(), np.zeros(3), np.zeros(3), r"z must have shape \(n, outputs\).*got \(3,\)"),
        (nn.MSELoss(), np.zeros((0, 2)), np.zeros((0, 2)), r"got \(0, 2\)"),
        (
            nn.MSELoss(),
            np.zeros((3, 2)),
            np.zeros((1, 2)),
            "y must have one row for each of the 3 rows of z; got 1",
        ),
        (nn.MSELoss(), np.zeros((3, 2)), np.zeros((3, 1)), r"y must have shape \(n, 2\)"),
        (nn.BCEWithLogitsLoss(), np.zeros((1, 1)), [2.0], r"y must lie in \[0, 1\]"),
        (nn.CrossEntropyLoss(), np.zeros((1, 2)), [2], "y must hold class indices from 0 to 1"),
        (
            nn.CrossEntropyLoss([1.0, 1.0]),
            np.zeros((1, 3)),
            [2],
            "weight must have 3 numbers, one a class; got 2",
        ),
        (nn.CrossEntropyLoss([1.0, 0.0]), np.zeros((1, 2)), [1], "weight is 0 for every class in y"),
    ],
)
def test_inputs_are_checked(loss, z, y, message):
    with pytest.raises(ValueError, match=message):
        loss(z, y)
