"""The pairwise ensemble votes as scikit-learn's does."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.multiclass import OneVsOneClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule import MLPClassifier, OneVsOneMLPClassifier, cross_validate_many

RNG = np.random.default_rng(2)
CLASSES = np.array(["ant", "bee", "cat", "dog"])
NUMBERS = RNG.integers(0, 4, 120)
X = RNG.normal(size=(120, 3)) + 3 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, 0]])[NUMBERS]
Y = CLASSES[NUMBERS]
NETWORK = MLPClassifier((8,), max_iter=20, learning_rate_init=0.03, random_state=0)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    "network",
    [
        NETWORK,
        MLPClassifier((8,), solver="lbfgs", max_iter=10, random_state=1, dtype="float32"),
        make_pipeline(StandardScaler(), clone(NETWORK)),
        clone(NETWORK).set_params(random_state=np.random.RandomState(4)),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_jobs", [1, 2, None])
def test_the_decision_is_scikit_learns(network, sparse, n_jobs):
    if sparse and hasattr(network, "steps"):
        network = make_pipeline(StandardScaler(with_mean=False), clone(NETWORK))
    data = scipy.sparse.csr_matrix(X) if sparse else X
    expected = OneVsOneClassifier(clone(network)).fit(data, Y)
    found = OneVsOneMLPClassifier(network, n_jobs=n_jobs).fit(data, Y)
    np.testing.assert_array_equal(found.decision_function(data), expected.decision_function(data))
    np.testing.assert_array_equal(found.predict(data), expected.predict(data))
    assert found.decision_function(data).shape == (120, 4)
    assert (found.n_classes_, found.n_features_in_, len(found.estimators_)) == (4, 3, 6)
    np.testing.assert_array_equal(found.classes_, CLASSES)
    assert found.score(data, Y) > 0.7


def test_two_classes_have_a_decision_with_a_sign():
    two = NUMBERS < 2
    expected = OneVsOneClassifier(NETWORK).fit(X[two], Y[two])
    found = OneVsOneMLPClassifier(NETWORK).fit(X[two], Y[two])
    decision = found.decision_function(X)
    np.testing.assert_array_equal(decision, expected.decision_function(X) - 0.5)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    np.testing.assert_array_equal(found.predict(X) == "bee", decision > 0)
    assert {"ant", "bee"} == set(found.predict(X))


def test_a_seed_of_its_own_for_each_pair():
    models = [OneVsOneMLPClassifier(clone(NETWORK), random_state=7, n_jobs=n).fit(X, Y) for n in (1, 2, 2)]
    decisions = {model.decision_function(X).tobytes() for model in models}
    assert len(decisions) == 1
    assert len({one.random_state for one in models[0].estimators_}) == 6
    assert (
        OneVsOneMLPClassifier(NETWORK, random_state=8).fit(X, Y).decision_function(X).tobytes()
        not in decisions
    )
    pipeline = OneVsOneMLPClassifier(make_pipeline(StandardScaler(), clone(NETWORK)), random_state=7).fit(
        X, Y
    )
    assert len({one[-1].random_state for one in pipeline.estimators_}) == 6
    kept = OneVsOneMLPClassifier(NETWORK).fit(X, Y)
    assert {one.random_state for one in kept.estimators_} == {0}


def test_sample_weights_go_to_every_pair():
    weights = RNG.random(120) + 0.1
    found = OneVsOneMLPClassifier(NETWORK).fit(X, Y, sample_weight=weights)
    rows = np.isin(NUMBERS, [1, 3])  # the fifth of (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)
    alone = clone(NETWORK).fit(X[rows], (NUMBERS[rows] == 3).astype(int), sample_weight=weights[rows])
    for a, b in zip(found.estimators_[4].coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_default_is_a_network_as_it_comes():
    model = OneVsOneMLPClassifier(random_state=0).fit(X, Y)
    assert [type(one) for one in model.estimators_] == [MLPClassifier] * 6
    assert model.estimators_[0].get_params() | {"random_state": None} == MLPClassifier().get_params()
    assert model.estimator is None


def test_it_is_validated_and_kept_like_any_other():
    model = OneVsOneMLPClassifier(NETWORK)
    scores = cross_val_score(model, X, Y, cv=3)
    # Here its networks are trained one after the other, since the folds are side by side.
    np.testing.assert_array_equal(cross_validate_many(model, X, Y, cv=3)["test_score"], scores)
    model.fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))
    assert model.set_params(estimator__max_iter=3).fit(X, Y).estimators_[0].n_iter_ == 3


def test_any_classifier_with_probabilities_will_do():
    found = OneVsOneMLPClassifier(LogisticRegression()).fit(X, Y)
    assert found.score(X, Y) > 0.7


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="y must have at least two classes; it has one class"):
        OneVsOneMLPClassifier(NETWORK).fit(X, np.zeros(120))
    with pytest.raises(ValueError, match="The 'activation' parameter of MLPClassifier") as raised:
        OneVsOneMLPClassifier(MLPClassifier(activation="none"), n_jobs=1).fit(X, Y)
    # The largest pair's comes first.
    assert raised.value.__notes__ == ["in the network for the classes bee and cat"]
    with pytest.raises(ValueError, match="Input contains NaN|Input X contains NaN"):
        OneVsOneMLPClassifier(NETWORK).fit(np.where(X > 2, np.nan, X), Y)
    with pytest.raises(ValueError, match="The 'estimator' parameter of OneVsOneMLPClassifier"):
        OneVsOneMLPClassifier("network").fit(X, Y)
    model = OneVsOneMLPClassifier(NETWORK).fit(X, Y)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((1, 3), np.nan))
