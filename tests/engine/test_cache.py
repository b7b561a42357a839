"""The compile cache is never stale, never in the way, and never trusts a directory of others.

Most tests run a package of two small functions around copies of ``engine/_jit.py`` and ``kept.py`` in
processes of their own: it compiles in a second where the engine takes many.
"""

import ast
import ctypes
import os
import pickle
import shutil
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numba
import numpy as np
import pytest

import chainrule
from chainrule.engine import _jit, kept
from chainrule.engine.calls import place_in_step
from chainrule.engine.parts import doubles
from chainrule.functions import ACTIVATIONS

SOURCES = Path(chainrule.__file__).parent

TINY = {
    "__init__.py": "",
    "helper.py": """
from tiny._jit import device
FACTOR = 2.0
@device
def scaled(x):
    return FACTOR * x
""",
    "main.py": """
import ctypes
import numpy as np
from tiny._jit import Kernel
from tiny.helper import scaled
from tiny.parts import doubles
def store(result, x: float):
    doubles(result, 0, 1)[0] = scaled(x) + 1.0
def run(x):
    kernel, result = Kernel(store, ()), np.zeros(1)
    arguments = np.array(kernel.pack(result=result.ctypes.data, x=x))
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel.address)(arguments.ctypes.data, 0)
    return float(result[0])
if __name__ == "__main__":
    print(run(3.0))
""",
}


class TinyPackage:
    """A package on disk with its cache; ``run`` gives (output, whether anything was compiled)."""

    def __init__(self, root: Path):
        self.folder, self.cache = root / "tiny", root / "cache"
        self.folder.mkdir()
        for name in ("_jit.py", "calls.py", "kept.py", "parts.py"):
            text = (SOURCES / "engine" / name).read_text()
            (self.folder / name).write_text(text.replace("chainrule.engine", "tiny"))
        for name, text in TINY.items():
            (self.folder / name).write_text(text)

    def environment(self, **changes):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("CHAINRULE")}
        changes = {"CHAINRULE_CACHE_DIR": str(self.cache), "PYTHONPATH": str(self.folder.parent), **changes}
        changes["PYTHONDONTWRITEBYTECODE"] = "1"
        return {key: value for key, value in {**inherited, **changes}.items() if value is not None}

    def start(self, **changes):
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", "from tiny.main import run; print(run(3.0))"],
            env=self.environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, **changes):
        return finish(self.start(**changes))

    def edit(self, name, old, new):
        """Change a file but neither its size nor its time stamps, as a package manager may."""
        replace_keeping_times(self.folder / name, old, new)

    def entries(self):
        return sorted(self.cache.iterdir())


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors in ("", kept._COMPILING_MESSAGE + "\n")
    return float(output), bool(errors)


def replace_keeping_times(path, old, new):
    before = path.stat()
    text = path.read_text()
    assert text.count(old) == 1
    assert len(old) == len(new)
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.fixture
def tiny(tmp_path):
    return TinyPackage(tmp_path)


# -- never stale -----------------------------------------------------------------------------------


def test_compiled_once_and_compiled_anew_when_a_helper_changes(tiny):
    assert tiny.run() == (7.0, True)
    assert tiny.run() == (7.0, False)
    assert len(tiny.entries()) == 1
    assert tiny.entries()[0].name.startswith("store-")
    tiny.edit("helper.py", "FACTOR = 2.0", "FACTOR = 5.0")  # a constant in another file
    assert tiny.run() == (16.0, True)
    tiny.edit("helper.py", "FACTOR * x", "FACTOR - x")  # the code itself
    assert tiny.run() == (3.0, True)
    assert tiny.run() == (3.0, False)
    tiny.edit("helper.py", "FACTOR - x", "FACTOR * x")
    tiny.edit("helper.py", "FACTOR = 5.0", "FACTOR = 2.0")
    assert tiny.run() == (7.0, False)  # the first entry is still there, and still right


@pytest.fixture
def copied(tmp_path):
    """A copy of the whole package, with a copy of what has been compiled so far."""
    shutil.copytree(SOURCES, tmp_path / "src" / "chainrule", ignore=shutil.ignore_patterns("__pycache__"))
    known = _jit.cache_directory()
    if known is not None:
        shutil.copytree(
            known, tmp_path / "cache", ignore=lambda folder, names: [n for n in names if "." not in n]
        )
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache").chmod(0o700)
    return tmp_path


