"""One network for each pair of classes, and their votes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.exports.running import functions_of, in_a_subprocess, outputs

from chainrule.estimators import MLPClassifier, OneVsOneMLPClassifier
from chainrule.exports import to_numpy_source, to_onnx

TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}


def voters(dtype, classes=10):
    """(classifier, X): too little training for ten digits, so that votes are often equal."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < classes] / 16, y[y < classes]
    network = MLPClassifier((4,), solver="lbfgs", max_iter=2, random_state=0, dtype=dtype)
    with pytest.warns():  # two steps are enough here
        return OneVsOneMLPClassifier(network).fit(X[:300], y[:300]), X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_votes(onnxruntime, dtype, tmp_path):
    classifier, X = voters(dtype)
    labels, decision = classifier.predict(X).tolist(), classifier.decision_function(X)
    votes = np.sort(np.round(decision), axis=1)
    assert (votes[:, -1] == votes[:, -2]).mean() > 0.05
    source = to_numpy_source(classifier)
    y, _, _, foreign = in_a_subprocess(source, X, tmp_path)
    assert (y, foreign) == (labels, [])
    found = functions_of(source)["decision_function"](X)
    np.testing.assert_allclose(found, decision, rtol=0, atol=TOLERANCE[np.dtype(dtype)])
    results = outputs(onnxruntime, to_onnx(classifier), X.astype(dtype))
    assert results["label"].tolist() == labels
    np.testing.assert_allclose(results["decision"], decision, rtol=0, atol=TOLERANCE[np.dtype(dtype)])


def test_votes_of_two_classes_are_one_network(onnxruntime):
    classifier, X = voters(np.float64, classes=2)
    labels = classifier.predict(X).tolist()
    assert functions_of(to_numpy_source(classifier))["predict"](X).tolist() == labels
    assert outputs(onnxruntime, to_onnx(classifier), X)["label"].tolist() == labels


def test_votes_of_pipelines_are_refused():
    X, y = load_iris(return_X_y=True)
    network = make_pipeline(
        StandardScaler(), MLPClassifier((3,), solver="lbfgs", max_iter=500, random_state=0)
    )
    classifier = OneVsOneMLPClassifier(network).fit(X, y)
    with pytest.raises(TypeError, match="must be made of MLPClassifiers; got Pipeline"):
        to_numpy_source(classifier)
