"""Three gradients of one network, each computed another way, and trainings that end alike.

The reference executor, the compiled engine, and finite differences of the reference's loss are held
against each other for every record and every layer there is; then the reference and the engine for
random networks and random instructions.
"""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given, settings
from tests.strategies import (
    LAYERS,
    OPTIMIZERS,
    KinkWatcher,
    Training,
    deterministic,
    distance,
    flat_vectors,
    module_classes,
    setting_choices,
    targets_for,
    trainings,
)

from chainrule import nn
from chainrule.define_by_run import TapeExecutor
from chainrule.engine import EngineExecutor, worker
from chainrule.execution import Penalty, prepare
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.optim import RULES
from chainrule.plan import KINDS, LossTerm, flatten, lower
from chainrule.reference import ReferenceExecutor

N_ROWS = 9


def training(module, term, seed=0, *, n_inputs=None, weighted=True, **changes):
    """Data for a module, with nothing drawn at random but the numbers."""
    plan = lower(module, term, n_inputs)
    rng = np.random.default_rng(seed)
    parameters, buffers = flat_vectors(module, plan, rng)
    settings_of = {
        "X": rng.normal(size=(N_ROWS, plan.n_inputs)),
        "y": targets_for(LOSSES[plan.loss.name], N_ROWS, plan.n_outputs, rng),
        "weights": rng.uniform(0.5, 2.0, N_ROWS) if weighted else None,
        "order": None, "batch_size": 4, "optimizer": OPTIMIZERS["momentum"], "changes": {},
    }  # fmt: skip
    return Training(plan, parameters, buffers, module=module, **{**settings_of, **changes})


def finite_differences(case, penalty, is_training, step, seed):
    """Central differences of the reference's loss and penalty, parameter by parameter."""
    width = 1e-5
    executor, examples = case.start(ReferenceExecutor), case.examples()
    gradient = np.empty(case.plan.n_parameters)
    for i in range(len(gradient)):
        sides = []
        for sign in (1, -1):
            executor.parameters[:] = case.parameters
            executor.parameters[i] += sign * width
            loss, value, _ = executor.gradient(examples, penalty, training=is_training, step=step, seed=seed)
            sides.append(loss + value)
        gradient[i] = (sides[0] - sides[1]) / (2 * width)
    return gradient


def assert_four_gradients_agree(case, penalty=Penalty(0.05, 0.02), is_training=True):  # noqa: B008
    options = {"training": is_training, "step": 3, "seed": 11}
    watched = case.start(KinkWatcher)
    loss, value, expected = watched.gradient(case.examples(), penalty, **options)
    assert watched.nearest > 1e-4, "a unit is too near to a kink for finite differences: change the seed"
    assert np.abs(expected).max() > 1e-3
    differences = finite_differences(case, penalty, is_training, 3, 11)
    np.testing.assert_allclose(differences, expected, rtol=1e-8, atol=2e-9 * np.abs(expected).max() + 2e-9)
    for dtype, tolerance in ((np.float64, 1e-8), (np.float32, 1e-4)):
        engine = case.start(EngineExecutor, dtype)
        loss_too, value_too, gradient = engine.gradient(case.examples(dtype), penalty, **options)
        assert gradient.dtype == dtype
        assert loss_too == pytest.approx(loss, rel=tolerance, abs=tolerance)
        assert value_too == pytest.approx(value, rel=tolerance)
        assert distance(gradient, expected) < tolerance
        # Asking for a gradient changes nothing.
        np.testing.assert_array_equal(engine.parameters, case.parameters.astype(dtype))
        np.testing.assert_array_equal(engine.buffers, case.buffers.astype(dtype))
    tape = case.start(TapeExecutor, module=case.module.copy())
    loss_too, value_too, gradient = tape.gradient(case.examples(), penalty, **options)
    assert (loss_too, value_too) == pytest.approx((loss, value), rel=1e-12, abs=1e-12)
    assert distance(gradient, expected) < 1e-10
    np.testing.assert_array_equal(tape.parameters, case.parameters)
    np.testing.assert_array_equal(tape.buffers, case.buffers)


