"""The reference executor: the chapter's worked example, equations by hand, telemetry, PyTorch."""

import numpy as np
import pytest
from scipy import special

from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.execution import SATURATION_SHARE, Examples, Instructions, Penalty, prepare
from chainrule.functions import ACTIVATIONS
from chainrule.optim import SGD
from chainrule.plan import flatten, lower, store
from chainrule.reference import ReferenceExecutor, dropout_keeps

both_executors = pytest.mark.parametrize("make", [ReferenceExecutor, EngineExecutor])


def instructions(plan, n_steps, batch_size, lr=0.5, dtype=np.float64, **settings):
    optimizer = SGD(lr=lr)
    coefficients = optimizer.coefficients(np.full(n_steps, lr), 0).astype(dtype)
    state = np.zeros((2, plan.n_parameters), dtype)
    return Instructions(None, batch_size, optimizer.rule, coefficients, state, **settings)


# -- the worked example of section 3 ---------------------------------------------------------------

WORKED = Examples(np.array([[1.0]]), np.array([[0.0]]))


def worked(make, dtype=np.float64):
    plan = lower(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1)), "half_squared_error")
    return make(plan, np.array([0.5, 0.0, -1.0, 0.1], dtype), np.empty(0, dtype))


def test_worked_example_forward():
    _, z_1, h_1, z_2 = worked(ReferenceExecutor).values(WORKED.X, training=True)
    assert z_1.item() == 0.5
    assert round(h_1.item(), 4) == 0.6225
    assert round(z_2.item(), 4) == -0.5225


@both_executors
def test_worked_example_prediction_and_loss(make):
    executor = worked(make)
    assert round(executor.predict(WORKED.X).item(), 4) == -0.5225
    assert round(executor.loss(WORKED), 4) == 0.1365


@both_executors
def test_worked_example_gradient(make):
    loss, penalty, gradient = worked(make).gradient(WORKED)
    assert round(loss, 4) == 0.1365
    assert penalty == 0.0
    # ∂w₁, ∂b₁ (both δ₁, for x = 1), ∂w₂ = δ₂ h₁, ∂b₂ = δ₂
    assert gradient.round(4).tolist() == [0.1228, 0.1228, -0.3252, -0.5225]
    h_1 = special.expit(0.5)
    slope = h_1 * (1 - h_1)
    assert round(slope, 4) == 0.2350
    delta_2 = -h_1 + 0.1
    np.testing.assert_allclose(
        gradient, [-delta_2 * slope, -delta_2 * slope, delta_2 * h_1, delta_2], rtol=1e-14
    )


@both_executors
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_worked_example_step(make, dtype):
    executor = worked(make, dtype)
    examples = Examples(WORKED.X.astype(dtype), WORKED.y.astype(dtype))
    report = executor.run(examples, instructions(executor.plan, 1, 1, dtype=dtype))
    assert round(report.loss, 4) == 0.1365  # before the step
    assert (report.n_rows, report.n_steps) == (1, 1)
    rounded = executor.parameters.astype(np.float64).round(4).tolist()
    assert rounded == [0.4386, -0.0614, -0.8374, 0.3612]  # w₁, b₁, w₂, b₂
    assert round(float(executor.predict(examples.X).item()), 4) == -0.1355
    assert round(executor.loss(examples), 5) == 0.00918
    assert round(report.loss / executor.loss(examples), 1) == 14.9


@both_executors
def test_the_last_row_that_the_chapter_prints_belongs_to_another_bias(make):
    """−0.236, 0.0279 and 4.9 are what b₂ = 0.2613 would give, not the updated b₂ = 0.3612."""
    executor = worked(make)
    before = executor.loss(WORKED)
    executor.run(WORKED, instructions(executor.plan, 1, 1))
    executor.parameters[3] = 0.2613
    assert executor.predict(WORKED.X).item() == pytest.approx(-0.236, abs=1e-3)
    assert executor.loss(WORKED) == pytest.approx(0.0279, abs=3e-4)
    assert before / executor.loss(WORKED) == pytest.approx(4.9, abs=0.05)


# -- equations by hand -----------------------------------------------------------------------------


def two_layers(loss="softmax_cross_entropy"):
    rng = np.random.default_rng(0)
    plan = lower(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), loss)
    return plan, rng.normal(size=plan.n_parameters), rng.normal(size=(5, 3)), rng.integers(0, 2, 5)


