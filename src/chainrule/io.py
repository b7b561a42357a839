"""Files in and out: tables as CSV, and a trained model as one file without pickle.

Loading a model never runs code. Its file is in the safetensors format: the arrays, and in its metadata one
JSON text under the key ``chainrule`` with everything else (the estimator's settings, the table's description,
the target) and a SHA-256 over both, so that a damaged file is told from a good one. The same model gives the
same bytes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import secrets
import warnings
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.estimators.state import from_state, to_state
from chainrule.estimators.tables import TablePreprocessor

__all__ = ["SavedModel", "load_model", "read_table", "save_model", "write_atomically"]

FORMAT_VERSION = 1
_KEY = "chainrule"
# What reading a damaged text or gzip file raises, beside ValueError.
_DAMAGED = (EOFError, csv.Error, gzip.BadGzipFile, zlib.error)
_ESTIMATORS: dict[str, Any] = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted.
    preprocessor : TablePreprocessor or None
        The way from a data frame to the estimator's input; None if it takes arrays.
    target : str or None
        Name of the column that the estimator predicts.
    information : dict
        What else was saved with it, such as the held-out metrics.
    """

    estimator: Any
    preprocessor: TablePreprocessor | None = None
    target: str | None = None
    information: dict[str, Any] = field(default_factory=dict)

    def predict(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Predict from a data frame (from an array if there is no preprocessor).

        Parameters
        ----------
        X : pandas.DataFrame or array of shape (n_rows, n_columns)
            The rows to predict.

        Returns
        -------
        numpy.ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Classes, or numbers.
        """
        return self.estimator.predict(self._input(X))

    def predict_proba(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Probability of each class, in the order of ``estimator.classes_``.

        Parameters
        ----------
        X : pandas.DataFrame or array of shape (n_rows, n_columns)
            The rows to predict.

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_classes)

        Raises
        ------
        TypeError
            If the model predicts numbers.
        """
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError("a model that predicts numbers has no class probabilities")
        return self.estimator.predict_proba(self._input(X))

    def _input(self, X: pd.DataFrame | np.ndarray) -> Any:
        return X if self.preprocessor is None else self.preprocessor.transform(X)


def save_model(
    path: str | os.PathLike[str],
    estimator: Any,
    *,
    preprocessor: TablePreprocessor | None = None,
    target: str | None = None,
    information: dict[str, Any] | None = None,
) -> None:
    """Write a fitted estimator, and what it needs to predict from tables, to one file.

    The file appears whole or not at all: a file of that name stays as it was until the new one is complete.

    Parameters
    ----------
    path : path
        Where to; the usual ending is ``.safetensors``.
    estimator : MLPClassifier or MLPRegressor
        Fitted.
    preprocessor : TablePreprocessor, optional
        Fitted; its output is the estimator's input.
    target : str, optional
        Name of the predicted column.
    information : dict, optional
        Anything else that JSON can hold.

    Raises
    ------
    TypeError
        If the estimator is of another class, or something cannot be written as JSON.
    ValueError
        If the path names something that is not a file.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from chainrule.estimators import MLPClassifier
    >>> network = MLPClassifier((4,), random_state=0, solver="lbfgs", max_iter=200)
    >>> network = network.fit([[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(Path(folder, "model.safetensors"), network, target="level")
    ...     model = load_model(Path(folder, "model.safetensors"))
    >>> model.target, model.predict([[0.0], [3.0]]).tolist()
    ('level', ['low', 'high'])
    """
    name = type(estimator).__name__
    if not isinstance(estimator, _ESTIMATORS.get(name, ())):
        raise TypeError(f"can save {' or '.join(_ESTIMATORS)}, got {name}")
    state, arrays = to_state(estimator)
    content = {
        "format_version": FORMAT_VERSION,
        "estimator": name,
        "state": state,
        "table": None if preprocessor is None else preprocessor.to_dict(),
        "target": target,
        "information": information or {},
    }
    # What the loader will see: the text parsed again, with tuples as lists and NumPy numbers as numbers.
    content = json.loads(json.dumps(content, default=_plain))
    # order="C" without ascontiguousarray, which would give a scalar a dimension
    arrays = {key: np.array(array, array.dtype.newbyteorder("<"), order="C") for key, array in arrays.items()}
    text = _to_text({"sha256": _checksum(content, arrays), "content": content})
    write_atomically(path, safetensors.numpy.save(arrays, metadata={_KEY: text}))


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a file that `save_model` wrote.

    Parameters
    ----------
    path : path
        The model file.

    Returns
    -------
    SavedModel
        Predicts the same bits as the model that was saved.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not a model file, is damaged, or was written by a later version; the message says which.
    """
    data = Path(path).read_bytes()
    try:
        content, arrays = _parse(data)
        return _rebuild(content, arrays)
    except _BrokenFileError as error:
        raise ValueError(f"cannot load the model {os.fspath(path)!r}: {error}") from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the machine stops half way.

    Parameters
    ----------
    path : path
        The file; its folder must be there. A symbolic link is followed.
    data : bytes
        The whole content.

    Raises
    ------
    ValueError
        If the path names a folder or a device.
    OSError
        If the folder is not there, the disk is full, and so on; no trace is left then.
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        raise ValueError(f"cannot write to {os.fspath(path)!r}: it is not a file")
    # In the same folder, because only within one file system is a rename atomic.
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(6)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_table(path: str | os.PathLike[str], as_text: Collection[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV file with a header line, strictly: what is not a table is refused, not repaired.

    Columns are separated by commas, semicolons or tabs, whichever the header line has most of; the file may
    be compressed with gzip (``.gz``). Columns without a name are left out: they hold row numbers.

    Parameters
    ----------
    path : path
        The file.
    as_text : collection of str
        Columns not to be read as numbers, so that the code 007 stays as it is.

    Returns
    -------
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        The table.
    notes : list of str
        What was left out.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not text in UTF-8, is empty, has a row with too many values or two columns of one name.
    """
    path = Path(path)
    names, separator = _read_header(path)
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"{path}: the table has more than one column named {repeated[0]!r}")
    try:
        with warnings.catch_warnings():
            # By default a row with too many values loses some, with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                index_col=False,
                low_memory=False,
                dtype={name: str for name in as_text if name in names},
            )
    except (*_DAMAGED, ValueError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path}: not a table ({error})") from error
    unnamed = [position for position, name in enumerate(names) if not name]
    notes = [f"{len(unnamed)} column(s) without a name are left out (a row number?)"] if unnamed else []
    return frame.drop(columns=frame.columns[unnamed]), notes