# -- every record, every layer ---------------------------------------------------------------------


def linear(width_in, width_out, bias=True, seed=1):
    return nn.Linear(width_in, width_out, bias, dtype=np.float64, rng=seed)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("alpha", ["default", 0.3])
def test_every_activation(name, alpha):
    if alpha != "default" and ACTIVATIONS[name].alpha is None:
        alpha = None  # the same network once more, with other numbers
    layer = nn.activation_module(name, None if alpha in ("default", None) else alpha)
    module = nn.Sequential(linear(3, 5), layer, linear(5, 4), layer.copy(), linear(4, 2))
    assert_four_gradients_agree(training(module, "half_squared_error", seed=5 if alpha == "default" else 3))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_every_loss(name, n_outputs):
    for setting in setting_choices(LOSSES[name]):
        module = nn.Sequential(linear(3, 5), nn.Tanh(), linear(5, n_outputs))
        if name == "softmax_cross_entropy" and n_outputs == 1 and not setting:
            case = training(module, LossTerm(name, setting), y=np.full((N_ROWS, 1), 0.5))  # a weighted row
        else:
            case = training(module, LossTerm(name, setting, 0.7))
        assert_four_gradients_agree(case)


def test_class_rows_and_soft_targets_are_one_loss():
    labels = np.random.default_rng(0).integers(0, 3, N_ROWS)
    for smoothing in (0.0, 0.2):
        term = LossTerm("softmax_cross_entropy", smoothing)
        gradients = []
        for y in (labels, np.eye(3)[labels]):
            case = training(nn.Sequential(linear(3, 3)), term, y=y)
            assert_four_gradients_agree(case)
            gradients.append(case.start(EngineExecutor).gradient(case.examples())[2])
        np.testing.assert_allclose(*gradients, rtol=1e-13, atol=1e-15)


def norm64(layer, *arguments):
    return layer(*arguments, dtype=np.float64)


NETWORKS = {
    "linear": lambda: [linear(3, 4)],
    "linear without bias": lambda: [linear(3, 4, bias=False), linear(4, 2, bias=False)],
    "batch norm": lambda: [linear(3, 4), norm64(nn.BatchNorm1d, 4), nn.Tanh(), linear(4, 2)],
    "batch norm, not affine": lambda: [
        linear(3, 4),
        norm64(nn.BatchNorm1d, 4, 1e-2, 0.3, False),
        linear(4, 2),
    ],
    "batch norm first": lambda: [norm64(nn.BatchNorm1d, 3), nn.Sigmoid(), linear(3, 2)],
    "layer norm": lambda: [linear(3, 4), norm64(nn.LayerNorm, 4), nn.GELU(), linear(4, 2)],
    "layer norm, not affine": lambda: [linear(3, 4), norm64(nn.LayerNorm, 4, 1e-2, False), linear(4, 2)],
    "layer norm without shift": lambda: [norm64(nn.LayerNorm, 3, 1e-2, True, False), linear(3, 4)],
    "layer norm last": lambda: [linear(3, 4), norm64(nn.LayerNorm, 4)],
    "dropout": lambda: [nn.Dropout(0.3), linear(3, 8), nn.SiLU(), nn.Dropout(0.5), linear(8, 2)],
    "dropout of everything": lambda: [linear(3, 4), nn.Residual(nn.Dropout(1.0)), linear(4, 2)],
    "residual": lambda: [
        linear(3, 4),
        nn.Residual(nn.Sequential(linear(4, 4, seed=2), nn.Tanh())),
        linear(4, 2),
    ],
    "residual, projected": lambda: [nn.Residual(nn.Sequential(linear(3, 4), nn.Mish()), rng=5), linear(4, 2)],
    "residual around nothing": lambda: [linear(3, 4), nn.Residual(nn.Sequential()), nn.Tanh(), linear(4, 2)],
    "residual in residual": lambda: [
        linear(3, 4),
        nn.Residual(nn.Sequential(nn.Residual(linear(4, 4, seed=2)), norm64(nn.LayerNorm, 4), nn.Softplus())),
        norm64(nn.BatchNorm1d, 4),
        linear(4, 2),
    ],
    "nested chains": lambda: [
        nn.Sequential(nn.Sequential(linear(3, 4), nn.ELU()), nn.Sequential(linear(4, 2)))
    ],
    "activation only at the inputs": lambda: [nn.Tanh(), linear(3, 2)],
}


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer(name, is_training):
    case = training(nn.Sequential(*NETWORKS[name]()), "half_squared_error", seed=4)
    case.buffers[:] += np.random.default_rng(1).uniform(0, 0.5, case.buffers.shape)
    assert_four_gradients_agree(case, is_training=is_training)


