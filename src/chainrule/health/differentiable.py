"""A model as a function of its input and of its parameters, whichever library it is from.

Everything that is measured in this room goes through `Differentiable`: outputs, loss, gradient, products of a
vector with the Jacobians of the layers and with the Hessian. It works on a copy in double precision and in
evaluation mode, so that the model that was passed in stays as it is: weights, gradients, mode, hooks, and
the random numbers it will draw next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.health.libraries import Library, library_of
from chainrule.nn.module import dotted

__all__ = [
    "Differentiable",
    "HessianProducts",
    "Layer",
    "Linearization",
    "ParameterSlot",
    "parameter_vector",
]


@dataclass(frozen=True)
class ParameterSlot:
    """Where one parameter lies in the flat vector.

    Attributes
    ----------
    name : str
        Its dotted name, as in ``state_dict``.
    shape : tuple of int
    offset : int
        Of its first entry; the rest follows in C order.
    """

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def view(self, flat: np.ndarray) -> np.ndarray:
        """The parameter's part of a flat vector, in its shape."""
        return flat[self.offset : self.offset + self.size].reshape(self.shape)


@dataclass(frozen=True)
class Layer:
    """One layer l of a chain: h^(l-1) → z^(l) by its head, z^(l) → h^(l) by its tail.

    The head is what the layer begins with, a linear layer, a residual block or any other module; the tail are
    the normalisations, activations and dropout after it. It may be empty: then h = z.

    Attributes
    ----------
    name : str
        Dotted name of the head, such as ``"2"``.
    kinds : tuple of str
        The classes of its modules, in order, such as ``("Linear", "ReLU")``.
    head, tail : tuple of modules
        Of the copy that is measured.
    """

    name: str
    kinds: tuple[str, ...]
    head: tuple[Any, ...]
    tail: tuple[Any, ...]


def _through(modules: Sequence[Any]) -> Callable[[Any], Any]:
    """The modules one after another, as a function."""

    def forward(h: Any) -> Any:
        for module in modules:
            h = module(h)
        return h

    return forward


def layers_of(library: Library, module: Any) -> tuple[Layer, ...]:
    """A chain as layers l = 1 … L; nothing of a model that is no chain.

    A module that is no normalisation, activation or dropout begins a layer. What stands before the first such
    module is a layer by itself, unless it does nothing.
    """
    groups: list[tuple[list[tuple[str, Any]], list[tuple[str, Any]]]] = []
    idle: list[tuple[str, Any]] = []
    for name, one in _links(library, module, ""):
        if groups and library.is_follower(one):
            groups[-1][1].append((name, one))
        elif not groups and library.is_idle(one):
            idle.append((name, one))
        else:
            groups.append(([*idle, (name, one)], []))
            idle = []
    return tuple(
        Layer(
            head[-1][0],
            tuple(type(one).__name__ for _, one in (*head, *tail)),
            tuple(one for _, one in head),
            tuple(one for _, one in tail),
        )
        for head, tail in groups
    )


def _links(library: Library, module: Any, path: str) -> list[tuple[str, Any]]:
    """The modules of a chain with their names, chains within it opened; [] of what is no chain."""
    if not library.is_chain(module):
        return []
    links = []
    for name, child in module._modules.items():
        place = dotted(path, name)
        links += _links(library, child, place) if library.is_chain(child) else [(place, child)]
    return links


