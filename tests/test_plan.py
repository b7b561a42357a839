"""Lowering a network to a plan: operations, offsets, what is penalised, flat vectors and back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.plan import KINDS, LossTerm, Operation, Slot, flatten, loss_term, lower, store


def example():
    """One of everything: 5 -> 4 -> 4 (+) -> 2."""
    body = nn.Sequential(nn.Linear(4, 4, bias=False), nn.LayerNorm(4), nn.Dropout(0.25))
    return nn.Sequential(
        nn.Linear(5, 4), nn.BatchNorm1d(4, eps=1e-3, momentum=0.2), nn.LeakyReLU(0.2), nn.Residual(body),
        nn.Linear(4, 2),
    )  # fmt: skip


# -- operations and slots --------------------------------------------------------------------------


def test_operations():
    plan = lower(example(), "half_squared_error")
    assert plan.operations == (
        Operation("linear", "0", 0, 5, 4, weight=0, bias=20),
        Operation(
            "batch_norm", "1", 1, 4, 4, weight=24, bias=28, running_mean=0, running_variance=4,
            batches_tracked=8, epsilon=1e-3, momentum=0.2,
        ),
        Operation("activation", "2", 2, 4, 4, activation="leaky_relu", alpha=0.2),
        Operation("linear", "3.body.0", 3, 4, 4, weight=32),
        Operation("layer_norm", "3.body.1", 4, 4, 4, weight=48, bias=52, epsilon=1e-5),
        Operation("dropout", "3.body.2", 5, 4, 4, probability=0.25),
        Operation("add", "3", 3, 4, 4, second=6),
        Operation("linear", "4", 7, 4, 2, weight=56, bias=64),
    )  # fmt: skip
    assert plan.widths == (5, 4, 4, 4, 4, 4, 4, 4, 2)
    assert (plan.n_inputs, plan.n_outputs) == (5, 2)
    assert {op.kind for op in plan.operations} == set(KINDS)


def test_slots():
    plan = lower(example(), "half_squared_error")
    assert plan.parameters == (
        Slot("0.weight", 0, (4, 5), True), Slot("0.bias", 20, (4,)), Slot("1.weight", 24, (4,)),
        Slot("1.bias", 28, (4,)),
        Slot("3.body.0.weight", 32, (4, 4), True), Slot("3.body.1.weight", 48, (4,)),
        Slot("3.body.1.bias", 52, (4,)),
        Slot("4.weight", 56, (2, 4), True), Slot("4.bias", 64, (2,)),
    )  # fmt: skip
    assert plan.buffers == (
        Slot("1.running_mean", 0, (4,)), Slot("1.running_var", 4, (4,)), Slot("1.num_batches_tracked", 8, ()),
    )  # fmt: skip
    assert (plan.n_parameters, plan.n_buffers) == (66, 9)


def test_only_the_weights_of_linear_layers_are_penalised():
    plan = lower(example(), "half_squared_error")
    assert [slot.name for slot in plan.parameters if slot.penalised] == [
        "0.weight",
        "3.body.0.weight",
        "4.weight",
    ]


def test_multiply_adds_by_hand():
    assert lower(example(), "half_squared_error").multiply_adds == 5 * 4 + 4 * 4 + 4 * 2
    mlp = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    plan = lower(mlp, nn.CrossEntropyLoss())
    assert plan.multiply_adds == 784 * 128 + 128 * 10
    assert plan.n_parameters == 784 * 128 + 128 + 128 * 10 + 10


def test_uses():
    plan = lower(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "half_squared_error")
    assert [kind for kind in KINDS if plan.uses(kind)] == ["linear", "dropout"]


@settings(deterministic, max_examples=60)
@given(architectures())
def test_slots_fill_the_vectors_without_gaps(drawn):
    module, n_inputs = drawn
    plan = lower(module, "half_squared_error", n_inputs)
    for slots, total in ((plan.parameters, plan.n_parameters), (plan.buffers, plan.n_buffers)):
        ends = np.cumsum([0] + [slot.size for slot in slots])
        assert [slot.offset for slot in slots] == ends[:-1].tolist()
        assert ends[-1] == total
    state = module.state_dict()
    names = [slot.name for slot in (*plan.parameters, *plan.buffers)]
    assert sorted(names) == sorted(state)
    assert all(slot.shape == state[slot.name].shape for slot in (*plan.parameters, *plan.buffers))
    assert len(plan.widths) == len(plan.operations) + 1
    for k, op in enumerate(plan.operations):
        assert max(op.source, op.second) <= k  # only what is there already
        assert (op.width_in, op.width_out) == (plan.widths[op.source], plan.widths[k + 1])


def test_a_plan_is_frozen():
    plan = lower(nn.Linear(2, 1), "half_squared_error")
    for part in (plan, plan.operations[0], plan.parameters[0], plan.loss):
        name = dataclasses.fields(part)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, None)


# -- lowering --------------------------------------------------------------------------------------


def test_one_layer_without_a_name():
    plan = lower(nn.Linear(3, 2), "half_squared_error")
    assert [slot.name for slot in plan.parameters] == ["weight", "bias"]


def test_projection_after_the_body():
    plan = lower(nn.Residual(nn.Sequential(nn.Linear(3, 2), nn.Tanh())), "half_squared_error")
    assert [(op.kind, op.name, op.source) for op in plan.operations] == [
        ("linear", "body.0", 0), ("activation", "body.1", 1), ("linear", "projection", 0), ("add", "", 3),
    ]  # fmt: skip
    assert plan.operations[-1].second == 2
    assert plan.operations[2].bias == -1


@pytest.mark.parametrize(
    ("layer", "fields"),
    [
        (nn.BatchNorm1d(3, affine=False), {"weight": -1, "bias": -1, "running_mean": 0}),
        (nn.LayerNorm(3, elementwise_affine=False), {"weight": -1, "bias": -1}),
        (nn.LayerNorm(3, bias=False), {"weight": 0, "bias": -1}),
        (nn.Linear(3, 2, bias=False), {"weight": 0, "bias": -1}),
        (nn.ELU(0.5), {"activation": "elu", "alpha": 0.5, "weight": -1, "second": -1}),
        (nn.Dropout(1), {"probability": 1.0}),
    ],
    ids=repr,
)
def test_constants_of_one_layer(layer, fields):
    (operation,) = lower(layer, "half_squared_error", 3).operations
    assert {name: getattr(operation, name) for name in fields} == fields


def test_number_of_inputs():
    net = nn.Sequential(nn.Tanh(), nn.Linear(4, 1))
    assert lower(net, "half_squared_error").n_inputs == 4
    assert lower(net, "half_squared_error", 4).n_inputs == 4
    assert lower(nn.Tanh(), "half_squared_error", 7).widths == (7, 7)
    with pytest.raises(ValueError, match="n_inputs is needed: no layer of the module states"):
        lower(nn.Tanh(), "half_squared_error")
    with pytest.raises(ValueError, match="n_inputs is 3, but the module's first layer takes 4 inputs"):
        lower(net, "half_squared_error", 3)


def test_widths_that_do_not_fit():
    with pytest.raises(ValueError, match=r"module 1: Linear\(in_features=5, .* takes 5 columns; got 4"):
        lower(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 1)), "half_squared_error")


def test_nothing_to_run():
    with pytest.raises(ValueError, match="the module has no operation"):
        lower(nn.Sequential(), "half_squared_error", 3)


def test_a_layer_without_a_lowering():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

        def output_width(self, input_width):
            return input_width

    with pytest.raises(NotImplementedError, match=r"Square \(1\) does not define lower"):
        lower(nn.Sequential(nn.Linear(2, 2), Square()), "half_squared_error")


def test_an_output_that_is_not_the_last_operation():
    class First(nn.Module):
        def lower(self, build, source, path):
            value = build.activation(source, path, "tanh", 0.0)
            build.activation(value, path, "tanh", 0.0)
            return value

        def output_width(self, input_width):
            return input_width

    with pytest.raises(ValueError, match="its output is not its last operation"):
        lower(First(), "half_squared_error", 2)


def test_a_layer_used_twice_is_refused():
    """PyTorch would train one shared matrix; a plan cannot say that, and must not do another thing."""
    layer = nn.Linear(3, 3)
    with pytest.raises(
        NotImplementedError, match="2.weight belongs to a layer that the module uses more than once"
    ):
        lower(nn.Sequential(layer, nn.Tanh(), layer), "half_squared_error")


def test_addends_of_two_widths():
    class Wrong(nn.Module):
        def lower(self, build, source, path):
            return build.add(source, build.linear(source, path, 3, False), path)

        def output_width(self, input_width):
            return 3

    with pytest.raises(ValueError, match="0: cannot add values of widths 2 and 3; a residual"):
        lower(nn.Sequential(Wrong()), "half_squared_error", 2)


def test_unknown_records():
    class Odd(nn.Module):
        def lower(self, build, source, path):
            return build.activation(source, path, "step", 0.0)

        def output_width(self, input_width):
            return input_width

    with pytest.raises(ValueError, match="activation must be one of"):
        lower(Odd(), "half_squared_error", 2)
    with pytest.raises(ValueError, match="loss must be one of"):
        lower(nn.Linear(2, 1), "hinge")


# -- losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("huber", LossTerm("huber", 1.0, 1.0)),
        ("squared_error", LossTerm("half_squared_error")),
        (LossTerm("huber", 0.5, 3.0), LossTerm("huber", 0.5, 3.0)),
        (nn.HalfSquaredErrorLoss(), LossTerm("half_squared_error", 0.0, 1.0)),
        (nn.MSELoss(), LossTerm("half_squared_error", 0.0, 0.5)),
        (nn.L1Loss(), LossTerm("absolute_error", 0.0, 0.25)),
        (nn.HuberLoss(2), LossTerm("huber", 2.0, 0.25)),
        (nn.QuantileLoss(0.9), LossTerm("quantile", 0.9, 0.25)),
        (nn.BCEWithLogitsLoss(), LossTerm("binary_cross_entropy", 0.0, 0.25)),
        (nn.CrossEntropyLoss(), LossTerm("softmax_cross_entropy", 0.0, 1.0)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LossTerm("softmax_cross_entropy", 0.1, 1.0)),
        (nn.PoissonNLLLoss(), LossTerm("poisson", 0.0, 0.25)),
    ],
    ids=repr,
)
def test_loss_terms(loss, expected):
    assert loss_term(loss, 4) == expected
    assert lower(nn.Linear(2, 4), loss).loss == expected


@pytest.mark.parametrize("loss", [None, 3, nn.Linear(1, 1)])
def test_not_a_loss(loss):
    name = type(loss).__name__
    with pytest.raises(TypeError, match=f"loss must be a name or a loss module of chainrule.nn; got {name}"):
        loss_term(loss, 1)


# -- flat vectors ----------------------------------------------------------------------------------


def test_slot_views():
    vector = np.arange(10.0)
    view = Slot("w", 2, (2, 3)).view(vector)
    assert view.tolist() == [[2, 4, 6], [3, 5, 7]]  # it lies transposed: a column of W after the other
    view[0, 0] = -1.0
    assert vector[2] == -1.0
    assert Slot("n", 3, ()).size == 1
    assert Slot("n", 3, ()).view(vector).shape == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flatten_and_store(dtype):
    nn.manual_seed(0)
    module = example().to(dtype)
    module(np.random.default_rng(0).normal(size=(6, 5)).astype(dtype))  # one batch tracked
    module[1].num_batches_tracked = 2**20 + 1
    before = module.state_dict()
    plan = lower(module, "half_squared_error")
    parameters = flatten(before, plan.parameters, dtype)
    buffers = flatten(before, plan.buffers, dtype)
    assert parameters.dtype == buffers.dtype == dtype
    np.testing.assert_array_equal(parameters[:20], before["0.weight"].T.ravel())
    np.testing.assert_array_equal(buffers[:4], before["1.running_mean"])

    other = example().to(dtype)
    store(plan, other, parameters, buffers)
    after = other.state_dict()
    assert list(after) == list(before)
    for name in before:
        assert after[name].dtype == before[name].dtype
        np.testing.assert_array_equal(after[name], before[name])
    assert after["1.num_batches_tracked"].dtype == np.int64
    # The module's arrays are views into the vectors: an optimizer's step shows at once.
    parameters[:] += 1.0
    np.testing.assert_array_equal(other[0].weight.data, before["0.weight"] + 1)
    assert np.shares_memory(other[4].bias.data, parameters)
    assert np.shares_memory(other[1].running_var, buffers)


def test_flatten_copies():
    module = nn.Linear(2, 1, dtype=np.float64)
    plan = lower(module, "half_squared_error")
    vector = flatten(module.state_dict(), plan.parameters, np.float64)
    vector[:] = 0.0
    assert (module.weight != 0).all()
