"""The bytes of a model file: arrays and one JSON text, checked before anything is made of them.

The format is safetensors: a header that says where each array lies, the arrays, and in the header's metadata,
under the key ``chainrule``, the JSON with a SHA-256 over itself and every array. The same model gives the
same bytes. What a file claims is compared with what is there before memory is asked for: no file makes its
reader take more of it than a few times its own size.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

__all__ = ["FORMAT_VERSION", "BrokenFileError", "pack", "unpack"]

FORMAT_VERSION = 1
_KEY = "chainrule"
# What arrays may hold, and how many bytes a number takes.
_BYTES = {"F32": 4, "F64": 8, "I64": 8}


class BrokenFileError(Exception):
    """What is wrong with a model file, without its name."""


def pack(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The file's bytes.

    Parameters
    ----------
    content : dict
        What JSON can hold, NumPy's numbers included.
    arrays : dict of str to numpy.ndarray
        float32, float64 or int64.

    Raises
    ------
    TypeError
        If the content holds something that JSON does not.
    """
    content = {"format_version": FORMAT_VERSION, **content}
    # What the reader will see: the text parsed again, with tuples as lists and NumPy numbers as numbers.
    content = json.loads(json.dumps(content, default=_plain))
    # order="C" without ascontiguousarray, which would give a scalar a dimension
    arrays = {key: np.array(array, array.dtype.newbyteorder("<"), order="C") for key, array in arrays.items()}
    text = _to_text({"sha256": _checksum(content, arrays), "content": content})
    data: bytes = safetensors.numpy.save(arrays, metadata={_KEY: text})
    return data


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content and the arrays of a file.

    Raises
    ------
    BrokenFileError
        If it is no model file, or not as it was written.
    """
    if not data:
        raise BrokenFileError("the file is empty")
    header = _header(data)
    _check_arrays(header, data)
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BrokenFileError(f"its arrays are cut short or damaged ({error})") from error
    try:
        wrapped = _parsed(header["__metadata__"][_KEY])
    except (KeyError, TypeError):
        raise BrokenFileError("it is a safetensors file, but not one that chainrule wrote") from None
    except (ValueError, RecursionError) as error:
        raise BrokenFileError(f"its description is damaged ({error})") from error
    if not isinstance(wrapped, dict) or not isinstance(content := wrapped.get("content"), dict):
        raise BrokenFileError("its description is damaged (no content)")
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BrokenFileError(f"a later version of chainrule wrote it (format {version}); upgrade chainrule")
    try:
        expected = _checksum(content, arrays)
    except (ValueError, RecursionError) as error:  # a text that cannot be written again
        raise BrokenFileError(f"its description is damaged ({error})") from error
    if wrapped.get("sha256") != expected:
        raise BrokenFileError("it is damaged (its checksum does not match)")
    return content, arrays


def _header(data: bytes) -> dict[str, Any]:
    """The JSON header of a safetensors file: its length in 8 bytes, then the text."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or (length > len(data) - 8 and data[8:9] in (b"{", b"")):
        raise BrokenFileError("it is cut short")
    try:
        header = _parsed(data[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        said = f": {error}" if isinstance(error, _RepeatedNameError) else ""
        raise BrokenFileError(f"it is not a safetensors file, or its header is damaged{said}") from None
    if not isinstance(header, dict):
        raise BrokenFileError("it is not a safetensors file, or its header is damaged")
    return header


class _RepeatedNameError(ValueError):
    pass


def _parsed(text: str) -> Any:
    """JSON in which no name comes twice, so that no two readers see different things."""

    def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _RepeatedNameError("a name comes twice")
        return found

    return json.loads(text, object_pairs_hook=named)


def _check_arrays(header: dict[str, Any], data: bytes) -> None:
    """That the arrays the header describes are there, one behind the other, and nothing else."""
    begins = 8 + int.from_bytes(data[:8], "little")
    places = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            shape, (first, last) = entry["shape"], entry["data_offsets"]
            size = _BYTES[entry["dtype"]] * math.prod(shape)
            fits = all(type(n) is int and 0 <= n <= len(data) for n in (*shape, first, last))
        except (KeyError, TypeError, ValueError):
            raise BrokenFileError(f"it is damaged: array {name!r} is not described as arrays are") from None
        if not fits or size != last - first:
            raise BrokenFileError(
                f"it is damaged: array {name!r} of shape {str(shape)[:80]} is not that long"
            )
        places.append((first, last))
    end = 0
    for first, last in sorted(places):
        if first != end:
            raise BrokenFileError("it is damaged: its arrays do not lie one behind the other")
        end = last
    if begins + end != len(data):
        what = "cut short" if begins + end > len(data) else "followed by other bytes"
        raise BrokenFileError(f"it is damaged: its arrays are {what}")


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
