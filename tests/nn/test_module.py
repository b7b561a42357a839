"""The mechanics of Module: registering, attributes, walking, state, modes."""

import inspect
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from chainrule import nn
from chainrule.tape import no_grad


def small_network():
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, rng=1))


class Custom(nn.Module):
    """A module of the user's own: an array of each kind and a child."""

    def __init__(self):
        super().__init__()
        self.child = nn.Linear(2, 2, rng=0)
        self.register_buffer("count", np.array(3))
        self.register_parameter("factor", np.arange(2.0))
        self.register_parameter("absent", None)

    def forward(self, x):
        return self.factor * self.child(x)


# -- registering and attributes --------------------------------------------------------------------


def test_attributes_are_the_registered_arrays_and_modules():
    module = Custom()
    assert module.factor is module._parameters["factor"]
    assert module.count is module._buffers["count"]
    assert module.child is module._modules["child"]
    assert module.absent is None
    assert {"factor", "count", "child", "absent"} <= set(dir(module))
    with pytest.raises(AttributeError, match="Custom has no attribute 'factro'"):
        module.factro  # noqa: B018


def test_registering_copies_and_keeps_the_precision():
    source = np.ones(2, np.float32)
    module = nn.Module()
    module.register_parameter("weight", source)
    source[:] = 7
    assert module.weight.tolist() == [1, 1]
    assert module.weight.dtype == np.float32


@pytest.mark.parametrize("name", ["", "a.b", 3])
def test_names_must_be_usable_in_a_dotted_name(name):
    with pytest.raises(ValueError, match="name must be a string that is not empty and has no dot"):
        nn.Module().register_parameter(name, np.ones(1))


@pytest.mark.parametrize("name", ["forward", "training", "child", "count"])
def test_a_name_in_use_is_refused(name):
    with pytest.raises(ValueError, match=f"name '{name}' is taken by another attribute of Custom"):
        Custom().register_parameter(name, np.ones(1))


def test_a_parameter_must_be_floating():
    with pytest.raises(TypeError, match="parameter weight must be float32 or float64; got int64"):
        nn.Module().register_parameter("weight", np.arange(3))
    with pytest.raises(TypeError, match="weight must be numeric; got dtype <U3"):
        nn.Module().register_parameter("weight", "abc")


def test_forgetting_super_init_is_explained():
    class Forgetful(nn.Module):
        def __init__(self):
            self.child = nn.ReLU()

    with pytest.raises(AttributeError, match=r"Forgetful must call super\(\).__init__\(\)"):
        Forgetful()


def test_setting_copies_and_converts():
    layer = nn.Linear(2, 1)
    source = np.array([[1.5, 2.5]])
    layer.weight = source
    source[:] = 0
    assert layer.weight.tolist() == [[1.5, 2.5]]
    assert layer.weight.dtype == np.float32
    assert layer.state_dict()["weight"].tolist() == [[1.5, 2.5]]


def test_setting_a_wrong_shape_changes_nothing():
    layer = nn.Linear(2, 1, rng=0)
    before = layer.weight.data.copy()
    with pytest.raises(ValueError, match=r"weight must have shape \(1, 2\); got \(2, 1\)"):
        layer.weight = np.ones((2, 1))
    with pytest.raises(ValueError, match=r"bias must have shape \(1,\); got \(\)"):
        layer.bias = 0.0
    np.testing.assert_array_equal(layer.weight.data, before)


def test_whether_a_parameter_exists_is_settled_at_construction():
    with pytest.raises(
        ValueError, match="whether bias exists is settled when the layer is made; got an array"
    ):
        nn.Linear(2, 1, bias=False).bias = np.ones(1)
    with pytest.raises(ValueError, match="whether bias exists is settled when the layer is made; got None"):
        nn.Linear(2, 1).bias = None


def test_a_change_in_place_stays_in_place():
    layer = nn.Linear(2, 1, rng=0)
    array = layer.weight
    with no_grad():
        layer.weight -= 1.0
    assert layer.weight is array


