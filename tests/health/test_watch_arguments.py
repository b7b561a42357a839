"""What ``watch`` takes, and what it says of anything else."""

import pytest

from chainrule import nn, optim
from chainrule.health.watching import watch


def test_arguments_are_checked():
    net = nn.Linear(4, 2)
    optimizer = optim.Adam(net.parameters())
    with pytest.raises(TypeError, match="model must be a module"):
        watch(lambda x: x, optimizer)
    with pytest.raises(TypeError, match="optimizer must be one of chainrule.optim"):
        watch(net, None)
    with pytest.raises(ValueError, match="optimizer must have parameters"):
        watch(net, optim.Adam())
    with pytest.raises(ValueError, match="every must be a positive integer"):
        watch(net, optimizer, every=0)
    with pytest.raises(TypeError, match="scaler must be"):
        watch(net, optimizer, scaler=2.0)
    with watch(net, optimizer) as w, pytest.raises(RuntimeError, match="running already"), w:
        pass
    assert w.report().notes == ["no optimizer.step() was seen"]
