"""A step of ``Optimizer.step`` by the engine's kernel, for a parameter that is large enough to gain by it.

The rule is the same (``UpdateRule.scalar_update``), compiled; the NumPy function walks through memory once
for each of its operations, the kernel once in all. Where both may run, tests hold them together.
"""

import struct
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from chainrule.optim.rules import UpdateRule

__all__ = ["LARGE", "take_step"]

# Entries from which on the kernel saves enough to be worth the loading of the engine.
LARGE = 1 << 14


def take_step(
    rule: UpdateRule, w: np.ndarray, state: Sequence[np.ndarray], g: np.ndarray, c: np.ndarray
) -> None:
    """One step of a rule, compiled where that is faster.

    Parameters
    ----------
    rule : UpdateRule
    w, g : ndarray
        Parameter and gradient, of one shape.
    state : sequence of ndarray
        Of that shape too; of a rule that uses only the first array, that one may be all.
    c : ndarray of shape (8,)
        In the dtype of ``w``.
    """
    if w.size >= LARGE and g.strides != w.strides:
        g = _laid_like(w, g)  # a weight matrix may be stored by columns and its gradient by rows
    if _kernel_serves(rule, w, state, g):
        arrays = (_address(w), _address(state[0]), _address(state[-1]), _address(g))
        _kernel(rule, w.dtype)(w.size, arrays, _address(c))
    else:
        rule.update(w, state, g, c)


def _laid_like(w: np.ndarray, g: np.ndarray) -> np.ndarray:
    copied: np.ndarray = np.empty_like(w)
    copied[...] = g
    return copied


def _kernel_serves(rule: UpdateRule, w: np.ndarray, state: Sequence[np.ndarray], g: np.ndarray) -> bool:
    """Whether the arrays are large, of a precision that it has, and lie alike, each without gaps."""
    return (
        w.size >= LARGE
        and rule.scalar_update is not None
        and w.dtype in (np.float32, np.float64)
        and w.flags.forc
        and w.flags.behaved
        and all(one.strides == w.strides and one.dtype == w.dtype for one in (g, *state))
    )


# How a call's words begin; the others are the same in every call.
_FIRST = ("rows", "columns", "weights", "first", "second", "gradient")


@cache
def _kernel(rule: UpdateRule, dtype: np.dtype) -> Callable[[int, tuple[int, ...], int], None]:
    """The kernel of a rule as a function of the number of entries and of addresses."""
    import ctypes

    from chainrule.engine.calls import STEP, STEP_REALS
    from chainrule.engine.objects import update_kernels
    from chainrule.engine.worker import play_one

    kernel, player = update_kernels(rule, "none", dtype)["update"], play_one()
    assert kernel.fields[: len(_FIRST)] == _FIRST
    play = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(player.address)
    # A column without gaps, which the kernel takes as one long row.
    constants = {"stride": dtype.itemsize, "decays": 1, "penalised": 0, "penalties": 0}
    rest = tuple(constants[name] for name in kernel.fields[len(_FIRST) :])
    place = STEP.index("coefficients")
    before, after = bytes(8 * place), bytes(8 * (len(STEP) - place - 1))
    after += struct.pack(f"={len(STEP_REALS)}d", *(float(name == "clip") for name in STEP_REALS))
    word = struct.Struct("=q").pack

    def update(n: int, arrays: tuple[int, ...], coefficients: int) -> None:
        call = np.array((kernel.address, n, 1, *arrays, *rest), np.int64)
        play(word(_address(call)), before + word(coefficients) + after)

    return update


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
