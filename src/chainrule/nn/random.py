"""Where layers draw their random numbers from: one default generator, as in PyTorch.

NumPy's own global random state is never touched.
"""

from typing import Any

import numpy as np

__all__ = ["as_generator", "manual_seed"]

_default = np.random.default_rng()


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
