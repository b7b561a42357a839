"""Class weights and weighted losses, held to repeated rows and to PyTorch."""

import numpy as np
import pytest

from chainrule import fit, nn, optim
from chainrule.engine import EngineExecutor
from chainrule.plan import flatten, lower
from chainrule.train.weighting import class_weight_vector, weighted_examples

Y = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 1])
QUIET = {"verbose": 0}


@pytest.fixture
def X(rng):
    return rng.normal(size=(10, 3))


def linear(n_out=3):
    return nn.Linear(3, n_out, rng=0, dtype=np.float64)


def trained(X, y, loss=None, n_out=3, **options):
    net = linear(n_out)
    settings = {"optimizer": optim.SGD(lr=0.5), "epochs": 4, "batch_size": 100, "shuffle": False, **QUIET}
    fit(net, X, y, loss=loss or nn.CrossEntropyLoss(), **{**settings, **options})
    return net.weight.data


# -- class_weight ----------------------------------------------------------------------------------


def test_balanced_gives_every_class_the_same_total():
    vector = class_weight_vector("balanced", Y, 3)
    np.testing.assert_allclose(vector, 10 / (3 * np.array([4, 3, 3])))
    np.testing.assert_allclose(np.bincount(Y, weights=vector[Y]), 10 / 3)
    assert vector[Y].mean() == pytest.approx(1.0)


def test_balanced_leaves_out_classes_that_do_not_occur():
    np.testing.assert_allclose(class_weight_vector("balanced", np.array([0, 0, 2]), 3), [0.75, 0, 1.5])


def test_a_dict_may_leave_classes_out_and_an_array_may_not():
    assert class_weight_vector({1: 5, np.int64(2): 0.5}, Y, 3).tolist() == [1.0, 5.0, 0.5]
    assert class_weight_vector([1, 2, 3], Y, 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("balance", "class_weight must be 'balanced', a dict or an array; got 'balance'"),
        ({3: 1.0}, "class_weight has a class 3 that is not in 0 ... 2"),
        ({"a": 1.0}, "class_weight has a class 'a'"),
        ([1, 2], "class_weight must be 3 finite, non-negative numbers"),
        ([1, 2, -1], "class_weight must be 3 finite, non-negative numbers"),
        ({0: np.nan}, "class_weight must be 3 finite, non-negative numbers"),
    ],
)
def test_wrong_class_weights_are_named(class_weight, message):
    with pytest.raises(ValueError, match=message):
        class_weight_vector(class_weight, Y, 3)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 2: 0.5}, [3.0, 1.0, 2.0]])
def test_class_weights_are_sample_weights(X, class_weight):
    each = class_weight_vector(class_weight, Y, 3)[Y]
    np.testing.assert_array_equal(trained(X, Y, class_weight=class_weight), trained(X, Y, sample_weight=each))
    assert (trained(X, Y, class_weight=class_weight) != trained(X, Y)).any()


def test_both_weights_multiply(X, rng):
    sample_weight = rng.uniform(0.5, 2, 10)
    np.testing.assert_array_equal(
        trained(X, Y, class_weight={1: 3.0}, sample_weight=sample_weight),
        trained(X, Y, sample_weight=sample_weight * np.where(Y == 1, 3.0, 1.0)),
    )


def test_sample_weights_are_repetitions(X):
    counts = np.array([1, 2, 0, 1, 3, 1, 1, 2, 1, 1])
    np.testing.assert_allclose(
        trained(X, Y, sample_weight=counts),
        trained(np.repeat(X, counts, axis=0), np.repeat(Y, counts)),
        rtol=1e-12,
    )


def test_one_column_of_zeros_and_ones_has_two_classes(X):
    y = (Y > 0).astype(float)
    for targets in (y, y[:, None]):
        np.testing.assert_array_equal(
            trained(X, targets, nn.BCEWithLogitsLoss(), 1, class_weight={1: 3.0}),
            trained(X, y, nn.BCEWithLogitsLoss(), 1, sample_weight=np.where(y == 1, 3.0, 1.0)),
        )


@pytest.mark.parametrize(("loss", "n_out"), [(nn.MSELoss(), 1), (nn.CrossEntropyLoss(), 3)])
def test_class_weights_need_classes(X, rng, loss, n_out):
    with pytest.raises(ValueError, match="class_weight needs y as class indices, or as one column"):
        trained(X, rng.uniform(size=(10, n_out)), loss, n_out, class_weight="balanced")


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss([1, 2, 3])])
@pytest.mark.parametrize("sample_weight", [np.ones(9), np.ones((10, 1)), 2.0])
def test_sample_weights_of_a_wrong_shape_are_named(X, loss, class_weight, sample_weight):
    with pytest.raises(ValueError, match=r"^sample_weight must have shape \(10,\); got \("):
        trained(X, Y, loss, class_weight=class_weight, sample_weight=sample_weight)


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        (np.full(10, np.nan), "^sample_weight must be finite, non-negative and not all zero"),
        (np.full(10, -1.0), "^sample_weight must be finite"),
        (np.zeros(10), "^sample_weight must be finite"),
        (["heavy"] * 10, "^sample_weight must be 10 numbers; got list"),
    ],
)
def test_sample_weights_are_checked(X, sample_weight, message):
    with pytest.raises(ValueError, match=message):
        trained(X, Y, sample_weight=sample_weight)
    with pytest.raises(ValueError, match=message.replace("^sample_weight", "^validation weights")):
        trained(X, Y, validation=(X, Y, sample_weight))