@both_executors
def test_equations_written_out(make):
    plan, parameters, X, labels = two_layers()
    W_1, b_1, W_2, b_2 = (slot.view(parameters) for slot in plan.parameters)
    H = np.tanh(X @ W_1.T + b_1)  # (1), (2)
    Z = H @ W_2.T + b_2
    delta_2 = (special.softmax(Z, axis=1) - np.eye(2)[labels]) / 5  # (4), the batch's mean
    delta_1 = (delta_2 @ W_2) * (1 - H**2)  # (5)
    expected = [delta_1.T @ X, delta_1.sum(axis=0), delta_2.T @ H, delta_2.sum(axis=0)]  # (6), (7)
    loss, _, gradient = make(plan, parameters, np.empty(0)).gradient(Examples(X, labels))
    np.testing.assert_allclose(
        gradient, np.concatenate([one.T.ravel() for one in expected]), rtol=1e-12, atol=1e-15
    )
    assert loss == pytest.approx(-special.log_softmax(Z, axis=1)[np.arange(5), labels].mean(), rel=1e-13)


@both_executors
def test_a_weight_of_two_is_the_example_twice(make):
    plan, parameters, X, labels = two_layers()
    executor = make(plan, parameters, np.empty(0))
    weighted = executor.gradient(Examples(X, labels, np.array([2.0, 1, 1, 0, 1])))
    rows = [0, 0, 1, 2, 4]
    repeated = executor.gradient(Examples(X[rows], labels[rows]))
    assert weighted[0] == pytest.approx(repeated[0], rel=1e-13)
    np.testing.assert_allclose(weighted[2], repeated[2], rtol=1e-12, atol=1e-16)


@both_executors
def test_penalties_by_hand(make):
    plan, parameters, X, labels = two_layers()
    executor = make(plan, parameters, np.empty(0))
    plain = executor.gradient(Examples(X, labels))[2]
    for per_example, share in ((False, 1.0), (True, 1 / 5)):
        _, value, gradient = executor.gradient(Examples(X, labels), Penalty(0.3, 0.2, per_example))
        total, extra = 0.0, np.zeros_like(parameters)
        for slot in plan.parameters[::2]:  # the weights, not the biases
            w = slot.view(parameters)
            total += share * (0.15 * (w**2).sum() + 0.2 * np.abs(w).sum())
            slot.view(extra)[...] = share * (0.3 * w + 0.2 * np.sign(w))
        assert value == pytest.approx(total, rel=1e-13)
        np.testing.assert_allclose(gradient, plain + extra, rtol=1e-12, atol=1e-15)


@both_executors
def test_clipping_by_hand(make):
    plan, parameters, X, labels = two_layers()
    gradient = make(plan, parameters, np.empty(0)).gradient(Examples(X, labels))[2]
    norm = np.linalg.norm(gradient)
    for limit, factor in ((norm / 10, 0.1), (norm * 10, 1.0)):
        executor = make(plan, parameters.copy(), np.empty(0))
        executor.run(Examples(X, labels), instructions(plan, 1, 5, clip_norm=limit))
        np.testing.assert_allclose(
            parameters - executor.parameters, 0.5 * factor * gradient, rtol=1e-11, atol=1e-15
        )


@both_executors
def test_the_report_adds_up_the_batches(make):
    plan, parameters, X, labels = two_layers()
    executor = make(plan, parameters, np.empty(0))
    frozen = instructions(plan, 3, 2)
    frozen.coefficients[:] = 0.0  # every step leaves the parameters where they are
    report = executor.run(Examples(X, labels), frozen)
    assert (report.n_rows, report.n_steps) == (5, 3)
    assert report.loss / 5 == pytest.approx(executor.loss(Examples(X, labels)), rel=1e-13)


def test_batch_norm_statistics_by_hand():
    layer = nn.BatchNorm1d(2, momentum=0.5, dtype=np.float64)
    plan = lower(layer, "half_squared_error")
    X = np.array([[1.0, 0.0], [3.0, 4.0]])
    for make in (ReferenceExecutor, EngineExecutor):
        buffers = flatten(layer.state_dict(), plan.buffers, np.float64)
        executor = make(plan, flatten(layer.state_dict(), plan.parameters, np.float64), buffers)
        executor.gradient(Examples(X, 0 * X))
        assert buffers.tolist() == [0, 0, 1, 1, 0]  # asking for a gradient leaves them alone
        executor.run(Examples(X, 0 * X), instructions(plan, 1, 2))
        # Half of the old (0 and 1), half of the batch's mean and unbiased variance.
        np.testing.assert_allclose(buffers, [1.0, 1.0, 0.5 + 0.5 * 2.0, 0.5 + 0.5 * 8.0, 1.0], rtol=1e-14)
        # One row has no variance: only the mean moves, and the count.
        executor.run(Examples(X[:1], 0 * X[:1]), instructions(plan, 1, 1))
        np.testing.assert_allclose(buffers, [1.0, 0.5, 1.5, 4.5, 2.0], rtol=1e-14)