def test_every_kind_of_operation_is_exercised():
    kinds = set()
    for make in NETWORKS.values():
        kinds |= {op.kind for op in lower(nn.Sequential(*make()), "half_squared_error").operations}
    assert kinds == set(KINDS)


def missing_from(known, classes):
    return {one.__name__ for one in classes - set(known)}


def test_every_module_is_drawn_and_exercised():
    assert missing_from(LAYERS, module_classes()) == set()
    used = {type(one) for make in NETWORKS.values() for one in nn.Sequential(*make()).modules()}
    activations = {one for one in LAYERS if issubclass(one, nn.ActivationModule)}
    assert missing_from(used | activations, module_classes()) == set()
    assert {one.record_name for one in activations} == set(ACTIVATIONS)


def test_a_module_missing_from_the_strategy_is_noticed():
    class Extra(nn.Module):
        pass

    assert missing_from(LAYERS, {*module_classes(), Extra}) == {"Extra"}


def test_every_update_rule_is_exercised():
    assert {optimizer.rule.name for optimizer in OPTIMIZERS.values()} == set(RULES)


# -- predictions, losses, gradients over chunks ----------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_rows", [0, 1, 1024, 2500])
def test_predictions(dtype, n_rows):
    module = nn.Sequential(
        linear(3, 130),
        norm64(nn.BatchNorm1d, 130),
        nn.ReLU(),
        nn.Dropout(),
        norm64(nn.LayerNorm, 130),
        linear(130, 2),
    )
    case = training(module, "half_squared_error")
    X = np.random.default_rng(0).normal(size=(n_rows, 3))
    expected = case.start(ReferenceExecutor).predict(X)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    for n_threads in (1, 2):
        engine = case.start(EngineExecutor, dtype, n_threads=n_threads)
        z = engine.predict(X.astype(dtype))
        assert z.dtype == dtype
        assert distance(z, expected) < tolerance
        sparse = engine.predict(scipy.sparse.csr_matrix(X.astype(dtype)))
        np.testing.assert_array_equal(sparse, z)


@pytest.mark.parametrize("layout", ["double", "column-major", "strided"])
def test_predictions_from_any_array(layout):
    """What the reference takes, the engine takes: as it is, or with an error that says what is wrong."""
    case = training(nn.Sequential(linear(3, 2)), "half_squared_error")
    X = {
        "double": case.X,
        "column-major": np.asfortranarray(case.X, dtype=np.float32),
        "strided": np.repeat(case.X.astype(np.float32), 2, axis=0)[::2],
    }[layout]
    expected = case.start(ReferenceExecutor, np.float32).predict(X)
    assert distance(case.start(EngineExecutor, np.float32).predict(X), expected) < 1e-5


def test_an_order_that_is_a_view():
    case = training(nn.Sequential(linear(3, 2)), "half_squared_error")
    order = np.repeat(np.arange(N_ROWS), 2)[::2]
    outcomes = [case.run(make, changes={"order": order}) for make in (ReferenceExecutor, EngineExecutor)]
    assert distance(outcomes[1].parameters, outcomes[0].parameters) < 1e-12


