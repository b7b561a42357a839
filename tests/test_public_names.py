"""The package's front door: every name is there, and opening it costs nothing."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule

SOURCE = str(Path(chainrule.__file__).parents[1])


@pytest.mark.parametrize("name", chainrule.__all__)
def test_every_public_name_resolves(name):
    value = getattr(chainrule, name)
    assert value is getattr(chainrule, name)
    assert inspect.getdoc(value)
    if not inspect.ismodule(value):
        assert value.__name__ == name
        assert value.__module__.startswith("chainrule.")


def test_all_is_complete_sorted_and_listed():
    assert sorted(chainrule.__all__) == list(chainrule.__all__)
    assert set(chainrule._HOMES) == set(chainrule.__all__)
    assert set(chainrule.__all__) <= set(dir(chainrule))
    assert chainrule.__version__.count(".") == 2


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'chainrule' has no attribute 'MLPClasifier'"):
        chainrule.MLPClasifier  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        from chainrule import nonsense  # noqa: F401


@pytest.mark.parametrize(
    "room",
    [
        "estimators",
        "explain",
        "exports",
        "health",
        "train",
        "nn",
        "tape",
        "functions",
        "optim",
        "execution",
        "plan",
    ],
)
def test_every_name_of_a_room_resolves(room):
    module = importlib.import_module(f"chainrule.{room}")
    for name in module.__all__:
        assert getattr(module, name) is not None


def modules_after(statement):
    """Which of the heavy packages a fresh interpreter has imported after a statement."""
    code = (
        f"import sys, json; sys.path.insert(0, {SOURCE!r}); {statement}; "
        "heavy = ['numba', 'sklearn', 'pandas', 'scipy', 'matplotlib', 'torch', 'jax', 'rich', 'numpy']; "
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_the_package_imports_nothing_heavy():
    assert modules_after("import chainrule") == set()
    assert modules_after("import chainrule; chainrule.__version__; dir(chainrule)") == set()


def test_the_textbook_needs_no_compiler():
    assert "numba" not in modules_after("from chainrule import backprop, nn, optim, functions")


def test_estimators_leave_other_frameworks_alone():
    loaded = modules_after("import chainrule; chainrule.MLPClassifier")
    assert {"torch", "jax", "matplotlib"}.isdisjoint(loaded)
    assert "sklearn" in loaded  # the probe sees what is there


def test_star_import_gives_all():
    namespace = {}
    exec("from chainrule import *", namespace)
    assert set(chainrule.__all__) <= set(namespace)
