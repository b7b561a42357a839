import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from scipy import special
from tests.exports.models import DTYPES, KINDS, RECORDS, X, every_kind, fitted, random_networks
from tests.exports.running import outputs
from tests.strategies import deterministic

from chainrule import nn
from chainrule.estimators.tables import TablePreprocessor
from chainrule.exports.onnx_models import to_onnx
from chainrule.exports.onnx_network import OPERATION_NODES
from chainrule.exports.onnx_nodes import ACTIVATION_NODES
from chainrule.functions import ACTIVATIONS
from chainrule.io import SavedModel
from chainrule.plan import KINDS as OPERATIONS

TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}


def lacks_erf(model, x):
    """onnxruntime has no Erf in double precision: the one operator that it lacks."""
    return x.dtype == np.float64 and any(node.op_type == "Erf" for node in model.graph.node)


def by_definition(model, x):
    """The one output, by onnx's own evaluator, with an Erf that keeps double precision: its own does not."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class Erf(OpRun):
        op_domain = ""

        def _run(self, z):
            return (special.erf(z),)

    (y,) = ReferenceEvaluator(model, new_ops=[Erf]).run(None, {"X": x})
    return y


def test_the_tables_are_complete():
    assert set(ACTIVATION_NODES) == set(ACTIVATIONS)
    assert {*OPERATION_NODES, "dropout"} == set(OPERATIONS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("record", RECORDS)
def test_every_layer_and_activation(onnxruntime, record, dtype):
    network = every_kind(dtype, record)
    made = to_onnx(network)
    x = X.astype(dtype)
    if lacks_erf(made, x):
        assert record == "gelu"
        y = by_definition(made, x)
    else:
        y = outputs(onnxruntime, made, x)["output"]
    assert y.dtype == dtype
    np.testing.assert_allclose(y, network(x), rtol=0, atol=TOLERANCE[np.dtype(dtype)])


@pytest.mark.parametrize("record", [record for record in RECORDS if record != "gelu"])
def test_activations_in_their_tails(onnxruntime, record):
    one = nn.Linear(1, 1, bias=False, dtype=np.float64)
    one.weight = [[1.0]]
    alpha = ACTIVATIONS[record].alpha and 0.3
    network = nn.Sequential(one, nn.activation_module(record, alpha))
    z = np.linspace(-60, 60, 1201)[:, None]
    y = outputs(onnxruntime, to_onnx(network), z)["output"]
    np.testing.assert_allclose(y, network(z), rtol=1e-10, atol=1e-10)


@settings(deterministic, max_examples=60)
@given(random_networks())
def test_random_networks(case):
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    onnxruntime = pytest.importorskip("onnxruntime", reason="running ONNX models needs onnxruntime")
    network, x = case
    made = to_onnx(network, n_inputs=x.shape[1])
    if lacks_erf(made, x):
        network, x = network.to(np.float32), x.astype(np.float32)
        made = to_onnx(network, n_inputs=x.shape[1])
    expected = network(x)
    y = outputs(onnxruntime, made, x)["output"]
    assert y.shape == expected.shape
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(y, expected, rtol=0, atol=scale * TOLERANCE[x.dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_estimators(onnxruntime, kind, dtype):
    estimator = fitted(kind, dtype)
    made = to_onnx(estimator)
    results = outputs(onnxruntime, made, X.astype(dtype))
    assert {one.name for one in made.graph.initializer} <= {
        name for node in made.graph.node for name in node.input
    }
    expected = estimator.predict(X)
    tolerance = TOLERANCE[np.dtype(dtype)]
    if hasattr(estimator, "predict_proba"):
        assert list(results) == ["label", "probabilities"]
        assert results["label"].tolist() == expected.tolist()
        np.testing.assert_allclose(results["probabilities"], estimator.predict_proba(X), atol=tolerance)
    else:
        assert list(results) == ["prediction"]
        assert results["prediction"].shape == expected.shape
        np.testing.assert_allclose(results["prediction"], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_raw_numbers_with_gaps(onnxruntime, dtype):
    table = pd.DataFrame(X * [1, 10, 100, 1e9] + [0, 5, 0, 1e12], columns=list("abcd"))
    table.iloc[::5, 1] = np.nan
    table.iloc[::7, 3] = np.nan
    saved = SavedModel(fitted("regressor", dtype), TablePreprocessor().fit(table))
    made = to_onnx(saved)
    assert {one.key: one.value for one in made.metadata_props}["column_3"] == "d"
    y = outputs(onnxruntime, made, table.to_numpy())["prediction"]
    np.testing.assert_allclose(y, saved.predict(table), rtol=TOLERANCE[np.dtype(dtype)])


def test_in_another_precision(onnxruntime):
    estimator = fitted("regressor", np.float64)
    y = outputs(onnxruntime, to_onnx(estimator, dtype=np.float32), X.astype(np.float32))["prediction"]
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, estimator.predict(X), rtol=1e-5)
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got int64"):
        to_onnx(estimator, dtype=int)


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    onnx = pytest.importorskip("onnx", reason="ONNX models need onnx")
    path = tmp_path / "network.onnx"
    made = to_onnx(nn.Linear(2, 1, rng=0), path)
    assert onnx.load(path) == made
    assert made.opset_import[0].version >= 17
    before = path.read_bytes()
    with pytest.raises(ValueError, match="n_inputs is needed"):
        to_onnx(nn.ReLU(), path)
    assert path.read_bytes() == before
    assert to_onnx(nn.Linear(2, 1, rng=0)) == made
    with pytest.raises(OSError, match="nowhere"):
        to_onnx(nn.Linear(2, 1), tmp_path / "nowhere" / "network.onnx")
    assert list(tmp_path.iterdir()) == [path]


def test_labels_that_onnx_cannot_store():
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    classifier = fitted("binary")
    classifier.classes_ = np.array([None, "yes"], dtype=object)
    with pytest.raises(ValueError, match="labels must be text, numbers or truth values"):
        to_onnx(classifier)


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"chainrule\[onnx\]"):
        to_onnx(nn.Linear(2, 1))
