"""The base of every layer: named parameters, buffers and children, as in PyTorch.

Parameters are tensors on the tape that require a gradient, buffers plain NumPy arrays. They live in three
dictionaries of the module, ``_parameters``, ``_buffers`` and ``_modules``, and are read and set as
attributes.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from chainrule.functions.initializers import get_initializer
from chainrule.nn._checks import check_dtype, check_flag
from chainrule.nn._values import (
    IncompatibleKeys,
    array_of,
    as_array,
    check_writeable,
    dotted,
    plain_output,
    put_array,
    replacement,
)
from chainrule.nn.builder import Builder
from chainrule.nn.random import as_generator
from chainrule.tape import Parameter, Tensor, no_grad
from chainrule.tape.tensor import RemovableHook

__all__ = ["IncompatibleKeys", "Module", "dotted"]

_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Module:
    r"""Base class of all layers.

    A subclass calls ``super().__init__()``, sets its ``Parameter``\ s and child modules as attributes, and
    defines ``forward`` on tensors, in NumPy's or PyTorch's terms. Such a module trains on the tape. One that
    also defines ``lower``, ``input_width`` and ``output_width`` can be run by the compiled engine.

    Attributes
    ----------
    training : bool
        True while training; dropout and batch normalization ask for it. See ``train`` and ``eval``.

    Examples
    --------
    >>> from chainrule import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, n_features):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(np.ones(n_features))
    ...
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> scale = Scale(2)
    >>> scale.factor = [1.0, 3.0]
    >>> scale(np.array([[1.0, 1.0]]))
    array([[1., 3.]])
    >>> scale.factor = [1.0, 2.0, 3.0]
    Traceback (most recent call last):
        ...
    ValueError: factor must have shape (2,); got (3,)
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter | None] = {}
        self._buffers: dict[str, np.ndarray | None] = {}
        self._modules: dict[str, Module] = {}
        self._forward_hooks: dict[int, Callable] = {}
        self._forward_pre_hooks: dict[int, Callable] = {}
        self.training = True

    # -- the forward pass --------------------------------------------------------------------------

    def __call__(self, *inputs: Any) -> Any:
        """Compute the output: ``forward(*inputs)``, between the hooks.

        Of tensors the output is a tensor, on the tape. Of arrays it is an array (or a number), and nothing is
        recorded.
        """
        for value in inputs:
            if isinstance(value, Tensor):
                return self._run(inputs)
        with no_grad():
            output = self._run(tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs))
        return plain_output(output)

    def _run(self, inputs: tuple) -> Any:
        for before in tuple(self._forward_pre_hooks.values()):
            changed = before(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*inputs)
        for after in tuple(self._forward_hooks.values()):
            changed = after(self, inputs, output)
            output = output if changed is None else changed
        return output

    def register_forward_hook(self, hook: Callable) -> RemovableHook:
        """Call ``hook(module, inputs, output)`` after every forward pass; what it returns replaces the
        output.

        Examples
        --------
        >>> from chainrule import nn
        >>> seen = []
        >>> layer = nn.Linear(2, 3)
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        >>> _ = layer(np.zeros((5, 2), dtype=np.float32))
        >>> handle.remove()
        >>> seen
        [(5, 3)]
        """
        return RemovableHook(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable) -> RemovableHook:
        """Call ``hook(module, inputs)`` before every forward pass; what it returns replaces the inputs."""
        return RemovableHook(self._forward_pre_hooks, hook)

    def forward(self, *inputs: Any) -> Any:
        """Compute the output from tensors of one row an example."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def lower(self, build: Builder, source: int, path: str) -> int:
        """Add this module to a plan: read value ``source``, return the index of the output's value.

        Raises
        ------
        NotImplementedError
            In a module that does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define lower: the engine cannot run it")

    def input_width(self) -> int | None:
        """The number of columns the module takes; None if it takes any."""
        return None

    def output_width(self, input_width: int) -> int:
        """The number of columns that come out when ``input_width`` go in; ValueError if they cannot."""
        raise NotImplementedError(f"{type(self).__name__} does not define output_width")

    def multiply_adds(self) -> int:
        """Multiply-adds of the matrix products in one example's forward pass."""
        return sum(child.multiply_adds() for child in self._modules.values())

    # -- registering -------------------------------------------------------------------------------

    def register_parameter(self, name: str, value: ArrayLike | Tensor | None) -> None:
        """Add a trainable tensor under ``name``, or None to declare that it is left out.

        A ``Parameter`` is used itself, so that modules can share it; anything else is copied and keeps its
        precision.
        """
        self._check_new_name(name, "_parameters")
        if value is not None and not isinstance(value, Parameter):
            array = as_array(name, value).copy(order="K")
            if array.dtype not in (np.float32, np.float64):
                raise TypeError(f"parameter {name} must be float32 or float64; got {array.dtype}")
            value = Parameter(array)
        self._parameters[name] = value

    def register_buffer(self, name: str, value: ArrayLike | None) -> None:
        """Add an array that is saved with the parameters but not trained; it is copied."""
        self._check_new_name(name, "_buffers")
        self._buffers[name] = None if value is None else as_array(name, value).copy()

    def add_module(self, name: str, module: "Module") -> None:
        """Add a child under ``name``; ``self.name = module`` does the same."""
        if not isinstance(module, Module):
            raise TypeError(f"{name} must be a Module; got {type(module).__name__}")
        self._check_new_name(name, "_modules")
        self._modules[name] = module

    def _check_new_name(self, name: str, registry: str) -> None:
        if registry not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} must call super().__init__() before anything else")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"name must be a string that is not empty and has no dot; got {name!r}")
        if hasattr(self, name) and name not in self.__dict__[registry]:
            raise ValueError(f"name {name!r} is taken by another attribute of {type(self).__name__}")

    # -- attribute access --------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for what it does not find otherwise. Unpickling asks before there is
        # a __dict__ to look in, hence get().
        own = self.__dict__
        for registry in _REGISTRIES:
            if name in own.get(registry, ()):
                return own[registry][name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            self.__dict__.pop(name, None)  # self.child = None may have stood there before
            self.add_module(name, value)
            return
        if name in self.__dict__.get("_modules", ()):
            raise TypeError(f"{name} must be a Module; got {type(value).__name__}")
        if name in self.__dict__.get("_parameters", ()):
            self._set_parameter(name, value)
        elif isinstance(value, Parameter):
            self.__dict__.pop(name, None)
            self.register_parameter(name, value)
        elif name in self.__dict__.get("_buffers", ()):
            self._buffers[name] = replacement(name, self._buffers[name], value)
        else:
            object.__setattr__(self, name, value)

    def _set_parameter(self, name: str, value: Any) -> None:
        """Another ``Parameter`` takes the place of this one; numbers are copied into it."""
        current = self._parameters[name]
        if value is current:
            return  # `layer.weight -= step` has already changed it in place
        array = replacement(name, None if current is None else current.data, value)
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif current is not None and array is not None:
            current.data = array
            current.bump_version()

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    # -- walking the tree --------------------------------------------------------------------------

    def _walk(self, path: str = "") -> Iterator[tuple[str, "Module"]]:
        """Itself and everything below, depth first; a module used twice is met twice."""
        yield path, self
        for name, child in self._modules.items():
            yield from child._walk(dotted(path, name))

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """Every module with its dotted name, this one first, each once."""
        seen = set()
        for path, module in self._walk():
            if id(module) not in seen:
                seen.add(id(module))
                yield path, module

    def modules(self) -> Iterator["Module"]:
        """Every module, this one first, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules directly below with their names, each once."""
        seen = set()
        for name, child in self._modules.items():
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator["Module"]:
        """The modules directly below, each once."""
        return (child for _, child in self.named_children())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every trainable tensor with its dotted name, each once: the tensors themselves, not copies."""
        seen = set()
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield dotted(path, name), parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every trainable tensor, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters: None, or zeros in place."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Train the parameters, or freeze them. Returns self."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def named_buffers(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every array that is saved but not trained, with its dotted name."""
        for path, module in self.named_modules():
            for name, array in module._buffers.items():
                if array is not None:
                    yield dotted(path, name), array

    def apply(self, function: Callable[["Module"], object]) -> Self:
        """Call ``function`` on every module below, then on this one; return this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # -- state -------------------------------------------------------------------------------------

    def _slots(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Dotted name of each array -> the dictionary and the key where it, or its parameter, is kept.

        The order is PyTorch's: a module's parameters, its buffers, then its children.
        """
        return {
            dotted(path, name): (values, name)
            for path, module in self._walk()
            for values in (module._parameters, module._buffers)
            for name, value in values.items()
            if value is not None
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        return {key: array_of(values[name]) for key, (values, name) in self._slots().items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers, under PyTorch's names and in PyTorch's order.

        Examples
        --------
        >>> from chainrule import nn
        >>> list(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
        """
        return {key: array.copy() for key, array in self._arrays().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers, all of them or, on any error, none.

        Parameters
        ----------
        state : mapping of str to array_like
            What ``state_dict`` gives, or PyTorch's of the same network.
        strict : bool, default=True
            Whether missing and unexpected names are errors. Wrong shapes always are.

        Returns
        -------
        IncompatibleKeys
            The names passed over: ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        ValueError
            Naming every missing name, unexpected name and wrong shape.

        Examples
        --------
        >>> from chainrule import nn
        >>> nn.Linear(2, 1).load_state_dict({"weight": [[1.0, 2.0, 3.0]]})
        Traceback (most recent call last):
            ...
        ValueError: cannot load this state into Linear:
          missing: bias
          weight must have shape (1, 2); got (1, 3)
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays; got {type(state).__name__}")
        targets = self._arrays()
        result = IncompatibleKeys(
            [key for key in targets if key not in state], [key for key in state if key not in targets]
        )
        problems = []
        if strict and result.missing_keys:
            problems.append("missing: " + ", ".join(result.missing_keys))
        if strict and result.unexpected_keys:
            problems.append("unexpected: " + ", ".join(map(str, result.unexpected_keys)))
        values = {}
        for key in targets.keys() & state.keys():
            try:
                values[key] = replacement(key, targets[key], state[key])
                check_writeable(key, targets[key])
            except (TypeError, ValueError) as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n  ".join([f"cannot load this state into {type(self).__name__}:", *problems]))
        # In place, as in PyTorch: whoever holds the arrays (an optimizer, a plan) sees the change.
        slots = self._slots()
        for key, array in values.items():
            targets[key][...] = array
            holder, name = slots[key]
            if isinstance(holder[name], Tensor):
                holder[name].bump_version()
        return result

    def bind(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Make the module use the given arrays, such as views into one flat vector, without a copy.

        Parameters
        ----------
        arrays : mapping of str to numpy.ndarray
            Some or all of the names in ``state_dict``. Each array has the shape of the one it replaces.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not an array of the right shape; nothing is changed.

        Examples
        --------
        >>> from chainrule import nn
        >>> flat = np.zeros(3)
        >>> layer = nn.Linear(2, 1)
        >>> layer.bind({"weight": flat[:2].reshape(1, 2), "bias": flat[2:]})
        >>> flat += [1.0, 2.0, 3.0]
        >>> layer.weight.data, layer.bias.data
        (array([[1., 2.]]), array([3.]))
        """
        slots, current = self._slots(), self._arrays()
        for key, array in arrays.items():
            if key not in slots:
                raise ValueError(f"{type(self).__name__} has no parameter or buffer {key!r}")
            expected = current[key]
            if not isinstance(array, np.ndarray) or array.dtype.kind != expected.dtype.kind:
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(f"{key} must be an array of the kind {expected.dtype}; got {got}")
            if array.shape != expected.shape:
                raise ValueError(f"{key} must have shape {expected.shape}; got {array.shape}")
        for key, array in arrays.items():
            values, name = slots[key]
            put_array(values, name, array)

    def to(self, dtype: DTypeLike) -> Self:
        """Convert parameters and buffers to float32 or float64; integer buffers stay. Returns self."""
        dtype = check_dtype(dtype)
        for values, name in self._slots().values():
            array = array_of(values[name])
            if array.dtype.kind == "f":
                put_array(values, name, array.astype(dtype, copy=False))
        return self

    def copy(self) -> Self:
        """A module that shares nothing with this one."""
        return copy.deepcopy(self)

    # -- modes and initial values ------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set this module and all below to training (or, with False, evaluation). Returns self."""
        mode = check_flag("mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set this module and all below to evaluation. Returns self."""
        return self.train(False)

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw all parameters anew, as when the module was made, and clear running statistics."""
        rng = as_generator(rng)
        for child in self.children():
            child.reset_parameters(rng)

    def initialize(self, name: str, rng: np.random.Generator | int | None = None, **settings: float) -> Self:
        """Draw every linear weight with an initializer of section 5 and set the biases to zero.

        Parameters
        ----------
        name : str
            A key of ``chainrule.functions.INITIALIZERS``, such as ``"he_normal"``.
        rng : numpy.random.Generator, int or None
            A generator or a seed; None draws from the default generator.
        **settings : float
            Passed to the initializer: ``gain``, ``alpha``, or the rule's own settings.

        Returns
        -------
        Module
            This one.

        Examples
        --------
        >>> from chainrule import nn
        >>> net = nn.Sequential(nn.Linear(200, 300), nn.ReLU(), nn.Linear(300, 1))
        >>> round(net.initialize("he_normal", rng=0)[0].weight.var().item(), 3)        # 2 / 200
        0.01
        """
        get_initializer(name)  # an unknown name is an error also where there is no linear layer
        rng = as_generator(rng)
        for child in self.children():
            child.initialize(name, rng, **settings)
        return self

    # -- printing ----------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The settings that ``repr`` shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({extra})"
        lines = [f"({name}): {child!r}" for name, child in self._modules.items()]
        body = "\n".join([extra, *lines] if extra else lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"