# -- dropout ---------------------------------------------------------------------------------------


def test_masks_are_a_function_of_the_counters():
    mask = dropout_keeps(3, 5, 1, 6, 4, 0.5)
    np.testing.assert_array_equal(mask, dropout_keeps(3, 5, 1, 6, 4, 0.5))
    np.testing.assert_array_equal(mask[:3, :2], dropout_keeps(3, 5, 1, 3, 2, 0.5))  # not of the batch's shape
    for other in [(4, 5, 1), (3, 6, 1), (3, 5, 2)]:
        assert (dropout_keeps(*other, 6, 4, 0.5) != mask).any()
    assert dropout_keeps(3, 5, 1, 6, 4, 0.0).all()
    assert not dropout_keeps(3, 5, 1, 6, 4, 1.0).any()


def test_masks_look_random():
    p, shape = 0.3, (400, 500)
    mask = dropout_keeps(0, 0, 0, *shape, p)
    error = np.sqrt(p * (1 - p))
    assert abs(mask.mean() - 0.7) < 4 * error / np.sqrt(mask.size)
    for axis in (0, 1):
        shares = mask.mean(axis=axis)
        assert shares.std() == pytest.approx(error / np.sqrt(shape[axis]), rel=0.15)
    # Neighbouring rows, units, steps and operations are unrelated.
    others = [mask[1:, :], mask[:, 1:], dropout_keeps(0, 1, 0, *shape, p), dropout_keeps(0, 0, 1, *shape, p)]
    for other, part in zip(others, [mask[:-1, :], mask[:, :-1], mask, mask], strict=True):
        assert abs(np.corrcoef(other.ravel(), part.ravel())[0, 1]) < 0.01


def test_dropout_keeps_the_mean():
    plan = lower(nn.Dropout(0.4), "half_squared_error", 300)
    executor = ReferenceExecutor(plan, np.empty(0), np.empty(0))
    X = np.ones((300, 300))
    dropped = executor.values(X, training=True, step=2, seed=1)[-1]
    assert set(np.unique(dropped).round(12)) == {0.0, round(1 / 0.6, 12)}
    assert dropped.mean() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_array_equal(executor.values(X, training=False)[-1], X)


# -- telemetry -------------------------------------------------------------------------------------


@both_executors
def test_telemetry_by_hand(make):
    plan = lower(nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Sigmoid()), "half_squared_error")
    executor = make(plan, np.array([1.0, -1.0]), np.empty(0))
    X, y = np.array([[10.0], [-2.0]]), np.zeros((2, 2))
    report = executor.run(Examples(X, y), instructions(plan, 1, 2, 0.1, telemetry_every=1))
    z = np.array([[10.0, -10.0], [-2.0, 2.0]])
    r = np.maximum(z, 0)
    s = special.expit(r)
    slope = s * (1 - s)
    delta_s = s / 2
    delta_r = delta_s * slope
    delta_z = delta_r * (z > 0)
    for row, (value, delta) in zip(
        report.operations[0], [(z, delta_z), (r, delta_r), (s, delta_s)], strict=True
    ):
        assert row[0] == pytest.approx(np.sqrt((value**2).mean()), rel=1e-13)
        assert row[1] == pytest.approx(np.sqrt((delta**2).mean()), rel=1e-13)
        assert row[2] == (value == 0).mean()
        assert row[4] == 0
    # Half the rectified units are off; one sigmoid of four, at z = 10, is flat.
    assert report.operations[0, :, 3].tolist() == [0.0, 0.5, 0.25]
    assert (slope < SATURATION_SHARE * 0.25).sum() == 1
    gradient = (delta_z.T @ X).ravel()
    expected = [np.linalg.norm(gradient), np.sqrt(2), 0.1 * np.linalg.norm(gradient)]
    np.testing.assert_allclose(report.slots[0, 0], expected, rtol=1e-12)


@both_executors
def test_telemetry_steps(make):
    plan, parameters, X, labels = two_layers()
    for every, first, steps in [
        (0, 0, []),
        (1, 0, [0, 1, 2, 3, 4]),
        (2, 0, [0, 2, 4]),
        (2, 3, [4, 6]),
        (9, 1, []),
    ]:
        executor = make(plan, parameters.copy(), np.empty(0))
        report = executor.run(
            Examples(X, labels), instructions(plan, 5, 1, 0.1, telemetry_every=every, first_step=first)
        )
        assert report.telemetry_steps.tolist() == steps
        assert report.operations.shape == (len(steps), 3, 5)
        assert report.slots.shape == (len(steps), 4, 3)


