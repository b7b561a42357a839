"""What compiling has produced, kept on disk: a directory, and files that carry their own checksum.

Nothing depends on being able to write: a full or read-only disk, a missing home or a damaged file cost a
compilation and nothing else.
"""

import hashlib
import os
import stat
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path

__all__ = ["announce_compiling", "cache_directory", "keep", "kept", "sources_hash"]

_COMPILING_MESSAGE = "chainrule: compiling kernels for this processor (once; some seconds) ..."
_CHECKSUM_BYTES = 32


def _private_directory(path: Path) -> bool:
    """Whether ``path`` is, or could be made, a directory only this user writes to."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        others_write = bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or others_write):
            return False
        return os.access(path, os.W_OK)
    except OSError:
        return False


@cache
def cache_directory() -> Path | None:
    """Where compiled kernels are kept, or None where nothing can be written.

    ``CHAINRULE_CACHE_DIR``, else the user's cache directory, else a private one under the system's
    temporary directory. Entries are unpickled, so a directory that others can write to is not used.
    """
    candidates = []
    if os.environ.get("CHAINRULE_CACHE_DIR"):
        candidates.append(Path(os.environ["CHAINRULE_CACHE_DIR"]))
    else:
        if os.environ.get("XDG_CACHE_HOME"):
            candidates.append(Path(os.environ["XDG_CACHE_HOME"]) / "chainrule")
        elif os.environ.get("LOCALAPPDATA"):
            candidates.append(Path(os.environ["LOCALAPPDATA"]) / "chainrule")
        else:
            try:
                candidates.append(Path.home() / ".cache" / "chainrule")
            except RuntimeError:  # no home directory at all
                pass
        user = os.getuid() if hasattr(os, "getuid") else "user"
        candidates.append(Path(tempfile.gettempdir()) / f"chainrule-{user}")
    return next((path for path in candidates if _private_directory(path)), None)


@cache
def sources_hash() -> str:
    """Hash of every source file of the engine: whichever of them a kernel depends on, it is among them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def kept(path: Path | None) -> bytes | None:
    """The content of a kept file, or None where there is none or its checksum is wrong."""
    try:
        content = path.read_bytes() if path is not None else b""
    except OSError:
        return None
    checksum, payload = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    return payload if payload and checksum == hashlib.sha256(payload).digest() else None


def keep(path: Path | None, payload: bytes) -> None:
    """Keep a file, whole or not at all: two processes may do so at once."""
    if path is None:
        return
    partial = path.with_suffix(f".{uuid.uuid4().hex[:12]}")
    try:
        partial.write_bytes(hashlib.sha256(payload).digest() + payload)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)


@cache
def announce_compiling() -> None:
    """Say once a process, on standard error, why the first call takes so long."""
    sys.stderr.write(_COMPILING_MESSAGE + "\n")
    sys.stderr.flush()
