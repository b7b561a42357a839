"""The chapter's own routine, ``backprop``, without the two faults of the printed one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from chainrule.functions import get_activation
from chainrule.functions.losses import softmax

__all__ = ["backprop"]


def backprop(
    X: ArrayLike,
    y: ArrayLike,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    activations: Sequence[str],
    *,
    reduction: str = "mean",
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of softmax cross-entropy with respect to every weight and bias.

    Section 3's routine: columns are examples, as in the chapter. The printed version gates δ^(l) with the
    derivative of layer l's own activation where equation (5) needs that of the layer *below*; and it
    returns the gradient of the loss summed over the batch without saying so. Here the gate is (5)'s,
    and ``reduction`` says which loss.

    Parameters
    ----------
    X : array-like of shape (d_0, n)
        One column an example.
    y : array-like of shape (n,) or (d_L, n)
        Class indices, or one column of class probabilities an example.
    weights : sequence of L array-likes
        W^(l) of shape (d_l, d_{l-1}).
    biases : sequence of L array-likes
        b^(l) of shape (d_l,).
    activations : sequence of str
        Names of the L - 1 hidden activations; a last "softmax" may stand for the output.
    reduction : {"mean", "sum"}
        Of the loss over the batch.

    Returns
    -------
    grad_W, grad_b : lists of ndarray
        ∂ℒ/∂W^(l) and ∂ℒ/∂b^(l), in the shapes of the parameters.

    Raises
    ------
    ValueError
        If a shape does not fit or a name is unknown; the message says which.

    Examples
    --------
    >>> X = np.array([[1.0, -1.0], [0.5, 2.0]])                              # two examples in two columns
    >>> W = [np.array([[0.1, 0.2], [-0.3, 0.4]]), np.array([[0.5, -0.5], [0.2, 0.1]])]
    >>> b = [np.zeros(2), np.zeros(2)]
    >>> grad_W, grad_b = backprop(X, [0, 1], W, b, ["tanh"])
    >>> grad_b[1].round(4)
    array([-0.0336,  0.0336])
    """
    X, weights, biases, names = _checked_network(X, weights, biases, activations)
    targets = _one_hot_columns(y, len(biases[-1]), X.shape[1])
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum'; got {reduction!r}")
    L = len(weights)
    sigma = [get_activation(name) for name in names]

    h, z = [X], []
    for l in range(L):
        z.append(weights[l] @ h[l] + biases[l][:, None])  # (1)
        if l < L - 1:
            h.append(sigma[l].value(z[l], sigma[l].default_alpha))  # (2)

    delta = softmax(z[-1].T).T - targets  # (4)
    if reduction == "mean":
        delta = delta / X.shape[1]
    grad_W: list[np.ndarray] = [np.empty(0)] * L
    grad_b: list[np.ndarray] = [np.empty(0)] * L
    for l in range(L - 1, -1, -1):
        grad_W[l] = delta @ h[l].T  # (6)
        grad_b[l] = delta.sum(axis=1)  # (7)
        if l > 0:
            below = sigma[l - 1]
            delta = (weights[l].T @ delta) * below.derivative(z[l - 1], below.default_alpha)  # (5)
    return grad_W, grad_b


def _checked_network(
    X: ArrayLike, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activations: Sequence[str]
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], list[str]]:
    X = np.asarray(X, dtype=np.float64)
    W = [np.asarray(w, dtype=np.float64) for w in weights]
    b = [np.asarray(v, dtype=np.float64).reshape(-1) for v in biases]
    names = list(activations)
    if X.ndim != 2 or X.shape[1] == 0:
        raise ValueError(f"X must have shape (d_0, n) with at least one column; got {X.shape}")
    if not W or len(b) != len(W):
        raise ValueError(f"weights and biases must be as many, at least one; got {len(W)} and {len(b)}")
    if len(names) == len(W) and names[-1] == "softmax":
        names = names[:-1]
    if len(names) != len(W) - 1:
        raise ValueError(f"activations must name the {len(W) - 1} hidden layers; got {activations!r}")
    width = X.shape[0]
    for l, (w, v) in enumerate(zip(W, b, strict=True)):
        if w.ndim != 2 or w.shape[1] != width:
            raise ValueError(f"weights[{l}] must have shape (d, {width}); got {w.shape}")
        if len(v) != len(w):
            raise ValueError(
                f"biases[{l}] must have {len(w)} entries, one a row of weights[{l}]; got {len(v)}"
            )
        width = len(w)
    return X, W, b, names


def _one_hot_columns(y: ArrayLike, n_classes: int, n: int) -> np.ndarray:
    y = np.asarray(y)
    if y.shape == (n_classes, n) and y.ndim == 2:
        return y.astype(np.float64)
    if y.shape != (n,) or y.dtype.kind not in "iub":
        raise ValueError(f"y must be {n} class indices or have shape ({n_classes}, {n}); got shape {y.shape}")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"y must hold class indices from 0 to {n_classes - 1}; got {y.min()} to {y.max()}")
    return (np.arange(n_classes)[:, None] == y[None, :]).astype(np.float64)