@pytest.mark.parametrize(
    "make",
    [
        ReferenceExecutor,
        EngineExecutor,
    ],
)
def test_no_rows_are_no_steps(make):
    case = training(nn.Sequential(linear(3, 2)), "half_squared_error")
    outcome = case.run(make, changes={"order": np.empty(0, np.int64)})
    assert (outcome.reports[0].n_rows, outcome.reports[0].n_steps) == (0, 0)
    np.testing.assert_array_equal(outcome.parameters, case.parameters)


def test_gradient_of_more_rows_than_a_chunk():
    module = nn.Sequential(linear(3, 4), nn.Tanh(), linear(4, 3))
    plan = lower(module, "softmax_cross_entropy")
    rng = np.random.default_rng(0)
    n_rows = 2500
    weights = rng.uniform(size=n_rows) * (rng.random(n_rows) < 0.7)
    parameters = flatten(module.state_dict(), plan.parameters, np.float64)
    for X in (rng.normal(size=(n_rows, 3)), scipy.sparse.random(n_rows, 3, 0.5, "csr", random_state=0)):
        for w in (None, weights):
            examples = prepare(plan, X, rng.integers(0, 3, n_rows), w, dtype=np.float64)
            executors = [make(plan, parameters, np.empty(0)) for make in (ReferenceExecutor, EngineExecutor)]
            for penalty in (Penalty(), Penalty(0.3, 0.1, per_example=True)):
                by_the_book, fast = (one.gradient(examples, penalty) for one in executors)
                assert fast[:2] == pytest.approx(by_the_book[:2], rel=1e-12)
                assert distance(fast[2], by_the_book[2]) < 1e-12
            assert executors[1].loss(examples) == pytest.approx(executors[0].loss(examples), rel=1e-12)


# -- whole trainings -------------------------------------------------------------------------------


def differences(one, other):
    """How far two outcomes are apart, quantity by quantity."""
    found = {
        name: distance(getattr(one, name), getattr(other, name))
        for name in ("parameters", "buffers", "state")
    }
    for mine, theirs in zip(one.reports, other.reports, strict=True):
        assert (mine.n_rows, mine.n_steps) == (theirs.n_rows, theirs.n_steps)
        np.testing.assert_array_equal(mine.telemetry_steps, theirs.telemetry_steps)
        assert mine.operations.shape == theirs.operations.shape
        assert mine.slots.shape == theirs.slots.shape
        found["loss"] = distance([mine.loss, mine.penalty], [theirs.loss, theirs.penalty])
        for field in range(mine.operations.shape[2]):
            found[f"operations {field}"] = distance(
                mine.operations[..., field], theirs.operations[..., field]
            )
        for field in range(mine.slots.shape[2]):
            found[f"slots {field}"] = distance(mine.slots[..., field], theirs.slots[..., field])
    return found


def run_unless_it_diverges(case):
    """The reference's outcome; a training that overflows compares with nothing."""
    with np.errstate(all="ignore"):
        outcome = case.run(KinkWatcher)
    assume(all(np.abs(array).max(initial=0) < 1e6 for array in (outcome.parameters, outcome.state)))
    return outcome


@settings(deterministic, max_examples=400)
@given(trainings())
def test_random_trainings_in_double_precision(case):
    expected = run_unless_it_diverges(case)
    assume(expected.executor.nearest > 1e-9)
    found = differences(case.run(EngineExecutor), expected)
    assert max(found.values()) < 1e-8, found