def test_a_child_can_be_replaced_but_only_by_a_module():
    module = Custom()
    module.child = nn.ReLU()
    assert list(module.state_dict()) == ["factor", "count"]
    with pytest.raises(TypeError, match="child must be a Module; got NoneType"):
        module.child = None
    with pytest.raises(TypeError, match="part must be a Module; got int"):
        module.add_module("part", 3)


def test_a_module_may_replace_a_plain_attribute():
    module = nn.Module()
    module.projection = None
    module.projection = nn.Identity()
    assert list(dict(module.named_children())) == ["projection"]
    assert isinstance(module.projection, nn.Identity)


# -- walking ---------------------------------------------------------------------------------------


def test_names_and_order_are_parameters_then_buffers_then_children():
    module = nn.Sequential(Custom(), nn.ReLU())
    assert [name for name, _ in module.named_modules()] == ["", "0", "0.child", "1"]
    assert [name for name, _ in module.named_parameters()] == ["0.factor", "0.child.weight", "0.child.bias"]
    assert [name for name, _ in module.named_buffers()] == ["0.count"]
    assert list(module.state_dict()) == ["0.factor", "0.count", "0.child.weight", "0.child.bias"]
    assert [type(child) for child in module.children()] == [Custom, nn.ReLU]
    assert len(list(module.modules())) == 4


def test_parameters_are_the_arrays_themselves():
    layer = nn.Linear(2, 1)
    for array in layer.parameters():
        array.data[...] = 0
    assert not layer.weight.any()
    assert not layer.bias.any()


