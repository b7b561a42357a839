"""What an optimizer is told: its settings, and descriptions for ``fit``."""

import math

import numpy as np
import pytest
from tests.optim.problems import leaf

from chainrule import fit, nn
from chainrule.optim import OPTIMIZERS, SGD, Adam, AdamW, RMSprop, make_optimizer

# -- descriptions for fit --------------------------------------------------------------------------


def test_make_by_name():
    assert type(make_optimizer("adamw")) is AdamW
    assert type(make_optimizer("rmsprop")) is RMSprop
    given = SGD(lr=0.3)
    assert make_optimizer(given) is given
    message = "optimizer must be one of adam, adamw, rmsprop, sgd; got 'adamm'. Did you mean 'adam'"
    with pytest.raises(ValueError, match=message):
        make_optimizer("adamm")
    with pytest.raises(
        ValueError, match=r"has parameters of its own, .* without them, such as SGD\(lr=...\)"
    ):
        make_optimizer(SGD([leaf([1.0])]))


def test_a_description_takes_no_steps():
    optimizer = Adam(lr=0.3)
    assert (optimizer.lr, optimizer.param_groups, optimizer.is_bound) == (0.3, [], False)
    for act in (
        optimizer.step,
        optimizer.zero_grad,
        lambda: optimizer.add_param_group({"params": [leaf([1.0])]}),
    ):
        with pytest.raises(
            RuntimeError, match=r"this Adam has no parameters: .* Adam\(module.parameters\(\), ...\)"
        ):
            act()


def network():
    nn.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8, dtype=np.float64), nn.Tanh(), nn.Linear(8, 1, dtype=np.float64))


X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, :1] * X[:, 1:2]


def fitted(optimizer, executor):
    history = fit(
        network(), X, Y, loss=nn.MSELoss(), optimizer=optimizer, epochs=20, batch_size=10, executor=executor,
        verbose=0,
    )  # fmt: skip
    return np.array([epoch["loss"] for epoch in history.epochs])


@pytest.mark.parametrize(
    "optimizer",
    ["rmsprop", RMSprop(lr=1e-3, eps=1e-4, centered=True), SGD(lr=0.05, momentum=0.9, dampening=0.5)],
    ids=str,
)
def test_fit_in_both_executors(optimizer):
    losses = fitted(optimizer, "engine")
    np.testing.assert_allclose(losses, fitted(optimizer, "reference"), rtol=1e-9)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    "optimizer", [Adam(amsgrad=True), RMSprop(lr=1e-3, centered=True, momentum=0.9)], ids=str
)
def test_a_rule_of_three_arrays_needs_the_reference(optimizer):
    losses = fitted(optimizer, "reference")
    assert losses[-1] < 0.9 * losses[0]
    message = f"no kernel for the optimizer rule '{optimizer.rule.name}', which keeps 3 numbers"
    with pytest.raises(ValueError, match=message):
        fitted(optimizer, "engine")


# -- settings --------------------------------------------------------------------------------------


def test_repr():
    assert repr(SGD(lr=0.1)) == (
        "SGD(lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False, "
        "decoupled_weight_decay=0.0, rate_in_velocity=False)"
    )
    assert eval(repr(SGD(lr=0.1))).defaults == SGD(lr=0.1).defaults
    assert repr(RMSprop([leaf([1.0])], lr=0.5)) == (
        "RMSprop (\nParameter Group 0\n    alpha: 0.99\n    centered: False\n    eps: 1e-08\n    lr: 0.5\n"
        "    maximize: False\n    momentum: 0.0\n    weight_decay: 0.0\n)"
    )


@pytest.mark.parametrize("make", [*OPTIMIZERS.values()])
def test_options_of_pytorch_that_ask_for_nothing(make):
    options = {"foreach": None, "fused": False, "capturable": False, "differentiable": False}
    assert make(**options).defaults == make().defaults
    for name in options:
        with pytest.raises(
            ValueError, match=f"{name} must be .*False: it says how PyTorch runs a step, .* got True"
        ):
            make(**{name: True})
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentun'"):
        make(momentun=0.9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(lr=-1.0), "lr must be zero or a positive number; got -1.0"),
        (lambda: Adam(lr=math.nan), "lr must be zero or a positive number; got nan"),
        (lambda: AdamW(lr=math.inf), "lr must be zero or a positive number; got inf"),
        (lambda: SGD(momentum=1.1), r"momentum must lie in \[0, 1\]; got 1.1"),
        (lambda: SGD(momentum=-0.1), "momentum must lie"),
        (lambda: SGD(dampening=2), r"dampening must lie in \[0, 1\]; got 2"),
        (lambda: SGD(weight_decay=-1), "weight_decay must be zero or a positive number; got -1"),
        (lambda: SGD(decoupled_weight_decay=math.nan), "decoupled_weight_decay must be zero or"),
        (
            lambda: SGD(nesterov=True),
            "nesterov=True needs momentum above 0 .* got momentum=0.0",
        ),
        (lambda: SGD(momentum=0.9, dampening=0.1, nesterov=True), "got momentum=0.9, dampening=0.1"),
        (lambda: Adam(betas=(1.0, 0.9)), r"betas\[0\] must lie in \[0, 1\); got 1.0"),
        (lambda: Adam(betas=(0.9, -0.1)), r"betas\[1\] must lie"),
        (lambda: Adam(eps=-1), "eps must be zero or a positive number; got -1"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be"),
        (lambda: RMSprop(alpha=1.0), r"alpha must lie in \[0, 1\); got 1.0"),
        (lambda: RMSprop(eps=-1), "eps must be"),
        (lambda: RMSprop(momentum=-1), "momentum must lie"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
