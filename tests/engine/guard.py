"""Memory between inaccessible pages, and a process of its own to be struck dead by touching them.

``Guard`` takes the place of the engine's allocator: each array ends right before a page that must not be
touched, and begins after one; what is left of the pages is filled with canaries. ``Child`` calls functions in
another process, so that one which crashes or hangs is the failure of a test, and not the end of all of them.
"""

import ctypes
import faulthandler
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from tests.strategies import Outcome, Training

from chainrule.engine import EngineExecutor, memory
from chainrule.execution import Examples

CACHE_LINE = 64
PAGE = mmap.PAGESIZE
# As a float it is not a number, which spoils any result into which it is read; as an index it is -1.
CANARY = 0xFF

_library = ctypes.CDLL(None, use_errno=True)
_library.mmap.restype = ctypes.c_void_p
_library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_NO_ACCESS = 0


# -- memory ----------------------------------------------------------------------------------------


class Block:
    """Zeros between two inaccessible pages; unmapped as soon as no array uses them.

    Parameters
    ----------
    n_bytes, alignment : int
    at_end : bool
        Whether the bytes end at the second page, or as near before it as the alignment lets them; else they
        begin right after the first.
    faults : list of str
        Takes a line for each canary that was overwritten.
    """

    def __init__(self, n_bytes: int, alignment: int, at_end: bool, faults: list[str]) -> None:
        room = -(-n_bytes // alignment) * alignment
        inside = max(1, -(-room // PAGE)) * PAGE
        self.n_bytes = n_bytes
        self._faults = faults
        self._length = inside + 2 * PAGE
        self._start = self._map()
        self._inside = (self._start + PAGE, inside)
        self.protect(mmap.PROT_READ | mmap.PROT_WRITE)
        self.address = self._start + PAGE + (inside - room if at_end else 0)
        for margin in self._margins():
            margin[:] = CANARY

    def _map(self) -> int:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = _library.mmap(None, self._length, _NO_ACCESS, flags, -1, 0)
        if start in (None, ctypes.c_void_p(-1).value):
            raise MemoryError(os.strerror(ctypes.get_errno()))
        return int(start)

    def _margins(self) -> list[np.ndarray]:
        """What lies between the bytes and the inaccessible pages, before and after."""
        first, length = self._inside
        ends = (self.address, first + length)
        return [
            np.ctypeslib.as_array((ctypes.c_uint8 * (end - begin)).from_address(begin))
            for begin, end in zip((first, self.address + self.n_bytes), ends, strict=True)
        ]

    def protect(self, access: int) -> None:
        """Allow the bytes to be read, written, or both."""
        if _library.mprotect(*self._inside, access) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, size: int, dtype: Any, address: int) -> np.ndarray:
        """An array at an address, that keeps the block alive."""
        type_name, data = np.dtype(dtype).str, (address, False)
        self.__array_interface__ = {"shape": (size,), "typestr": type_name, "data": data, "version": 3}
        return np.asarray(self)

    def check(self) -> None:
        """Note the canaries that were overwritten, once."""
        for margin, side in zip(self._margins(), ("before", "after"), strict=True):
            (places,) = np.nonzero(margin != CANARY)
            if len(places):
                self._faults.append(f"{len(places)} bytes were overwritten {side} an array of {self.n_bytes}")
                self.protect(mmap.PROT_READ | mmap.PROT_WRITE)
                margin[:] = CANARY

    def __del__(self) -> None:
        self.check()
        _library.munmap(self._start, self._length)


class Guard:
    """Makes arrays between inaccessible pages.

    Parameters
    ----------
    at_end : bool
        Where in its pages an array lies; see ``Block``.
    missing, missing_given : int
        How many entries each larger array of the engine, or each that it is given, lacks on the side where
        the page is near. It looks as if it had them: this is how the tests plant an overrun.
    """

    def __init__(self, at_end: bool = True, missing: int = 0, missing_given: int = 0) -> None:
        self.at_end = at_end
        self.missing = missing
        self.missing_given = missing_given
        self.n_arrays = 0
        self._faults: list[str] = []
        self._blocks: weakref.WeakSet[Block] = weakref.WeakSet()

    def _array(self, size: int, dtype: Any, alignment: int, missing: int) -> tuple[np.ndarray, Block]:
        itemsize = np.dtype(dtype).itemsize
        block = Block((size - missing) * itemsize, alignment, self.at_end, self._faults)
        self._blocks.add(block)
        return block.array(size, dtype, block.address - (0 if self.at_end else missing * itemsize)), block

    def aligned(self, size: int, dtype: Any) -> np.ndarray:
        """What the engine's allocator promises: zeros that begin on a cache line."""
        self.n_arrays += 1
        return self._array(size, dtype, CACHE_LINE, min(self.missing, size // 100))[0]

    def given(self, array: np.ndarray, read_only: bool = False) -> np.ndarray:
        """A copy for the engine to be given: aligned to its entries only, so that no byte is to spare."""
        size, missing = array.size, min(self.missing_given, array.size // 100)
        copy, block = self._array(size, array.dtype, array.itemsize, missing)
        there = slice(0, size - missing) if self.at_end else slice(missing, size)
        copy[there] = array.ravel()[there]
        if read_only:
            block.protect(mmap.PROT_READ)
        return copy.reshape(array.shape)

    def examples(self, examples: Examples) -> Examples:
        """Copies that cannot be written to."""
        X, weights = examples.X, examples.weights
        if scipy.sparse.issparse(X):
            parts = tuple(self.given(part, read_only=True) for part in (X.data, X.indices, X.indptr))
            X = scipy.sparse.csr_matrix(parts, shape=X.shape, copy=False)
        else:
            X = self.given(X, read_only=True)
        y = self.given(examples.y, read_only=True)
        return Examples(X, y, None if weights is None else self.given(weights, read_only=True))

    def faults(self) -> list[str]:
        """What happened to the canaries of all arrays so far."""
        for block in list(self._blocks):
            block.check()
        return list(self._faults)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In place of the engine's allocator, wherever that was imported to."""
        original = memory.aligned
        modules = [module for name, module in list(sys.modules.items()) if name.startswith("chainrule")]
        holders = [module for module in modules if vars(module).get("aligned") is original]
        for module in holders:
            module.aligned = self.aligned
        try:
            yield
        finally:
            for module in holders:
                module.aligned = original


# -- a case ----------------------------------------------------------------------------------------


class Record(NamedTuple):
    """Everything that an executor's methods gave for a case."""

    outcome: Outcome
    gradients: list[tuple[float, float, np.ndarray]]
    predictions: list[np.ndarray]

    def bits(self) -> bytes:
        """Everything that must not depend on the number of threads, nor on where memory lies."""
        values = np.array([one[:2] for one in self.gradients])
        arrays = [values, *(one[2] for one in self.gradients), *self.predictions]
        return self.outcome.bits() + b"".join(array.tobytes() for array in arrays)


def exercise(
    make: Callable[..., Any], case: Training, dtype: Any, guard: Guard | None = None, **settings: Any
) -> Record:
    """Predict, take the gradient, train, and then all once more, with one executor."""

    def given(array: Any, read_only: bool = False) -> Any:
        return array if guard is None or array is None else guard.given(array, read_only)

    executor = make(
        case.plan, given(case.parameters.astype(dtype)), given(case.buffers.astype(dtype)), **settings
    )
    examples = case.examples(dtype) if guard is None else guard.examples(case.examples(dtype))
    instructions = case.instructions(dtype)
    instructions.state = given(instructions.state)
    instructions.order = given(instructions.order, True)
    instructions.coefficients = given(instructions.coefficients, True)
    gradients, predictions, reports = [], [], []
    for number in range(case.n_runs + 1):
        options = {"step": instructions.first_step, "seed": instructions.seed}
        predictions.append(executor.predict(examples.X))
        gradients.append(executor.gradient(examples, instructions.penalty, **options))
        if number < case.n_runs:
            reports.append(executor.run(examples, instructions))
            instructions.first_step += reports[-1].n_steps
    outcome = Outcome(executor.parameters, executor.buffers, instructions.state, reports, executor)
    return Record(outcome, gradients, predictions)


class Plant(NamedTuple):
    """Entries that arrays lack; see ``Guard``."""

    missing: int = 0
    missing_given: int = 0


def run_guarded(case: Training, dtype: Any, n_threads: int, at_end: bool, plant: Plant = Plant()) -> Record:  # noqa: B008
    """What the engine makes of a case between guard pages; an error if a canary was overwritten."""
    guard = Guard(at_end, *plant)
    with guard.installed(), np.errstate(all="ignore"):  # some trainings diverge
        record = exercise(EngineExecutor, case, dtype, guard, n_threads=n_threads)
    assert guard.n_arrays > 0, "the engine has another allocator than engine.memory.aligned"
    record = record._replace(outcome=replace(record.outcome, executor=None))
    faults = guard.faults()
    assert not faults, "; ".join(faults)
    return record


# -- a process -------------------------------------------------------------------------------------


class ChildFailure(AssertionError):
    """A function that crashed, hung or failed in a child."""


def _serve(descriptor: int) -> None:
    """What the child runs: call what comes in, send back what comes out."""
    faulthandler.enable()
    # What is started in the background of a shell inherits that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connection: Connection[Any, Any] = Connection(descriptor)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, function(*arguments)))
        except Exception:  # noqa: BLE001 - whatever it is goes to the parent
            connection.send((False, traceback.format_exc()))


class Child:
    """Calls functions in another process; in a new one when the last has died.

    Parameters
    ----------
    prefix : sequence of str
        A command, with its arguments, that is to run the process.
    """

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-W", "error", "-c",
             f"from tests.engine.guard import _serve; _serve({theirs.fileno()})"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
            pass_fds=[theirs.fileno()], stderr=self._errors,
        )  # fmt: skip
        theirs.close()

    def call(self, function: Callable[..., Any], *arguments: Any, limit: float = 60.0) -> Any:
        """``function(*arguments)``, within ``limit`` seconds.

        Raises
        ------
        ChildFailure
            With what the child wrote, and the stacks of its threads, if it crashed or hung.
        """
        if self._process is None:
            self._start()
        try:
            self._connection.send((function, arguments))
            if not self._connection.poll(limit):
                self._process.send_signal(signal.SIGABRT)  # faulthandler writes the stacks
                raise ChildFailure(f"no answer within {limit:g} s\n{self.close()}")
            succeeded, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            code, written = self._process.wait(), self.close()
            name = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            raise ChildFailure(f"the process was ended {name}\n{written}") from None
        if not succeeded:
            raise ChildFailure(answer)
        return answer

    def close(self) -> str:
        """End the process; what it wrote to standard error."""
        if self._process is None:
            return ""
        self._connection.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        with self._errors:
            self._errors.seek(0)
            return self._errors.read().decode(errors="replace")
