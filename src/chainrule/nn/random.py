"""Where layers draw their random numbers from: one default generator, as in PyTorch.

NumPy's own global random state is never touched.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from chainrule.tape import Tensor
from chainrule.tape.sizes import as_sizes

__all__ = [
    "as_generator",
    "executing",
    "executing_with",
    "manual_seed",
    "rand",
    "randint",
    "randn",
    "randperm",
]

_default = np.random.default_rng()

_masks: contextvars.ContextVar[Any] = contextvars.ContextVar("chainrule_masks", default=None)


def executing() -> Any:
    """What an executor that runs modules draws dropout masks from; None outside of one."""
    return _masks.get()


@contextlib.contextmanager
def executing_with(masks: Any) -> Iterator[None]:
    """Let dropout layers ask ``masks.keeps(layer, shape)``, so that a training depends on its seed alone."""
    token = _masks.set(masks)
    try:
        yield
    finally:
        _masks.reset(token)


def manual_seed(seed: int) -> None:
    """Seed the generator that layers draw from when they are given none of their own.

    Parameters
    ----------
    seed : int
        A non-negative integer. One seed gives the same weights in every run.

    Raises
    ------
    TypeError, ValueError
        If ``seed`` is not a non-negative integer.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.manual_seed(0)
    >>> first = nn.Linear(3, 2)
    >>> nn.manual_seed(0)
    >>> bool((first.weight == nn.Linear(3, 2).weight).all())
    True
    """
    global _default  # noqa: PLW0603 - the one piece of module state, as torch.manual_seed has
    _default = _from_seed("seed", seed)


def as_generator(rng: Any = None) -> np.random.Generator:
    """The generator behind an ``rng`` argument: a Generator itself, an integer seed, or None.

    Parameters
    ----------
    rng : numpy.random.Generator, int or None
        None is the default generator, the one that ``manual_seed`` seeds.

    Raises
    ------
    TypeError, ValueError
        If ``rng`` is none of these.

    Examples
    --------
    >>> round(as_generator(0).random(), 4)
    0.637
    """
    if rng is None:
        return _default
    return rng if isinstance(rng, np.random.Generator) else _from_seed("rng", rng)


def _from_seed(name: str, seed: Any) -> np.random.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        expected = "an integer" if name == "seed" else "a numpy.random.Generator, an integer seed or None"
        raise TypeError(f"{name} must be {expected}; got {seed!r}")
    if seed < 0:
        raise ValueError(f"{name} must not be negative; got {seed}")
    return np.random.default_rng(int(seed))


# -- tensors of random numbers, with PyTorch's names -------------------------------------------------


def randn(*shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False, rng: Any = None) -> Tensor:
    """Normal numbers of mean 0 and variance 1.

    Examples
    --------
    >>> randn(32, 784).shape
    (32, 784)
    """
    return Tensor(as_generator(rng).standard_normal(as_sizes(shape)).astype(dtype), requires_grad)


def rand(*shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False, rng: Any = None) -> Tensor:
    """Numbers evenly distributed over [0, 1)."""
    return Tensor(as_generator(rng).random(as_sizes(shape)).astype(dtype), requires_grad)


def randint(low: int, high: Any, size: Any = None, *, rng: Any = None) -> Tensor:
    """Whole numbers from low to high - 1, or from 0 to low - 1 where two arguments are given, as in PyTorch.

    Examples
    --------
    >>> randint(0, 10, (32,)).shape, randint(10, (4,)).dtype
    ((32,), dtype('int64'))
    """
    if size is None:
        low, high, size = 0, low, high
    return Tensor(as_generator(rng).integers(low, high, size))


def randperm(n: int, *, rng: Any = None) -> Tensor:
    """The numbers 0 ... n - 1 in random order."""
    return Tensor(as_generator(rng).permutation(n))