SCRIPT = """
import numpy as np
from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.plan import lower
plan = lower(nn.Residual(nn.SELU()), "half_squared_error", 1)
print(EngineExecutor(plan, np.empty(0), np.empty(0)).predict(np.array([[2.0]]))[0, 0])
"""


def run_copied(root):
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "CHAINRULE_CACHE_DIR": str(root / "cache")}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_an_edited_record_and_an_edited_operation_are_compiled_anew(copied):
    package = copied / "src" / "chainrule"
    scale = 1.0507009873554805
    assert run_copied(copied) == pytest.approx(2 + 2 * scale, rel=1e-12)
    replace_keeping_times(
        package / "functions" / "activations.py", f"SELU_SCALE = {scale}", "SELU_SCALE = 3.0000000000000000"
    )
    assert run_copied(copied) == 2 + 2 * 3.0
    replace_keeping_times(package / "engine" / "elementwise.py", "a[j] + b[j]", "a[j] - b[j]")
    assert run_copied(copied) == 2 - 2 * 3.0


def one(x):
    return x + 1.0


def two(x):
    return x + 2.0


STEP = 1.0


def calls_one(x):
    return one(x) + STEP


def test_fingerprints(monkeypatch):
    def double(x, factor=2.0):
        return x * factor

    def triple(x, factor=3.0):
        return x * factor

    prints = {_jit.fingerprint(function) for function in (one, two, calls_one, double, triple)}
    assert len(prints) == 5
    before = _jit.fingerprint(calls_one)
    assert _jit.fingerprint(calls_one) == before
    monkeypatch.setitem(globals(), "one", two)  # a callee changed
    assert _jit.fingerprint(calls_one) != before
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "STEP", 2.0)  # a constant it reads
    assert _jit.fingerprint(calls_one) != before
    monkeypatch.undo()
    assert _jit.fingerprint(calls_one) == before


def test_records_have_their_own_fingerprints():
    derivatives = [_jit.fingerprint(record.scalar_derivative) for record in ACTIVATIONS.values()]
    assert len(set(derivatives)) == len(ACTIVATIONS)


# -- never in the way ------------------------------------------------------------------------------


def valid(payload):
    return sha256(payload).digest() + payload


def test_a_damaged_entry_is_rebuilt_silently(tiny):
    assert tiny.run() == (7.0, True)
    (path,) = tiny.entries()
    good = path.read_bytes()
    damaged = {
        "cut short": good[: len(good) // 2],
        "flipped": good[:-100] + bytes([good[-100] ^ 1]) + good[-99:],
        "not an entry, but its checksum is right": valid(pickle.dumps(("not", "a", "kernel"))),
    }
    for content in damaged.values():
        path.write_bytes(content)
        assert tiny.run() == (7.0, True)
        assert tiny.entries() == [path]
        assert path.read_bytes()[:32] == sha256(path.read_bytes()[32:]).digest()
    assert tiny.run() == (7.0, False)


def test_two_processes_fill_one_cache(tiny):
    processes = [tiny.start() for _ in range(2)]
    assert [finish(process)[0] for process in processes] == [7.0, 7.0]
    assert len(tiny.entries()) == 1  # and no partial file is left
    assert tiny.run() == (7.0, False)


def test_nowhere_to_write(tiny):
    assert tiny.run(CHAINRULE_CACHE_DIR="/dev/null/cache") == (7.0, True)
    # No home either: the fallback is a private directory under the temporary one.
    scratch = tiny.folder.parent / "scratch"
    scratch.mkdir()
    nowhere = {"CHAINRULE_CACHE_DIR": None, "XDG_CACHE_HOME": None, "LOCALAPPDATA": None, "HOME": "/dev/null"}
    assert tiny.run(**nowhere, TMPDIR=str(scratch)) == (7.0, True)
    (private,) = scratch.glob("chainrule-*")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert tiny.run(**nowhere, TMPDIR=str(scratch)) == (7.0, False)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_directory(tiny):
    tiny.cache.mkdir(mode=0o500)
    assert tiny.run() == (7.0, True)
    assert tiny.entries() == []


def test_a_full_disk_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setattr(_jit, "cache_directory", lambda: tmp_path)

    def full(self, content):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(_jit, "announce_compiling", lambda: None)

    def idle(n_rows):
        pass

    assert _jit.Kernel(idle, ("full disk",)).address
    assert list(tmp_path.iterdir()) == []


# -- where it is -----------------------------------------------------------------------------------


@pytest.fixture
def directory(monkeypatch, tmp_path):
    """``cache_directory`` afresh, in an environment that says nothing yet."""
    for name in ("CHAINRULE_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    return _jit.cache_directory.__wrapped__


def test_order_of_preference(directory, monkeypatch, tmp_path):
    assert directory() == tmp_path / "home" / ".cache" / "chainrule"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert directory() == tmp_path / "xdg" / "chainrule"
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path / "mine"))
    assert directory() == tmp_path / "mine"
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700


