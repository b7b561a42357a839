"""The planted faults: functions from a healthy training to the same training with one thing wrong.

None changes what it is given. A name that is called with a number gives such a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.health.suite.data import load
from chainrule.health.trainings import Training, loss_function, with_settings
from chainrule.nn import Module
from chainrule.optim import Optimizer
from chainrule.tape import Tensor

__all__ = ["Edit", "Log", "NegatedLoss", "Softmax", "step_without_zero_grad"]

Edit = Callable[[Training], Training]


# -------------------------------------------------------------------------------------------------- helpers


def linear_layers(module: Module) -> list[Any]:
    """The linear layers, from the input to the output; shortcuts' projections among them."""
    return [one for one in module.modules() if isinstance(one, nn.Linear)]


def with_module(training: Training, change: Callable[[Module], Any]) -> Training:
    """The training with a changed copy of its module."""
    module = training.module.copy()
    change(module)
    return training.altered(module=module)


def assign(parameter: Any, numbers: Any) -> None:
    """Other numbers for a parameter."""
    parameter.data[...] = numbers
    parameter.bump_version()


def replace_modules(module: Module, new: Callable[[Module], Module | None]) -> None:
    """Put ``new(child)`` in the place of each module below for which there is one."""
    for name, child in list(module.named_children()):
        made = new(child)
        if made is None:
            replace_modules(child, new)
        else:
            setattr(module, name, made)


def with_inputs(training: Training, change: Callable[[np.ndarray], np.ndarray]) -> Training:
    """The training with other inputs, those to measure on as well."""
    X = change(training.X).astype(np.float32)
    if training.validation is None:
        return training.altered(X=X)
    measured, y = training.validation
    return training.altered(X=X, validation=(change(measured).astype(np.float32), y))


def with_targets(training: Training, change: Callable[[np.ndarray], np.ndarray]) -> Training:
    """The training with other targets, those to measure on as well."""
    y = change(training.y).astype(training.y.dtype)
    if training.validation is None:
        return training.altered(y=y)
    X, measured = training.validation
    return training.altered(y=y, validation=(X, change(measured).astype(measured.dtype)))


def some_rows(training: Training, rows: np.ndarray) -> Training:
    """The training on some of its rows, with about as many steps."""
    fewer = training.altered(X=training.X[rows], y=training.y[rows])
    return fewer.altered(epochs=max(1, round(training.n_steps / fewer.steps_an_epoch)))


# --------------------------------------------------------------------------------------------------- starts


def constant_weights(value: float) -> Edit:
    """Every weight is the same number: all units of a layer are one (section 5)."""

    def change(module: Module) -> None:
        for layer in linear_layers(module):
            assign(layer.weight, value)
            assign(layer.bias, 0.0)

    return lambda training: with_module(training, change)


def scaled_weights(factor: float) -> Edit:
    """Every weight times a factor: too small and the signal collapses, too large and it explodes."""

    def change(module: Module) -> None:
        for layer in linear_layers(module):
            assign(layer.weight, layer.weight.data * factor)

    return lambda training: with_module(training, change)


def scaled_hidden_weights(factor: float) -> Edit:
    """The weights of the hidden layers times a factor: a sigmoid or tanh saturates."""

    def change(module: Module) -> None:
        for layer in linear_layers(module)[:-1]:
            assign(layer.weight, layer.weight.data * factor)

    return lambda training: with_module(training, change)


def scaled_output(factor: float) -> Edit:
    """The last layer's weights times a factor."""

    def change(module: Module) -> None:
        last = linear_layers(module)[-1]
        assign(last.weight, last.weight.data * factor)

    return lambda training: with_module(training, change)


def hidden_biases(value: float, share: float = 1.0) -> Edit:
    """The biases of the first so many hidden units of each layer: at -10 a ReLU never fires."""

    def change(module: Module) -> None:
        for layer in linear_layers(module)[:-1]:
            n_units = round(share * layer.out_features)
            layer.bias.data[:n_units] = value
            layer.bias.bump_version()

    return lambda training: with_module(training, change)


# --------------------------------------------------------------------------------------------- architecture