class Linearization:
    """A function at one point: its value there, and any number of products with its Jacobian J.

    The graph is recorded once. uᵀJ is a backward pass. It is linear in u, and the derivative of that linear
    map, a second backward pass, is its transpose: J v. No Jacobian is formed.

    Parameters
    ----------
    library : Library
    function : callable
        Of a tensor of that library, to a tensor.
    point : ndarray

    Attributes
    ----------
    value : ndarray
        The function's value at the point.
    point_shape : tuple of int
    point_size : int

    Examples
    --------
    >>> from chainrule import nn
    >>> from chainrule.health.libraries import library_of
    >>> square = Linearization(library_of(nn.ReLU()), lambda x: x * x, np.array([1.0, 3.0]))
    >>> square.value, square.vjp([1.0, 1.0]), square.jvp([1.0, 0.0])
    (array([1., 9.]), array([2., 6.]), array([2., 0.]))
    """

    def __init__(self, library: Library, function: Callable[[Any], Any], point: np.ndarray) -> None:
        self._library = library
        self.point_shape = np.shape(point)
        self.point_size = int(np.size(point))
        with library.session(record=True):
            self._input = library.leaf(point)
            # A forward may work in place, which a leaf does not allow.
            self._output = function(1.0 * self._input)
        self.value = library.array(self._output).copy()
        self._pulled: tuple[Any, Any] | None = None

    def vjp(self, cotangent: Any) -> np.ndarray:
        """uᵀJ, of the shape of the point, for u of the shape of the value."""
        return self._products(self._output, self._input, np.asarray(cotangent, np.float64), self._input)

    def jvp(self, direction: Any) -> np.ndarray:
        """J v, of the shape of the value, for v of the shape of the point."""
        if self._pulled is None:
            self._pulled = self._pull()
        u, pulled = self._pulled
        return self._products(pulled, u, np.asarray(direction, np.float64), self._output)

    def _pull(self) -> tuple[Any, Any]:
        with self._library.session(record=True):
            u = self._library.leaf(np.zeros(self.value.shape))
            pulled = None
            if self._output.requires_grad:
                pulled = self._library.gradients([self._output], [self._input], [u], create_graph=True)[0]
        return u, pulled

    def _products(self, output: Any, by: Any, cotangent: np.ndarray, like: Any) -> np.ndarray:
        if output is None or not output.requires_grad:  # a constant
            return np.zeros(tuple(like.shape))
        with self._library.session(record=True):
            (found,) = self._library.gradients([output], [by], [cotangent], create_graph=False)
        return np.zeros(tuple(like.shape)) if found is None else self._library.array(found).copy()


class HessianProducts:
    """The loss at one place, its gradient, and any number of products H v (Pearlmutter 1994).

    H v is the derivative of the gradient in the direction v, his R{·} operator. The gradient's Jacobian is
    symmetric, so that one backward pass through the recorded gradient, vᵀH, is the same: an evaluation of
    the gradient is all that a product costs. After other parameters were set in the same model, it is a
    RuntimeError to ask for more.

    Attributes
    ----------
    loss : float
    gradient : ndarray of shape (P,)
    n_products : int
        How many have been computed.
    """

    def __init__(self, library: Library, loss: Callable[[], Any], tensors: Sequence[Any]) -> None:
        self._library, self._tensors = library, list(tensors)
        with library.session(record=True):
            value = loss()
            self._gradients: list[Any] = [None] * len(self._tensors)
            if value.requires_grad:
                self._gradients = library.gradients([value], self._tensors, [None], create_graph=True)
        self.loss = float(library.array(value))
        self.gradient = self._flat(self._gradients)
        self.n_products = 0

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """H v, of shape (P,)."""
        v = np.asarray(v, np.float64)
        if v.shape != self.gradient.shape:
            raise ValueError(f"v must have shape {self.gradient.shape}; got {v.shape}")
        self.n_products += 1
        sizes = np.cumsum([int(np.prod(tensor.shape, dtype=np.int64)) for tensor in self._tensors])
        parts = [
            (g, part.reshape(tuple(g.shape)))
            for g, part in zip(self._gradients, np.split(v, sizes[:-1]), strict=True)
            if g is not None and g.requires_grad
        ]
        if not parts:  # the loss is linear in the parameters
            return np.zeros_like(self.gradient)
        with self._library.session(record=True):
            found = self._library.gradients(
                [g for g, _ in parts], self._tensors, [part for _, part in parts], create_graph=False
            )
        return self._flat(found)

    def _flat(self, gradients: Sequence[Any]) -> np.ndarray:
        return np.concatenate(
            [
                np.zeros(int(np.prod(tensor.shape, dtype=np.int64)))
                if g is None
                else self._library.array(g).ravel()
                for g, tensor in zip(gradients, self._tensors, strict=True)
            ]
        )