def test_a_module_used_twice_is_listed_once_but_saved_twice():
    shared = nn.Linear(2, 2)
    module = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in module.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(module.modules())) == 3
    assert [name for name, _ in module.named_children()] == ["0", "1"]
    assert list(module.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_apply_reaches_children_first():
    seen = []
    module = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    assert module.apply(lambda each: seen.append(type(each).__name__)) is module
    assert seen == ["ReLU", "Sequential", "Tanh", "Sequential"]


# -- state -----------------------------------------------------------------------------------------


def test_state_dict_is_a_copy():
    module = small_network()
    state = module.state_dict()
    for array in state.values():
        array[...] = 9
    assert not (module[0].weight == 9).any()
    assert state["1.num_batches_tracked"].dtype == np.int64
    assert state["1.num_batches_tracked"].shape == ()


def test_load_state_dict_moves_everything_in_place():
    source, target = small_network(), small_network().apply(lambda module: module.reset_parameters(5))
    source(np.random.default_rng(0).normal(size=(8, 3)))
    held = target[0].weight
    assert target.load_state_dict(source.state_dict()) == ([], [])
    assert target[0].weight is held
    for name, array in source.state_dict().items():
        np.testing.assert_array_equal(target.state_dict()[name], array)
    assert target[1].num_batches_tracked == 1


def test_load_state_dict_names_every_problem_and_changes_nothing():
    module = small_network()
    before = module.state_dict()
    state = {name: np.full_like(array, 7) for name, array in before.items()}
    del state["3.bias"]
    state["0.weight"] = np.zeros((2, 2))
    state["1.weight"] = np.array(["a", "b", "c", "d"])
    state["4.weight"] = np.zeros(1)
    with pytest.raises(ValueError, match="cannot load this state into Sequential") as error:
        module.load_state_dict(state)
    message = str(error.value)
    assert "missing: 3.bias" in message
    assert "unexpected: 4.weight" in message
    assert "0.weight must have shape (4, 3); got (2, 2)" in message
    assert "1.weight must be numeric" in message
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_not_strict_reports_what_it_passed_over():
    layer = nn.Linear(2, 1, rng=0)
    bias = layer.bias.data.copy()
    result = layer.load_state_dict({"weight": [[1, 2]], "other": 3}, strict=False)
    assert result.missing_keys == ["bias"]
    assert result.unexpected_keys == ["other"]
    assert layer.weight.tolist() == [[1.0, 2.0]]
    np.testing.assert_array_equal(layer.bias.data, bias)
    with pytest.raises(ValueError, match=r"weight must have shape \(1, 2\); got \(2,\)"):
        layer.load_state_dict({"weight": [1, 2]}, strict=False)


def test_load_state_dict_may_swap_two_layers():
    module = nn.Sequential(nn.Linear(2, 2, bias=False, rng=0), nn.Linear(2, 2, bias=False, rng=1))
    first, second = module[0].weight.data.copy(), module[1].weight.data.copy()
    module.load_state_dict({"0.weight": module[1].weight, "1.weight": module[0].weight})
    np.testing.assert_array_equal(module[0].weight.data, second)
    np.testing.assert_array_equal(module[1].weight.data, first)


def test_load_state_dict_refuses_read_only_arrays_before_it_writes():
    layer = nn.Linear(2, 1, rng=0)
    before = layer.weight.data.copy()
    bias = np.zeros(1)
    bias.flags.writeable = False
    layer.bind({"bias": bias})
    with pytest.raises(ValueError, match="bias is bound to a read-only array"):
        layer.load_state_dict({"weight": [[1, 2]], "bias": [3]})
    np.testing.assert_array_equal(layer.weight.data, before)


def test_load_state_dict_takes_a_mapping():
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays; got list"):
        nn.Linear(2, 1).load_state_dict([1, 2])


def test_bind_shares_the_arrays_through_forward_passes():
    module = nn.Sequential(nn.Linear(2, 1, rng=0), nn.BatchNorm1d(1))
    flat = np.arange(3, dtype=np.float32)
    mean = np.zeros(1, np.float32)
    module.bind({"0.weight": flat[:2].reshape(1, 2), "0.bias": flat[2:], "1.running_mean": mean})
    flat *= 2
    assert module[0].weight.tolist() == [[0.0, 2.0]]
    assert module[0].bias.tolist() == [4.0]
    module(np.ones((4, 2), np.float32))
    assert mean[0] == pytest.approx(0.6)  # a tenth of 2 + 4: the running mean is updated in place


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"weights": np.zeros((1, 2))}, "Linear has no parameter or buffer 'weights'"),
        ({"weight": np.zeros((2, 1))}, r"weight must have shape \(1, 2\); got \(2, 1\)"),
        ({"weight": [[0.0, 0.0]]}, "weight must be an array of the kind float32; got list"),
        ({"weight": np.zeros((1, 2), int)}, "weight must be an array of the kind float32; got int64"),
    ],
)
def test_bind_checks_everything_first(arrays, message):
    layer = nn.Linear(2, 1, rng=0)
    bias = layer.bias
    with pytest.raises(ValueError, match=message):
        layer.bind({"bias": np.zeros(1), **arrays})
    assert layer.bias is bias


def test_to_converts_all_but_counters():
    module = small_network()
    assert module.to("float64") is module
    assert {array.dtype.name for array in module.parameters()} == {"float64"}
    assert module[1].running_var.dtype == np.float64
    assert module[1].num_batches_tracked.dtype == np.int64
    assert module.to(np.float32)[0].weight.dtype == np.float32
    for dtype in ("float16", int, None, "nonsense"):
        with pytest.raises(ValueError, match="dtype must be float32 or float64; got"):
            module.to(dtype)


@pytest.mark.parametrize(
    "duplicate", [lambda module: module.copy(), lambda module: pickle.loads(pickle.dumps(module))]
)
def test_a_copy_and_a_pickle_share_nothing(duplicate):
    module = nn.Sequential(
        OrderedDict(
            body=nn.Residual(nn.Linear(3, 2, rng=0)), drop=nn.Dropout(0.5, rng=0), norm=nn.BatchNorm1d(2)
        )
    )
    module.bind({"norm.weight": np.ones(4, np.float32)[:2]})  # a view, as after training
    twin = duplicate(module)
    assert repr(twin) == repr(module)
    x = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_array_equal(twin(x), module(x))
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, module.state_dict()[name])
    for mine, its in zip(module.parameters(), twin.parameters(), strict=True):
        assert not np.shares_memory(mine, its)


