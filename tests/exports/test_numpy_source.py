import ast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from sklearn.exceptions import NotFittedError
from tests.exports.models import DTYPES, KINDS, RECORDS, X, every_kind, fitted, random_networks
from tests.exports.running import functions_of, in_a_subprocess
from tests.strategies import deterministic

import chainrule
from chainrule import nn
from chainrule.estimators import Perceptron, TabularClassifier
from chainrule.estimators.tables import TablePreprocessor
from chainrule.exports.numpy_expressions import EXPRESSIONS, HELPERS
from chainrule.exports.numpy_source import to_numpy_source
from chainrule.functions import ACTIVATIONS
from chainrule.io import SavedModel

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}


def test_every_activation_has_an_expression():
    assert set(EXPRESSIONS) == set(ACTIVATIONS)
    assert {helper for one in EXPRESSIONS.values() for helper in one.helpers} <= set(HELPERS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("record", RECORDS)
def test_expressions_equal_the_records(record, dtype):
    alpha = ACTIVATIONS[record].alpha and 0.3
    network = nn.activation_module(record, alpha)
    z = np.concatenate([np.linspace(-30, 30, 601), [0.0, -1e4, 1e4]]).astype(dtype)[:, None]
    h = functions_of(to_numpy_source(network, n_inputs=1))["predict"](z.astype(np.float32))
    assert h.dtype == np.float32  # a network without parameters computes in single precision
    np.testing.assert_allclose(h, network(z.astype(np.float32)), rtol=2e-6, atol=1e-6)
    # With a layer in front that changes nothing the dtype is that of the layer.
    one = nn.Linear(1, 1, bias=False, dtype=dtype)
    one.weight = [[1.0]]
    h = functions_of(to_numpy_source(nn.Sequential(one, network)))["predict"](z)
    assert h.dtype == dtype
    scale = TOLERANCE[np.dtype(dtype)]
    np.testing.assert_allclose(h, network(z), rtol=scale, atol=scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layer_where_the_library_is_not_there(dtype, tmp_path):
    network = every_kind(dtype, "gelu")
    x = X.astype(dtype)
    y, kind, _, foreign = in_a_subprocess(to_numpy_source(network), x, tmp_path)
    assert (kind, foreign) == (np.dtype(dtype).name, [])
    np.testing.assert_allclose(y, network(x), rtol=0, atol=TOLERANCE[np.dtype(dtype)])


@settings(deterministic, max_examples=60)
@given(random_networks())
def test_random_networks(case):
    network, x = case
    y = functions_of(to_numpy_source(network, x.shape[1]))["predict"](x)
    expected = network(x)
    assert y.shape == expected.shape
    tolerance = TOLERANCE[x.dtype]
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_estimators(kind, dtype, tmp_path):
    estimator = fitted(kind, dtype)
    y, _, p, foreign = in_a_subprocess(to_numpy_source(estimator), X, tmp_path)
    assert foreign == []
    expected = estimator.predict(X)
    tolerance = TOLERANCE[np.dtype(dtype)]
    if hasattr(estimator, "predict_proba"):
        assert y == expected.tolist()
        np.testing.assert_allclose(p, estimator.predict_proba(X), rtol=0, atol=tolerance)
    else:
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
        assert p is None


def test_raw_numbers_with_gaps():
    table = pd.DataFrame(X * [1, 10, 100, 1e9] + 5, columns=["a", 'quo"""te', "back\\slash", "new\nline"])
    table.iloc[::5, 1] = np.nan
    preprocessor = TablePreprocessor().fit(table)
    estimator = fitted("regressor")
    saved = SavedModel(estimator, preprocessor)
    source = to_numpy_source(saved)
    np.testing.assert_allclose(
        functions_of(source)["predict"](table.to_numpy()), saved.predict(table), rtol=1e-12
    )
    assert "0: 'a'" in ast.get_docstring(ast.parse(source))
    plain = SavedModel(estimator)
    assert to_numpy_source(plain) == to_numpy_source(estimator)


def test_the_text_reads_like_the_chapter():
    source = to_numpy_source(every_kind(np.float32))
    assert "z = X @ W1.T + b1" in source
    assert "np.maximum(" in source
    assert "W2 = np.array([\n    [" in source  # 36 numbers are written out
    assert "h = h\n" not in source
    long = to_numpy_source(nn.Linear(20, 20))
    assert "import base64" in long
    assert "b1 = np.array([" in long
    assert "base64" not in source
    assert max(map(len, long.splitlines())) < 1000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_inputs", [4, 400])
def test_weights_keep_every_bit(dtype, n_inputs):
    rng = np.random.default_rng(8)
    network = nn.Linear(n_inputs, 12, dtype=dtype)
    network.weight = rng.normal(size=(12, n_inputs)) * 10.0 ** rng.integers(-30, 30, (12, n_inputs))
    space = functions_of(to_numpy_source(network))
    np.testing.assert_array_equal(space["W1"], network.state_dict()["weight"])
    np.testing.assert_array_equal(space["b1"], network.state_dict()["bias"])


def test_the_input_is_checked():
    predict = functions_of(to_numpy_source(nn.Linear(2, 1)))["predict"]
    with pytest.raises(ValueError, match=r"X must have shape \(n, 2\); got \(3,\)"):
        predict(np.zeros(3))
    assert predict(np.zeros((0, 2))).shape == (0, 1)


def test_the_model_stays_as_it_is():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 1)).requires_grad_(False)
    source = to_numpy_source(network)
    assert network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    x = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(functions_of(source)["predict"](x), network.eval()(x), atol=1e-6)


class Squared(nn.Module):
    def forward(self, x):
        return x * x


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (nn.Sequential(nn.Linear(2, 2), Squared()), TypeError, r"Squared \(1\)"),
        (3, TypeError, "model must be a chainrule.nn module, or a fitted .* got int"),
        (Perceptron(), TypeError, "got Perceptron"),
        (TabularClassifier(), NotFittedError, "TabularClassifier instance is not fitted"),
        (nn.ReLU(), ValueError, "n_inputs is needed"),
    ],
)
def test_what_cannot_be_exported(model, error, match):
    with pytest.raises(error, match=match):
        to_numpy_source(model)


def test_public_names():
    assert chainrule.to_numpy_source is to_numpy_source
