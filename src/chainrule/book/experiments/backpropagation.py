"""Section 3: equations (3) and (5)-(7) against differences and Jacobians, and the sweep that uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.book.experiments.multilayer import classes_of, multilayer
from chainrule.explain import Step, explain_step
from chainrule.tape import Tensor, finite_differences, jacobian
from chainrule.textbook import backprop

__all__ = ["BackwardPass", "Equations", "backward_pass", "equations_hold"]

LOSS = "softmax_cross_entropy"


@dataclass(frozen=True, eq=False)
class BackwardPass:
    """One sweep through a network, right to left, of the mean loss over a batch.

    Attributes
    ----------
    widths : tuple of int
        d_0 ... d_L.
    activations : tuple of str
        Of the hidden layers.
    deltas : tuple of ndarray of shape (n, d_l)
        δ^(1) ... δ^(L), a row an example.
    weight_gradients, bias_gradients : tuple of ndarray
        (6) and (7), summed over the rows.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    deltas: tuple[np.ndarray, ...]
    weight_gradients: tuple[np.ndarray, ...]
    bias_gradients: tuple[np.ndarray, ...]


def backward_pass(
    widths: Sequence[int] = (4, 6, 5, 3),
    activations: Sequence[str] = ("tanh", "tanh"),
    n: int = 8,
    seed: int = 0,
) -> BackwardPass:
    """Send the error of a random batch back through a random network.

    Examples
    --------
    >>> [delta.shape for delta in backward_pass((2, 3, 4), ["tanh"], n=5).deltas]
    [(5, 3), (5, 4)]
    """
    step, *_ = _swept(widths, activations, n, seed)
    return BackwardPass(
        tuple(widths),
        tuple(activations),
        tuple(one.delta for one in step.layers),
        tuple(one.gradients["weight"] for one in step.layers),
        tuple(one.gradients["bias"] for one in step.layers),
    )


def _swept(
    widths: Sequence[int], activations: Sequence[str], n: int, seed: int
) -> tuple[Step, nn.Sequential, np.ndarray, np.ndarray]:
    """The reference executor's sweep, kept whole, and what it went through."""
    net = multilayer(widths, activations, seed)
    X = np.random.default_rng(seed + 1).normal(size=(n, widths[0]))
    y = classes_of(n, widths[-1], seed + 2)
    return explain_step(net, X, y, LOSS, lr=0.1), net, X, y


@dataclass(frozen=True)
class Equations:
    """The largest difference that was found for each equation, as a share of the largest entry.

    Attributes
    ----------
    errors : dict of str to tuple of float
        What was compared, and the largest over the layers; one a seed.
    """

    errors: Mapping[str, tuple[float, ...]]


def equations_hold(
    widths: Sequence[int] = (4, 6, 5, 4, 3),
    activations: Sequence[str] = ("tanh", "gelu", "sigmoid"),
    n: int = 6,
    seeds: Sequence[int] = (0, 1, 2),
) -> Equations:
    """Compute δ and the gradients by the equations, and again in ways that know nothing of them.

    Parameters
    ----------
    widths : sequence of int
        d_0 ... d_L.
    activations : sequence of str
        Of the hidden layers; different ones, so that a gate of the wrong layer would be seen.
    n : int
        Rows of the batch.
    seeds : sequence of int
        Each draws a network and a batch.

    Returns
    -------
    Equations

    Examples
    --------
    >>> found = equations_hold((2, 3, 2), ["tanh"], n=3, seeds=[0])
    >>> max(max(errors) for errors in found.errors.values()) < 1e-6
    True
    """
    compared = [_compare(widths, activations, n, seed) for seed in seeds]
    return Equations({name: tuple(one[name] for one in compared) for name in compared[0]})


def _compare(widths: Sequence[int], activations: Sequence[str], n: int, seed: int) -> dict[str, float]:
    step, net, X, y = _swept(widths, activations, n, seed)
    weights, biases = weights_and_biases(net)
    layers = range(len(weights))

    def loss_from(l: int, z: Any) -> Any:
        """The mean loss as a function of the z of layer l, counted from 0."""
        for k in range(l + 1, len(weights)):
            z = _activated(z, activations[k - 1]) @ weights[k].T + biases[k]
        return nn.CrossEntropyLoss()(z, y)

    def loss_with(l: int, W: Any, b: Any) -> Any:
        """The mean loss as a function of the weights and biases of layer l."""
        h = X if l == 0 else step.layers[l - 1].h
        return loss_from(l, h @ W.T + b)

    by_differences = [
        (
            finite_differences(lambda z, _l=l: loss_from(_l, z), step.layers[l].z),
            *finite_differences(lambda W, b, _l=l: loss_with(_l, W, b), (weights[l], biases[l])),
        )
        for l in layers
    ]
    # (5) as the chain rule says it before it is simplified: the transposed Jacobian matrix of the step
    # from z^(l) to z^(l+1), formed whole, times δ^(l+1), one example at a time.
    by_jacobians = [
        _through_jacobians(step, l, activations[l], weights[l + 1], biases[l + 1]) for l in layers[:-1]
    ]
    grad_W, grad_b = backprop(X.T, y, weights, biases, [*activations, "softmax"])
    nn.CrossEntropyLoss()(net(Tensor(X)), y).backward()
    on_tape = {name: one.grad.data for name, one in net.named_parameters() if one.grad is not None}
    ours = step.layers
    return {
        "equation (3), δ of every layer, against central differences in z": max(
            _distance(ours[l].delta, by_differences[l][0]) for l in layers
        ),
        "equation (5), δ of every hidden layer, against Jacobian matrices": max(
            _distance(ours[l].delta, by_jacobians[l]) for l in layers[:-1]
        ),
        "equation (6), the gradient of every W, against central differences": max(
            _distance(ours[l].gradients["weight"], by_differences[l][1]) for l in layers
        ),
        "equation (7), the gradient of every b, against central differences": max(
            _distance(ours[l].gradients["bias"], by_differences[l][2]) for l in layers
        ),
        "`chainrule.backprop` against the reference executor": max(
            max(
                _distance(grad_W[l], ours[l].gradients["weight"]),
                _distance(grad_b[l], ours[l].gradients["bias"]),
            )
            for l in layers
        ),
        "`loss.backward()` of the tape against the reference executor": max(
            _distance(on_tape[name], gradient) for name, gradient in step.gradients.items()
        ),
    }


def weights_and_biases(net: nn.Module) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The arrays of a network's linear layers, first to last."""
    named = list(net.named_parameters())
    return (
        [parameter.data for name, parameter in named if name.endswith("weight")],
        [parameter.data for name, parameter in named if name.endswith("bias")],
    )


def _activated(z: Any, name: str) -> Any:
    return z.activation(name)


def _through_jacobians(step: Step, l: int, activation: str, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            np.asarray(jacobian(lambda at: _activated(at, activation) @ W.T + b, z)).T @ delta
            for z, delta in zip(step.layers[l].z, step.layers[l + 1].delta, strict=True)
        ]
    )


def _distance(ours: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(ours - other).max() / np.abs(other).max())
