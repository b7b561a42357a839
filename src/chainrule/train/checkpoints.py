"""Checkpoints: a training as it was at the end of an epoch, in a file, and on from there to the same bits.

A checkpoint holds everything that moves: parameters and running statistics, what the optimizer keeps, the
random generator, the schedule's count, the best weights so far and the history. It also says what it belongs
to, so that a training cannot be continued with other data or settings by mistake.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.atomic_files import write_atomically
from chainrule.optim import Constant, InverseScaling, StepDecay
from chainrule.optim.schedules import Adaptive
from chainrule.sealed_files import BrokenFileError, pack, unpack

__all__ = ["Checkpoints", "Course", "check_options", "epochs_matter", "fingerprint"]

_KIND = "checkpoint of a training"
# What the arrays of the best epoch so far are called.
_BEST = ("best parameters", "best buffers")
# Why a training ends for good; after any other reason there may be more to come.
_FOR_GOOD = ("early stopping", "learning rate", "not finite")
# Schedules that do not ask how many epochs there are in all.
_WITHOUT_END = (Constant, InverseScaling, StepDecay, Adaptive)
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def check_options(checkpoint: Any, every: Any, resume: Any) -> None:
    """ValueError or TypeError if these options of ``fit`` do not go together."""
    _due(every)
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(f"checkpoint must be a path; got {type(checkpoint).__name__}")
    if resume in ("auto", True) and checkpoint is None:
        raise ValueError(f"resume={resume!r} continues the file that checkpoint names; got checkpoint=None")
    if not isinstance(resume, str | os.PathLike | bool | None):
        raise TypeError(f"resume must be a path, 'auto' or None; got {type(resume).__name__}")


def _due(every: Any) -> tuple[int, float]:
    """How many epochs, and how many seconds, there are at least between two checkpoints."""
    if isinstance(every, str) and (found := _TIME.fullmatch(every.strip())):
        return 1, float(found[1]) * _SECONDS[found[2]]
    if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
        raise ValueError(
            f"every must be a number of epochs, or a time such as '30s' or '5min'; got {every!r}"
        )
    return int(every), 0.0


@dataclass
class Course:
    """All that moves in a training.

    Attributes
    ----------
    trainer : Trainer
    schedule : Schedule
    keeper : the watcher of the best weights
    history : History
    random : numpy.random.Generator
    """

    trainer: Any
    schedule: Any
    keeper: Any
    history: Any
    random: np.random.Generator

    def taken(self, epoch: int, stopped: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A copy of everything, as JSON can hold it and as arrays."""
        executor, keeper = self.trainer.executor, self.keeper
        values = {
            "epoch": epoch,
            "stopped": stopped,
            "step": self.trainer.step,
            "random": self.random.bit_generator.state,
            "schedule": dict(vars(self.schedule)),
            "keeper": keeper.numbers(),
            # Names and numbers apart: JSON as it is written here sorts names.
            "columns": list(self.history.epochs[0]) if self.history.epochs else [],
            "rows": [list(row.values()) for row in self.history.epochs],
        }
        arrays = {
            "parameters": executor.parameters.copy(),
            "buffers": executor.buffers.copy(),
            "state": np.array(self.trainer.state),
        }
        if keeper.kept is not None:
            arrays |= dict(zip(_BEST, keeper.kept, strict=True))
        return values, arrays

    def put_back(self, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Be as ``taken`` found everything."""
        executor, keeper = self.trainer.executor, self.keeper
        for name, own in (
            ("parameters", executor.parameters), ("buffers", executor.buffers), ("state", self.trainer.state),
        ):  # fmt: skip
            if arrays[name].shape != own.shape or arrays[name].dtype != own.dtype:
                raise ValueError(f"its {name} have shape {arrays[name].shape}, the training's {own.shape}")
        executor.parameters[:] = arrays["parameters"]
        executor.buffers[:] = arrays["buffers"]
        self.trainer.state[...] = arrays["state"]
        self.trainer.step = int(values["step"])
        self.random.bit_generator.state = values["random"]
        if set(values["schedule"]) != set(vars(self.schedule)):
            raise ValueError(f"its schedule has {sorted(values['schedule'])}")
        vars(self.schedule).update(values["schedule"])
        kept = tuple(arrays[name] for name in _BEST if name in arrays)
        keeper.put_back(values["keeper"], kept or None)
        self.history.epochs[:] = [dict(zip(values["columns"], row, strict=True)) for row in values["rows"]]


def fingerprint(settings: dict[str, Any], data: Iterable[Any]) -> dict[str, str]:
    """What a checkpoint belongs to, by name: settings as text, and a hash of the data."""
    digest = hashlib.sha256()
    for array in data:
        if array is None:
            digest.update(b"none")
            continue
        for part in (array.data, array.indices, array.indptr) if hasattr(array, "indptr") else (array,):
            part = np.ascontiguousarray(part)
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(part.reshape(-1).view(np.uint8).data)
    return {**{name: str(value) for name, value in settings.items()}, "data": digest.hexdigest()}


def epochs_matter(schedule: Any) -> bool:
    """Whether what a schedule does depends on how many epochs there are in all."""
    return not isinstance(schedule, _WITHOUT_END)


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    path : path or None
        The file to write; None for none.
    every : int or str
    resume : path, "auto" or None
        The file to go on from.
    identity : dict of str to str
        See ``fingerprint``.
    """

    def __init__(self, path: Any, every: Any, resume: Any, identity: dict[str, str]) -> None:
        self._path = None if path is None else Path(path)
        self._epochs, self._seconds = _due(every)
        self._resume = resume
        self._identity = identity
        self._written_at = time.monotonic()
        self._waiting: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None
        self.failure: OSError | None = None

    def begin(self, course: Course) -> tuple[int, str, float]:
        """Go back to where the file left off, if there is one to go on from.

        Returns
        -------
        epoch : int
            Epochs that lie behind.
        stopped : str
            Why the training ended for good; empty where it goes on.
        seconds : float
            Time that it took so far.

        Raises
        ------
        OSError
            If the first checkpoint cannot be written, or the file to go on from is not there.
        ValueError
            If that file is damaged, or belongs to another training; the message says how they differ.
        """
        self._remove_what_a_killed_process_left()
        source = self._source()
        if source is None:
            if self._path is not None:  # better now than after an hour
                self._write(course.taken(0, ""))
            return 0, "", 0.0
        values = self._read(source, course)
        stopped = values["stopped"] if values["stopped"] in _FOR_GOOD else ""
        seconds = course.history.epochs[-1]["seconds"] if course.history.epochs else 0.0
        if self._path is not None and self._path != source:
            self._write(course.taken(values["epoch"], values["stopped"]))
        return int(values["epoch"]), stopped, seconds

    def _remove_what_a_killed_process_left(self) -> None:
        """Files of ``write_atomically`` that did not come to bear the checkpoint's name."""
        if self._path is None:
            return
        for left in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.part"):
            left.unlink(missing_ok=True)

    def _source(self) -> Path | None:
        if self._resume in (None, False):
            return None
        if self._resume in ("auto", True):
            assert self._path is not None
            return self._path if self._path.exists() else None
        return Path(self._resume)

    def _read(self, source: Path, course: Course) -> dict[str, Any]:
        data = source.read_bytes()
        try:
            content, arrays = unpack(data)
            if content.get("kind") != _KIND:
                raise BrokenFileError("it is a model, not a checkpoint of a training")
        except BrokenFileError as error:
            raise ValueError(f"cannot resume from {str(source)!r}: {error}") from error
        for name, now in self._identity.items():
            then = content["identity"].get(name)
            if then != now:
                what = (
                    "other data" if name == "data" else f"{name}={_short(then)}; this call has {_short(now)}"
                )
                raise ValueError(f"cannot resume from {str(source)!r}: it was made with {what}")
        try:
            course.put_back(content["course"], arrays)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"cannot resume from {str(source)!r}: {error}") from error
        values: dict[str, Any] = content["course"]
        return values

    def epoch_ended(self, course: Course, epoch: int, stopped: str, is_whole: bool) -> None:
        """Note the end of an epoch, and write it if it is time to, or the last one.

        ``is_whole`` says whether the epoch saw all rows; the file keeps the end of the last one that did.
        """
        if self._path is None:
            return
        if is_whole:
            self._waiting = course.taken(epoch, stopped)
        is_due = epoch % self._epochs == 0 and time.monotonic() - self._written_at >= self._seconds
        if is_due or stopped:
            self.close()

    def close(self) -> None:
        """Write what waits; a failure is a warning, for the training is worth more than its file."""
        if self._waiting is None:
            return
        try:
            self._write(self._waiting)
            self.failure = None
        except OSError as error:
            if self.failure is None:
                warnings.warn(
                    f"the checkpoint {str(self._path)!r} cannot be written ({error}); training goes on, and "
                    "the file stays what it was",
                    RuntimeWarning,
                    stacklevel=2,
                )
            self.failure = error

    def _write(self, taken: tuple[dict[str, Any], dict[str, np.ndarray]]) -> None:
        values, arrays = taken
        content = {"kind": _KIND, "identity": self._identity, "course": values}
        assert self._path is not None
        write_atomically(self._path, pack(content, arrays))
        self._waiting = None
        self._written_at = time.monotonic()


def _short(text: Any) -> str:
    text = str(text)
    return text if len(text) <= 80 else f"{text[:77]}..."
