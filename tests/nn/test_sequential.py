"""The chain of modules."""

from collections import OrderedDict

import numpy as np
import pytest

from chainrule import nn


def test_forward_is_the_composition(batch):
    first, second = nn.Linear(5, 4, rng=0), nn.Linear(4, 2, rng=1)
    net = nn.Sequential(first, nn.ReLU(), second)
    np.testing.assert_array_equal(net(batch), second(np.maximum(first(batch), 0)))
    assert nn.Sequential()(batch) is batch


def test_it_is_a_list_of_modules():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert list(net[1:]) == layers[1:]
    assert type(net[1:]) is nn.Sequential
    assert list(net[1:]._modules) == ["1", "2"]
    with pytest.raises(IndexError, match="index 3 is out of range for 3 modules"):
        net[3]


def test_append():
    net = nn.Sequential()
    assert net.append(nn.ReLU()).append(nn.Tanh()) is net
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    with pytest.raises(TypeError, match="2 must be a Module; got str"):
        net.append("relu")


def test_named_modules(lowered):
    net = nn.Sequential(OrderedDict(hidden=nn.Linear(2, 3), output=nn.Linear(3, 1)))
    assert list(net.state_dict()) == ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    assert net.hidden is net[0]
    assert [call[2] for call in lowered(net)] == ["hidden", "output"]


def test_lowering_gives_dotted_names(lowered):
    net = nn.Sequential(
        nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Sequential(nn.Dropout(0.1))), nn.Sequential()
    )
    assert lowered(net) == [
        ("linear", 0, "0", 3, True),
        ("activation", 1, "1.0", "relu", 0.0),
        ("dropout", 2, "1.1.0", 0.1),
    ]


def test_lowered_paths_name_the_parameters(lowered):
    net = nn.Sequential(nn.Linear(2, 3), nn.Residual(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4))))
    paths = {call[2] for call in lowered(net) if call[0] in ("linear", "batch_norm")}
    assert {f"{path}.weight" for path in paths} == {
        name for name in net.state_dict() if name.endswith("weight")
    }


def test_widths():
    net = nn.Sequential(nn.ReLU(), nn.Dropout(), nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    assert (net.input_width(), net.output_width(2)) == (2, 1)
    assert (nn.Sequential().input_width(), nn.Sequential().output_width(6)) == (None, 6)
    broken = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.Linear(4, 1)))
    with pytest.raises(
        ValueError, match=r"module 0: module 1: Linear\(in_features=4.* takes 4 columns; got 3"
    ):
        broken.output_width(2)


@pytest.mark.parametrize("argument", [3, [nn.ReLU()], nn.ReLU])
def test_arguments_are_checked(argument):
    with pytest.raises(TypeError, match="0 must be a Module; got"):
        nn.Sequential(argument)