@settings(deterministic, max_examples=400)
@given(trainings())
def test_random_trainings_in_single_precision(case):
    expected = run_unless_it_diverges(case)
    assume(expected.executor.nearest > 1e-5 and not expected.executor.cancels)
    found = differences(case.run(EngineExecutor, np.float32), expected)
    # A normalisation over few rows may magnify rounding: NumPy's own single precision shows how much.
    rounding = differences(case.run(ReferenceExecutor, np.float32), expected)
    too_far = {name: size for name, size in found.items() if size > max(1e-4, 4 * rounding[name])}
    assert not too_far, (too_far, rounding)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_every_optimizer(name, clip_norm):
    module = nn.Sequential(linear(3, 130), nn.Tanh(), norm64(nn.BatchNorm1d, 130), linear(130, 3))
    changes = {
        "optimizer": OPTIMIZERS[name], "n_runs": 3, "order": np.random.default_rng(0).permutation(N_ROWS),
        "changes": {"penalty": Penalty(0.1, 0.05), "clip_norm": clip_norm, "telemetry_every": 1},
    }  # fmt: skip
    for decay_all in (False, True):
        case = training(module, "softmax_cross_entropy", **changes)
        case.changes["decay_all"] = decay_all
        for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-4)):
            expected = case.run(ReferenceExecutor)
            assert (expected.parameters != case.parameters).all()
            found = differences(case.run(EngineExecutor, dtype), expected)
            assert max(found.values()) < tolerance, found


def test_decoupled_decay_spares_biases_unless_told():
    module = nn.Sequential(linear(3, 2))
    case = training(module, "half_squared_error", optimizer=OPTIMIZERS["nesterov"])
    moved = {}
    for decay_all in (False, True):
        outcome = case.run(EngineExecutor, changes={"decay_all": decay_all, "order": np.arange(4)})
        moved[decay_all] = outcome.parameters
    weights = slice(0, 6)
    np.testing.assert_array_equal(moved[False][weights], moved[True][weights])
    assert (moved[False][6:] != moved[True][6:]).all()


@pytest.mark.parametrize("make", [ReferenceExecutor, EngineExecutor])
def test_a_batch_without_any_weight_moves_nothing(make):
    weights = np.ones(N_ROWS)
    weights[:4] = 0.0  # the whole first batch
    case = training(
        nn.Sequential(linear(3, 2)), "half_squared_error", weights=weights, optimizer=OPTIMIZERS["sgd"]
    )
    outcome = case.run(make, changes={"order": np.arange(4)})
    np.testing.assert_array_equal(outcome.parameters, case.parameters)
    assert outcome.reports[0].loss == 0.0


@pytest.mark.parametrize("make", [ReferenceExecutor, EngineExecutor])
def test_not_a_number_is_seen(make):
    """Nothing in the flags or in the kernels may swallow a NaN or an infinity."""
    for bad in (np.nan, np.inf):
        case = training(nn.Sequential(linear(3, 4), nn.ReLU(), linear(4, 2)), "half_squared_error")
        case.parameters[0] = bad
        with np.errstate(all="ignore"):
            outcome = case.run(make, changes={"telemetry_every": 1, "order": np.arange(4)})
        assert not np.isfinite(outcome.reports[0].loss)
        assert outcome.reports[0].operations[0, 0, 4] >= 4  # column 0 of z, in each of four rows
        assert not np.isfinite(outcome.parameters).all()


def test_one_worker_for_both_precisions():
    """Whatever the network and the data look like, what plays a schedule is compiled once."""
    module = nn.Sequential(linear(3, 4), norm64(nn.BatchNorm1d, 4), linear(4, 2))
    addresses = set()
    for dtype in (np.float64, np.float32):
        dense = training(module, "half_squared_error")
        sparse = training(module, "half_squared_error", X=scipy.sparse.csr_matrix(dense.X), weighted=False)
        classes = training(module, "softmax_cross_entropy", order=np.arange(N_ROWS)[::-1].copy())
        for case in (dense, sparse, classes):
            engine = case.run(EngineExecutor, dtype).executor
            engine.predict(case.examples(dtype).X)
            engine.gradient(case.examples(dtype), step=np.int64(3), seed=2**40)
            addresses.add(worker.play().address)
    assert len(addresses) == 1
