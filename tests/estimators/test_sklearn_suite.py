"""scikit-learn's own test file for its perceptrons, run on ours: all 59 cases.

The file that ships in the installed package is executed with ``MLPClassifier`` and ``MLPRegressor``
taken from chainrule, under the warning filters that scikit-learn itself sets in its test run.
"""

import importlib.util
import sys
import types
from pathlib import Path

import pytest
import sklearn.neural_network
from sklearn.callback import ProgressBar  # noqa: F401 - a scikit-learn of 1.9 or later

import chainrule

EXPECTED_CASES = 59

# Warnings are for scikit-learn's tests to judge, as in its own configuration.
pytestmark = pytest.mark.filterwarnings("default")


def _load() -> types.ModuleType:
    """Execute scikit-learn's test file with our estimators under their names."""
    path = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
    spec = importlib.util.spec_from_file_location("chainrule_sklearn_test_mlp", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    theirs = {name: getattr(sklearn.neural_network, name) for name in ("MLPClassifier", "MLPRegressor")}
    try:
        for name in theirs:
            setattr(sklearn.neural_network, name, getattr(chainrule, name))
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        for name, original in theirs.items():
            setattr(sklearn.neural_network, name, original)
    return module


_suite = _load()
for _name, _value in vars(_suite).items():
    if _name.startswith("test_"):
        globals()[_name] = _value


@pytest.fixture
def global_random_seed():
    """scikit-learn's fixture, at its default seed."""
    return 42


def test_the_suite_runs_on_our_estimators():
    assert _suite.MLPClassifier is chainrule.MLPClassifier
    assert _suite.MLPRegressor is chainrule.MLPRegressor


def test_every_case_is_collected(request):
    here = [item for item in request.session.items if item.path == Path(__file__)]
    own = {"test_the_suite_runs_on_our_estimators", "test_every_case_is_collected"}
    cases = [item for item in here if item.originalname not in own]
    selected = request.config.option.keyword or request.config.option.markexpr
    if selected or any("::" in argument for argument in request.config.args):
        pytest.skip("only part of the file was asked for")
    assert len(cases) == EXPECTED_CASES