def test_copying_keeps_a_shared_module_shared():
    shared = nn.Linear(2, 2)
    twin = nn.Sequential(shared, shared).copy()
    assert twin[0] is twin[1]
    assert twin[0] is not shared


# -- modes and initial values ----------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    module = nn.Sequential(nn.Residual(nn.Dropout()), nn.BatchNorm1d(2))
    assert all(each.training for each in module.modules())
    assert module.eval() is module
    assert not any(each.training for each in module.modules())
    assert module.train() is module
    assert all(each.training for each in module.modules())
    with pytest.raises(TypeError, match="mode must be True or False; got 'eval'"):
        module.train("eval")


def test_reset_parameters_is_reproducible_and_clears_statistics():
    module = small_network()
    module(np.random.default_rng(0).normal(size=(8, 3)))
    module.reset_parameters(3)
    first = module.state_dict()
    assert first["1.num_batches_tracked"] == 0
    assert first["1.running_mean"].tolist() == [0, 0, 0, 0]
    module.reset_parameters(np.random.default_rng(3))
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, first[name])
    assert not np.array_equal(first["0.weight"].ravel()[:8], first["3.weight"].ravel())


def test_initialize_reaches_every_linear_layer():
    module = nn.Sequential(nn.Residual(nn.Linear(50, 60)), nn.LayerNorm(60), nn.Linear(60, 40))
    assert module.initialize("xavier_uniform", rng=0, gain=0.5) is module
    for layer in (module[0].body, module[0].projection, module[2]):
        bound = 0.5 * np.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < np.abs(layer.weight).max() <= bound
        assert layer.bias is None or not layer.bias.any()
    assert module[1].weight.tolist() == [1.0] * 60


def test_initialize_explains_its_errors_and_changes_nothing():
    layer = nn.Linear(2, 1, rng=0)
    before = layer.weight
    with pytest.raises(ValueError, match="initializer must be one of .*; got 'he_norml'"):
        nn.ReLU().initialize("he_norml")
    with pytest.raises(TypeError, match="he_normal has no setting 'std'"):
        layer.initialize("he_normal", std=1.0)
    assert layer.weight is before


# -- what a subclass may leave out -----------------------------------------------------------------


def test_what_is_not_defined_is_named(lowered):
    class Bare(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Bare does not define forward"):
        Bare()(np.zeros((1, 1)))
    with pytest.raises(NotImplementedError, match="Bare does not define lower"):
        lowered(nn.Sequential(nn.ReLU(), Bare()))
    with pytest.raises(NotImplementedError, match="Bare does not define output_width"):
        Bare().output_width(3)
    assert Bare().input_width() is None
    assert repr(Bare()) == "Bare()"


def exported_modules():
    exported = (getattr(nn, name) for name in nn.__all__)
    return {
        each
        for each in exported
        if inspect.isclass(each) and issubclass(each, nn.Module) and each is not nn.Module
    }


def test_every_exported_layer_defines_lower_and_its_widths():
    layers = {each for each in exported_modules() if not issubclass(each, nn.LossModule)}
    assert len(layers) >= 17
    for layer in layers:
        assert layer.lower is not nn.Module.lower, layer
        assert layer.output_width is not nn.Module.output_width, layer
        assert layer.forward is not nn.Module.forward, layer


def test_every_module_class_of_the_package_is_exported():
    def subclasses(cls):
        return {cls}.union(*map(subclasses, cls.__subclasses__()))

    ours = {each for each in subclasses(nn.Module) if each.__module__.startswith("chainrule.nn.")}
    assert ours - {nn.Module} == exported_modules()


def test_extra_repr_is_printed_above_the_children():
    class Labelled(nn.Sequential):
        def extra_repr(self):
            return "label=1"

    assert repr(Labelled(nn.ReLU())) == "Labelled(\n  label=1\n  (0): ReLU()\n)"