def activations(name: str) -> Edit:
    """Another activation in all hidden layers, with the weights as they are."""

    def new(module: Module) -> Module | None:
        return nn.activation_module(name) if isinstance(module, nn.ActivationModule) else None

    return lambda training: with_module(training, lambda module: replace_modules(module, new))


def sigmoids(seed: int = 0) -> Edit:
    """Sigmoids in all hidden layers, with the start that is made for them, Xavier's (equation (8))."""

    def edit(training: Training) -> Training:
        changed = activations("sigmoid")(training)
        changed.module.initialize("xavier_uniform", rng=seed)
        return changed

    return edit


def deeper(n_layers: int, activation: str) -> Edit:
    """So many more hidden layers before the last, as wide as what it reads, with Xavier's start."""

    def edit(training: Training) -> Training:
        assert isinstance(training.module, nn.Sequential)
        *before, last = training.module.copy()
        random = np.random.default_rng(14)
        for _ in range(n_layers):
            layer = nn.Linear(last.in_features, last.in_features)
            before += [layer.initialize("xavier_uniform", rng=random), nn.activation_module(activation)]
        return training.altered(module=nn.Sequential(*before, last))

    return edit


def without_normalization(training: Training) -> Training:
    """Batch normalization taken out."""

    def new(module: Module) -> Module | None:
        return nn.Identity() if isinstance(module, nn.BatchNorm1d) else None

    return with_module(training, lambda module: replace_modules(module, new))


def without_shortcuts(training: Training) -> Training:
    """Each residual block is its body alone."""

    def new(module: Module) -> Module | None:
        return module.body if isinstance(module, nn.Residual) else None

    return with_module(training, lambda module: replace_modules(module, new))


def output_activation(name: str) -> Edit:
    """An activation after the last layer, whose range the targets do not fit."""
    return lambda training: training.altered(
        module=nn.Sequential(training.module.copy(), nn.activation_module(name))
    )


def softmax_before_loss(training: Training) -> Training:
    """A softmax at the end, though the cross-entropy has one of its own."""
    return training.altered(module=nn.Sequential(training.module.copy(), Softmax()))


class Softmax(Module):
    """e^z / Σ e^z of each row; it trains on the tape.

    Examples
    --------
    >>> Softmax()(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Rows that sum to 1."""
        probabilities: Tensor = x.softmax(axis=1)
        return probabilities

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        return input_width


class Log(Module):
    """log(x + shift) of each entry; it trains on the tape. Without a shift, 0 becomes −∞.

    Examples
    --------
    >>> Log(1.0)(np.zeros((1, 2)))
    array([[0., 0.]])
    """

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm."""
        logarithm: Tensor = (x + self.shift).log()
        return logarithm

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        return input_width


# -------------------------------------------------------------------------------------------- loss and steps


class NegatedLoss:
    """Minus a loss: what is minimized grows worse."""

    def __init__(self, training: Training) -> None:
        self.negated, self.loss = training.loss, loss_function(training)

    def __call__(self, outputs: Any, y: Any) -> Any:
        """−loss."""
        return self.loss(outputs, y) * -1.0


def loss_sign(training: Training) -> Training:
    """The loss negated."""
    return training.altered(loss=NegatedLoss(training))


def maximized(training: Training) -> Training:
    """The optimizer climbs."""
    return training.altered(optimizer=with_settings(training.optimizer, maximize=True))


def not_zeroed(training: Training) -> Training:
    """A step of one's own that forgets ``zero_grad``: gradients add up."""
    return training.altered(step=step_without_zero_grad(loss_function(training)))