def test_too_few_targets_are_not_blamed_on_the_weights(X):
    with pytest.raises(ValueError, match="y must have one target a row of X, 10; got 9"):
        trained(X, Y[:9], sample_weight=np.ones(10))


def test_class_weights_go_with_a_weighted_loss(X):
    loss = nn.CrossEntropyLoss([1.0, 2.0, 4.0], label_smoothing=0.2)
    np.testing.assert_array_equal(
        trained(X, Y, loss, class_weight={1: 3.0}),
        trained(X, Y, loss, sample_weight=np.where(Y == 1, 3.0, 1.0)),
    )


# -- nn.CrossEntropyLoss beside PyTorch ------------------------------------------------------------


def gradient_of_batches(X, y, loss, batches):
    """Loss and gradient of each batch, as ``fit``'s first step on it would use them."""
    module = linear()
    plan = lower(module, loss)
    executor = EngineExecutor(plan, flatten(module.state_dict(), plan.parameters, np.float64), np.zeros(0))
    for rows in batches:
        part = weighted_examples(plan, loss, X[rows], y[rows], None, None, dtype=np.float64)
        value, _, gradient = executor.gradient(part)
        yield value, *(slot.view(gradient) for slot in plan.parameters)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, [1.0, 5.0, 0.25]])
@pytest.mark.parametrize("soft", [False, True])
def test_each_batch_is_pytorchs(X, rng, weight, label_smoothing, soft):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    y = rng.dirichlet(np.ones(3), 10) if soft else Y
    theirs = torch.nn.CrossEntropyLoss(
        weight=None if weight is None else torch.tensor(weight, dtype=torch.float64),
        label_smoothing=label_smoothing,
    )
    module = linear()
    W = torch.tensor(module.weight.data, requires_grad=True)
    b = torch.tensor(module.bias.data, requires_grad=True)
    batches = [slice(0, 4), slice(3, 8), slice(8, 10), slice(0, 10)]
    ours = gradient_of_batches(X, y, nn.CrossEntropyLoss(weight, label_smoothing), batches)
    for rows, (value, grad_W, grad_b) in zip(batches, ours, strict=True):
        loss = theirs(torch.tensor(X[rows]) @ W.T + b, torch.tensor(y[rows]))
        expected_W, expected_b = torch.autograd.grad(loss, (W, b))
        assert value == pytest.approx(loss.item(), rel=1e-12)
        np.testing.assert_allclose(grad_W, expected_W.numpy(), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(grad_b, expected_b.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("soft", [False, True])
def test_a_whole_training_is_pytorchs(X, rng, soft):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    y = rng.dirichlet(np.ones(3), 10) if soft else Y
    weight, smoothing = [1.0, 5.0, 0.25], 0.1
    net = torch.nn.Linear(3, 3, dtype=torch.float64)
    with torch.no_grad():
        net.weight[:], net.bias[:] = torch.tensor(linear().weight.data), torch.tensor(linear().bias.data)
    loss = torch.nn.CrossEntropyLoss(torch.tensor(weight, dtype=torch.float64), label_smoothing=smoothing)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(4):
        for start in range(0, 10, 4):
            optimizer.zero_grad()
            rows = slice(start, start + 4)
            loss(net(torch.tensor(X[rows])), torch.tensor(y[rows])).backward()
            optimizer.step()
    ours = trained(X, y, nn.CrossEntropyLoss(weight, smoothing), batch_size=4)
    np.testing.assert_allclose(ours, net.weight.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_a_class_of_weight_zero_does_not_count(X):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    weight = [1.0, 0.0, 2.0]
    ((value, *_),) = gradient_of_batches(X, Y, nn.CrossEntropyLoss(weight), [slice(0, 10)])
    z = torch.tensor(linear()(X))
    expected = torch.nn.functional.cross_entropy(
        z, torch.tensor(Y), torch.tensor(weight, dtype=torch.float64)
    )
    assert value == pytest.approx(expected.item(), rel=1e-12)


def test_a_class_of_weight_zero_cannot_be_smoothed_by_index(X):
    """PyTorch adds such examples' smoothing to the sum, and nothing to what it is divided by."""
    loss = nn.CrossEntropyLoss([1.0, 0.0, 2.0], label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing .* weight 0"):
        trained(X, Y, loss)
    trained(X, np.where(Y == 1, 0, Y), loss)  # fine while the class does not occur