def test_no_home_directory_at_all(directory, monkeypatch, tmp_path):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert directory().parent == tmp_path / "tmp"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
def test_a_directory_that_others_write_to_is_refused(directory, monkeypatch, tmp_path, mode):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(shared))
    assert directory() is None
    shared.chmod(0o755)  # others may read
    assert directory() == shared


@pytest.mark.skipif(os.name != "posix", reason="owners of POSIX")
def test_a_directory_of_somebody_else_is_refused(directory, monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert directory() is None


# -- one door to Numba -----------------------------------------------------------------------------

COMPILERS = {
    "njit",
    "jit",
    "vectorize",
    "guvectorize",
    "cfunc",
    "stencil",
    "generated_jit",
    "prange",
    "fastmath",
}


def compilers_named_in(source):
    tree, found = ast.parse(source), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.keyword):
            found.add(node.arg)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.name.split(".")[-1] for alias in node.names}
    return found & COMPILERS


def test_only_one_file_compiles():
    files = sorted(SOURCES.rglob("*.py"))
    assert len(files) > 20
    compiling = {
        path.relative_to(SOURCES).as_posix() for path in files if compilers_named_in(path.read_text())
    }
    # Numba is used in the one, LLVM directly in the other.
    assert compiling == {"engine/_jit.py", "engine/objects.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import numba\n@numba.njit\ndef f(): pass",
        "from numba import njit",
        "numba.jit(f)",
        "f(fastmath=True)",
    ],
)
def test_a_bare_decorator_is_noticed(source):
    assert compilers_named_in(source)


def test_fast_math_keeps_nan_and_infinity():
    assert not {"nnan", "ninf", "fast"} & set(_jit.FAST_MATH)
    assert _jit.OPTIONS["fastmath"] is _jit.FAST_MATH

    @numba.njit(**_jit.OPTIONS)
    def kinds(x):
        return x != x, np.isinf(x), np.isfinite(x), x * 0.0

    assert kinds(np.nan)[:3] == (True, False, False)
    assert kinds(np.inf)[:3] == (False, True, False)
    assert np.isnan(kinds(np.inf)[3])
    assert kinds(1.0) == (False, False, True, 0.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_helpers_are_compiled_with_what_they_call(dtype):
    compiled = _jit.compilable(calls_one, dtype)

    @numba.njit(**_jit.OPTIONS)
    def call(x):
        return compiled(x)

    assert call(dtype(1.0)) == 3.0
    # The constants, also of what is called, take the dtype: nothing widens to double.
    (signature,) = call.nopython_signatures
    assert {str(signature.return_type), *map(str, signature.args)} == {np.dtype(dtype).name}
    assert not hasattr(one, "signatures")  # the record's own function is left as it was
    assert one(1) == 2.0


def test_a_kernel_is_called_by_address():
    def twice(n_rows, result, x: float):
        doubles(result, 0, 1)[0] = 2.0 * x + n_rows

    kernel = _jit.Kernel(twice, ("twice",))
    assert (kernel.name, kernel.fields, kernel.reals) == ("twice", ("result", "x"), frozenset({"x"}))
    result, record = np.zeros(1), np.zeros(32, np.int64)
    record[place_in_step("n_rows")] = 3
    arguments = np.array(kernel.pack(result=result.ctypes.data, x=1.5))
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel.address)
    function(arguments.ctypes.data, record.ctypes.data)
    assert result[0] == 6.0