class Differentiable:
    """A copy of a model, in double precision and evaluation mode, and its derivatives.

    Batch normalisation uses its running statistics, dropout does nothing, and frozen parameters
    (``requires_grad=False``) are constants. Forward hooks are not called.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
        What is measured; it is not changed.
    loss : loss module, str or callable, optional
        Of the same library: ``nn.CrossEntropyLoss()``, the name of a record such as
        ``"softmax_cross_entropy"`` (of ``chainrule`` modules only), or a function (outputs, y) that returns
        a tensor of one number.

    Attributes
    ----------
    slots : tuple of ParameterSlot
        Where each trainable parameter lies in the flat vector.
    layers : tuple of Layer
        l = 1 … L of a ``Sequential``; empty of any other model, which is only known end to end.

    Raises
    ------
    TypeError
        If ``module`` or ``loss`` is none of these.

    Examples
    --------
    >>> from chainrule import nn
    >>> model = Differentiable(nn.Sequential(nn.Linear(1, 1)), nn.HalfSquaredErrorLoss())
    >>> w, X, y = np.array([2.0, 0.0]), np.array([[3.0]]), np.array([[1.0]])
    >>> model.loss(w, X, y), model.gradient(w, X, y)                      # ½ (2 · 3 − 1)², 5 · (3, 1)
    (12.5, array([15.,  5.]))
    >>> model.hessian_vector(w, X, y, np.array([1.0, 0.0]))               # the first column of (3, 1)ᵀ(3, 1)
    array([9., 3.])
    """

    def __init__(self, module: Any, loss: Any = None) -> None:
        self.library = library_of(module)
        self.module = self.library.own_copy(module)
        self.layers = layers_of(self.library, self.module)
        self._loss = None if loss is None else self.library.loss(loss)
        named = self.library.trainable(self.module)
        self._tensors = [tensor for _, tensor in named]
        slots: list[ParameterSlot] = []
        offset = 0
        for name, tensor in named:
            slots.append(ParameterSlot(name, tuple(tensor.shape), offset))
            offset += slots[-1].size
        self.slots = tuple(slots)
        self.n_parameters = offset

    # -- parameters --------------------------------------------------------------------------------

    @property
    def parameters(self) -> np.ndarray:
        """All trainable parameters as one vector, a copy, (P,)."""
        flat = np.empty(self.n_parameters)
        for slot, tensor in zip(self.slots, self._tensors, strict=True):
            slot.view(flat)[...] = self.library.array(tensor)
        return flat

    @parameters.setter
    def parameters(self, flat: np.ndarray) -> None:
        flat = self._checked("parameters", flat)
        for slot, tensor in zip(self.slots, self._tensors, strict=True):
            self.library.assign(tensor, slot.view(flat))

    def _checked(self, name: str, flat: Any) -> np.ndarray:
        flat = np.asarray(flat, np.float64)
        if not self.n_parameters:
            raise ValueError("module has no parameter that requires a gradient")
        if flat.shape != (self.n_parameters,):
            raise ValueError(f"{name} must have shape ({self.n_parameters},); got {flat.shape}")
        return flat

    # -- as a function of the input ----------------------------------------------------------------

    def outputs(self, X: Any) -> np.ndarray:
        """Raw outputs, one row an example."""
        return self._forward(self.module, as_rows(X))

    def values(self, X: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """(z^(l), h^(l)) of every layer of a chain, equations (1) and (2), before them (x, x) for l = 0."""
        h = as_rows(X)
        values = [(h, h)]
        for layer in self.layers:
            z = self._forward(_through(layer.head), h)
            h = self._forward(_through(layer.tail), z)
            values.append((z, h))
        return values

    def _forward(self, function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
        with self.library.session(record=False):
            return self.library.array(function(self.library.leaf(x))).copy()

    def linearized(self, X: Any) -> Linearization:
        """The whole model at X: x → outputs."""
        return Linearization(self.library, self.module, as_rows(X))

    def linearized_layer(self, number: int, h: np.ndarray) -> Linearization:
        """Layer l = 1 … L at h^(l-1): h^(l-1) → h^(l)."""
        layer = self.layers[number - 1]
        return Linearization(self.library, _through((*layer.head, *layer.tail)), h)

    def linearized_head(self, number: int, h: np.ndarray) -> Linearization:
        """The head of layer l at h^(l-1): h^(l-1) → z^(l), whose Jacobian is W^(l) of a linear layer."""
        return Linearization(self.library, _through(self.layers[number - 1].head), h)

    def linearized_tail(self, number: int, z: np.ndarray) -> Linearization:
        """The tail of layer l at z^(l): z^(l) → h^(l), whose Jacobian is diag σ'(z^(l)) of an activation."""
        return Linearization(self.library, _through(self.layers[number - 1].tail), z)

    def linearized_step(self, number: int, z: np.ndarray) -> Linearization:
        """z^(l) → z^(l+1), whose transposed Jacobian takes δ^(l+1) to δ^(l) by (5)."""
        modules = (*self.layers[number - 1].tail, *self.layers[number].head)
        return Linearization(self.library, _through(modules), z)

    def loss_slope(self, outputs: np.ndarray, y: Any) -> np.ndarray:
        """∂ℒ/∂h^(L), of the shape of the outputs."""
        return Linearization(self.library, lambda z: self._loss_of(z, y), outputs).vjp(np.ones(()))

    # -- as a function of the parameters -----------------------------------------------------------

    def loss(self, parameters: Any, X: Any, y: Any) -> float:
        """ℒ of a batch at a parameter vector (P,)."""
        self.parameters = parameters
        X = as_rows(X)
        with self.library.session(record=False):
            return float(self.library.array(self._loss_of(self.module(self.library.leaf(X)), y)))

    def gradient(self, parameters: Any, X: Any, y: Any) -> np.ndarray:
        """∇ℒ, (P,)."""
        return self.hessian(parameters, X, y).gradient

    def hessian_vector(self, parameters: Any, X: Any, y: Any, v: Any) -> np.ndarray:
        """H v, (P,), H the Hessian of ℒ."""
        return self.hessian(parameters, X, y)(v)

    def hessian(self, parameters: Any, X: Any, y: Any) -> HessianProducts:
        """Loss, gradient and any number of products H v at one parameter vector."""
        self.parameters = parameters
        X = as_rows(X)
        return HessianProducts(
            self.library, lambda: self._loss_of(self.module(self.library.leaf(X)), y), self._tensors
        )

    def _loss_of(self, outputs: Any, y: Any) -> Any:
        if self._loss is None:
            raise ValueError("loss must be given for what depends on it; got None")
        value = self._loss(outputs, as_targets(y))
        if int(np.prod(tuple(value.shape), dtype=np.int64)) != 1:
            raise ValueError(
                "loss must return one number, the mean or the sum over the batch; "
                f"got shape {tuple(value.shape)}"
            )
        return value.reshape(())


def as_rows(X: Any) -> np.ndarray:
    """One row an example, float64."""
    array = _as_array("X", X)
    if array.ndim < 2 or not len(array):
        raise ValueError(f"X must have one row an example, at least one; got shape {array.shape}")
    return array.astype(np.float64)


def as_targets(y: Any) -> np.ndarray:
    """Targets: class indices as they are, anything else as float64."""
    array = _as_array("y", y)
    return array if array.dtype.kind in "iu" else array.astype(np.float64)


def _as_array(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor of either library
        values = values.detach()
        values = values.cpu().numpy() if hasattr(values, "cpu") else values.numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numeric; got dtype {array.dtype}")
    return array


def parameter_vector(module: Any) -> np.ndarray:
    """The trainable parameters of a module as one vector: a point of the loss landscape.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module

    Returns
    -------
    ndarray of shape (P,)
        float64, a copy, in the order of ``named_parameters()``, each parameter in C order.

    Raises
    ------
    TypeError
        If ``module`` is neither.

    Examples
    --------
    >>> from chainrule import nn
    >>> layer = nn.Linear(2, 1)
    >>> layer.weight, layer.bias = [[1.0, 2.0]], [3.0]
    >>> parameter_vector(layer)
    array([1., 2., 3.])
    """
    library = library_of(module)
    arrays = [library.array(tensor).ravel() for _, tensor in library.trainable(module)]
    return np.concatenate([np.empty(0), *arrays]).astype(np.float64)