def step_without_zero_grad(loss: Callable[[Any, Any], Any]) -> Any:
    """The usual step but for its first line."""

    def step(module: Module, optimizer: Optimizer, x: Tensor, y: np.ndarray) -> Any:
        value = loss(module(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def rate_times(factor: float) -> Edit:
    """The learning rate times a factor."""
    return lambda training: training.with_rate(training.learning_rate * factor)


def option(**options: Any) -> Edit:
    """Other options, such as an ``l2`` that is too strong."""
    return lambda training: training.altered(options={**training.options, **options})


def weight_decay(value: float) -> Edit:
    """The optimizer's weight decay."""
    return lambda training: training.altered(optimizer=with_settings(training.optimizer, weight_decay=value))


def dropout(p: float) -> Edit:
    """Another share of dropped units."""

    def new(module: Module) -> Module | None:
        return nn.Dropout(p, rng=module.rng) if isinstance(module, nn.Dropout) else None

    return lambda training: with_module(training, lambda module: replace_modules(module, new))


def frozen(keep: Callable[[list[Any]], list[Any]]) -> Edit:
    """Train only the linear layers that ``keep`` picks of them all."""

    def change(module: Module) -> None:
        layers = linear_layers(module)
        module.requires_grad_(False)
        for layer in keep(layers):
            layer.requires_grad_(True)

    return lambda training: with_module(training, change)


def head_only(training: Training) -> Training:
    """Only the last layer is trained."""
    return frozen(lambda layers: layers[-1:])(training)


def longer(factor: int) -> Edit:
    """So many times the epochs."""
    return lambda training: training.altered(epochs=training.epochs * factor)


# ----------------------------------------------------------------------------------------------------- data


def raw_inputs(name: str) -> Edit:
    """The columns of a data set as they came."""

    def edit(training: Training) -> Training:
        X, measured = load(name).raw
        y = training.validation[1] if training.validation else None
        return training.altered(X=X, validation=None if y is None else (measured, y))

    return edit


def scaled_inputs(factor: float) -> Edit:
    """All columns times a factor."""
    return lambda training: with_inputs(training, lambda X: X * factor)


def scaled_column(factor: float, column: int = 0) -> Edit:
    """One column times a factor."""

    def change(X: np.ndarray) -> np.ndarray:
        factors = np.ones(X.shape[1], np.float32)
        factors[column] = factor
        return X * factors

    return lambda training: with_inputs(training, change)


def offset_inputs(offset: float) -> Edit:
    """All columns plus a number: years, degrees Kelvin."""
    return lambda training: with_inputs(training, lambda X: X + offset)


def scaled_targets(factor: float, offset: float = 0.0) -> Edit:
    """Targets in another unit, or from another zero."""
    return lambda training: with_targets(training, lambda y: y * factor + offset)


def shuffled_targets(training: Training) -> Training:
    """Targets that belong to other rows: nothing to learn, on either side."""
    random = np.random.default_rng(11)
    return with_targets(training, random.permutation)


def noise_inputs(training: Training) -> Training:
    """Inputs that are noise: the columns that say something were lost."""
    random = np.random.default_rng(12)
    return with_inputs(training, lambda X: random.standard_normal(X.shape))


def few_rows(n_rows: int) -> Edit:
    """The first rows alone, seen as often as to take as many steps."""
    return lambda training: some_rows(training, np.arange(n_rows))


def rare_class(label: int, n_rows: int) -> Edit:
    """Only so many rows of a class to learn from."""

    def edit(training: Training) -> Training:
        rare = np.flatnonzero(training.y == label)[:n_rows]
        others = np.flatnonzero(training.y != label)
        return some_rows(training, np.sort(np.concatenate([others, rare])))

    return edit


def unweighted(training: Training) -> Training:
    """Without the class weights."""
    options = {name: value for name, value in training.options.items() if name != "class_weight"}
    return training.altered(options=options)


def broken_cells(value: float, n_rows: int = 3) -> Edit:
    """NaN or infinity in one cell of some rows to learn from."""

    def edit(training: Training) -> Training:
        X = training.X.copy()
        rows = np.random.default_rng(13).choice(len(X), n_rows, replace=False)
        X[rows, rows % X.shape[1]] = value
        return training.altered(X=X)

    return edit


def log_first(training: Training) -> Training:
    """A layer before all others: log(1 + x). Healthy on inputs that are not negative."""
    return training.altered(module=nn.Sequential(Log(1.0), training.module.copy()))


def bare_logarithm(training: Training) -> Training:
    """The logarithm of inputs that are zero at places, without a shift."""

    def new(module: Module) -> Module | None:
        return Log(0.0) if isinstance(module, Log) else None

    return with_module(training, lambda module: replace_modules(module, new))
