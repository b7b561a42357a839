"""A file is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write a file so that it is there whole or not at all, even if the machine stops half way.

    Parameters
    ----------
    path : path
        The file; its folder must be there. A symbolic link is followed.
    data : bytes or iterable of bytes
        The whole content, at once or in parts.

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
            for part in (data,) if isinstance(data, bytes) else data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