def _read_header(path: Path) -> tuple[list[str], str]:
    """The column names of a CSV file and the character between them: a comma, semicolon or tab."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as binary:
            start = binary.read(1 << 16)
        if not start.strip():
            raise ValueError(f"{path}: the file is empty")
        if b"\0" in start:
            raise ValueError(f"{path}: not a table (it is not a text file)")
        first_line = start.lstrip().split(b"\n")[0]
        separator = max((",", ";", "\t"), key=lambda character: first_line.count(character.encode()))
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            names = next((row for row in csv.reader(file, delimiter=separator) if row), [])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a table (it is not text in UTF-8: {error.reason})") from error
    except _DAMAGED as error:
        raise ValueError(f"{path}: not a table ({error})") from error
    return names, separator


class _BrokenFileError(Exception):
    """What is wrong with a model file, without its name."""


def _parse(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content and the arrays of a file, checked against the checksum."""
    if not data:
        raise _BrokenFileError("the file is empty")
    header = _header(data)
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _BrokenFileError(f"its arrays are cut short or damaged ({error})") from error
    try:
        wrapped = json.loads(header["__metadata__"][_KEY])
    except (KeyError, TypeError):
        raise _BrokenFileError("it is a safetensors file, but not one that chainrule wrote") from None
    except ValueError as error:
        raise _BrokenFileError(f"its description is damaged ({error})") from error
    if not isinstance(wrapped, dict) or not isinstance(content := wrapped.get("content"), dict):
        raise _BrokenFileError("its description is damaged (no content)")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise _BrokenFileError(f"a later version of chainrule wrote it (format {version}); upgrade chainrule")
    if wrapped.get("sha256") != _checksum(content, arrays):
        raise _BrokenFileError("it is damaged (its checksum does not match)")
    return content, arrays


def _header(data: bytes) -> dict[str, Any]:
    """The JSON header of a safetensors file: its length in 8 bytes, then the text."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or (length > len(data) - 8 and data[8:9] in (b"{", b"")):
        raise _BrokenFileError("it is cut short")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError):
        raise _BrokenFileError("it is not a safetensors file, or its header is damaged") from None
    if not isinstance(header, dict):
        raise _BrokenFileError("it is not a safetensors file, or its header is damaged")
    return header


def _rebuild(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> SavedModel:
    try:
        estimator = from_state(_ESTIMATORS[content["estimator"]], content["state"], arrays)
        table = content["table"]
        preprocessor = None if table is None else TablePreprocessor.from_dict(table)
        model = SavedModel(estimator, preprocessor, content["target"], content["information"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _BrokenFileError(f"it describes no model ({type(error).__name__}: {error})") from error
    if preprocessor is not None:
        made, taken = len(preprocessor.feature_names_out), estimator.n_features_in_
        if made != taken:
            raise _BrokenFileError(f"its table makes {made} columns, its network takes {taken}")
    return model


def _to_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """For json: a NumPy number as a Python one; anything else cannot be written."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot write {value!r} to a model file: JSON holds no {type(value).__name__}")


def _checksum(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over the content and every array with its name, type and shape."""
    digest = hashlib.sha256(_to_text(content).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(_to_text([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