@both_executors
def test_telemetry_counts_what_is_not_finite(make):
    plan, parameters, X, labels = two_layers()
    parameters[0] = np.inf
    with np.errstate(all="ignore"):
        report = make(plan, parameters, np.empty(0)).run(
            Examples(X, labels), instructions(plan, 1, 5, telemetry_every=1)
        )
    assert report.operations[0, 0, 4] >= 5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_saturation_is_small_slope(name):
    record = ACTIVATIONS[name]
    plan = lower(nn.activation_module(name), "half_squared_error", 50)
    X = np.random.default_rng(0).normal(0.0, 8.0, (20, 50))
    slope = np.abs(record.derivative(X, record.default_alpha))
    expected = (slope < 0.05 * record.derivative_max).mean()
    instruct = instructions(plan, 1, 20, telemetry_every=1)
    report = EngineExecutor(plan, np.empty(0), np.empty(0)).run(Examples(X, 0 * X), instruct)
    assert report.operations[0, 0, 3] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        ReferenceExecutor,
        EngineExecutor,
    ],
)
def test_a_network_without_parameters(make):
    plan = lower(nn.Tanh(), "half_squared_error", 2)
    X = np.ones((4, 2))
    report = make(plan, np.empty(0), np.empty(0)).run(
        Examples(X, 0 * X), instructions(plan, 2, 2, telemetry_every=1)
    )
    assert report.loss / 4 == pytest.approx(np.tanh(1.0) ** 2)
    assert report.slots.shape == (2, 0, 3)


# -- the modules, and PyTorch ----------------------------------------------------------------------


def test_predictions_are_the_modules_forward_pass():
    nn.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Mish(), nn.Dropout())
    module = nn.Sequential(
        nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Residual(body), nn.GELU(), nn.Linear(6, 2)
    ).to("f8")
    X = np.random.default_rng(0).normal(size=(7, 3))
    module(X)  # so that the running statistics are not the initial ones
    plan = lower(module, "half_squared_error")
    vectors = [flatten(module.state_dict(), slots, np.float64) for slots in (plan.parameters, plan.buffers)]
    for make in (ReferenceExecutor, EngineExecutor):
        np.testing.assert_allclose(make(plan, *vectors).predict(X), module.eval()(X), rtol=1e-12, atol=1e-14)


@both_executors
def test_training_as_torch_does(make):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    nn.manual_seed(0)
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(32, 3)), rng.integers(0, 4, 32)
    ours = nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.ELU(),
        nn.Linear(8, 4),
    ).to("float64")  # fmt: skip
    layers = torch.nn
    theirs = layers.Sequential(
        layers.Linear(3, 8), layers.BatchNorm1d(8), layers.SiLU(), layers.Linear(8, 8), layers.LayerNorm(8),
        layers.ELU(), layers.Linear(8, 4),
    ).double()  # fmt: skip
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    plan = lower(ours, nn.CrossEntropyLoss(label_smoothing=0.1))
    parameters, buffers = (
        flatten(ours.state_dict(), slots, np.float64) for slots in (plan.parameters, plan.buffers)
    )
    executor = make(plan, parameters, buffers)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    total = 0.0
    for start in range(0, 32, 8):
        optimizer.zero_grad()
        outputs = theirs(torch.tensor(X[start : start + 8]))
        targets = torch.tensor(labels[start : start + 8])
        loss = layers.functional.cross_entropy(outputs, targets, label_smoothing=0.1)
        loss.backward()
        norm = torch.sqrt(sum((one.grad**2).sum() for one in theirs.parameters()))
        for one in theirs.parameters():  # PyTorch's clipping adds 1e-6 to the norm, which shows here
            one.grad *= min(1.0, 0.5 / norm.item())
        optimizer.step()
        total += 8 * loss.item()
    report = executor.run(
        prepare(plan, X, labels, dtype=np.float64),
        instructions(plan, 4, 8, 0.1, clip_norm=0.5, decay_all=True),
    )
    assert report.loss == pytest.approx(total, rel=1e-10)
    store(plan, ours, parameters, buffers)
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_allclose(
            ours.state_dict()[name], tensor.numpy(), rtol=1e-10, atol=1e-12, err_msg=name
        )
