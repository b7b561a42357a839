"""``coefs_`` and ``intercepts_`` are what the model is: lists that can be read, written and replaced."""

import copy
import pickle

import numpy as np
import pytest
import sklearn.neural_network

from chainrule.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0}


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(30, 3))


@pytest.fixture
def y(X):
    return (X.sum(axis=1) > 0).astype(int) + (X[:, 0] > 1)


@pytest.fixture
def model(X, y):
    return MLPClassifier(**SETTINGS).fit(X, y)


def by_hand(model, X):
    """The probabilities that the lists describe, in NumPy."""
    h = X
    for coef, intercept in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        h = np.maximum(h @ coef + intercept, 0)
    z = h @ model.coefs_[-1] + model.intercepts_[-1]
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def test_they_are_lists_of_scikit_learns_shapes(model):
    assert type(model.coefs_) is list
    assert type(model.intercepts_) is list
    assert [coef.shape for coef in model.coefs_] == [(3, 5), (5, 4), (4, 3)]
    assert [intercept.shape for intercept in model.intercepts_] == [(5,), (4,), (3,)]
    assert all(coef.flags.writeable for coef in model.coefs_)


def test_predictions_are_what_they_say(model, X):
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def edit_in_place(model):
    model.coefs_[1][2, 3] += 5.0
    model.intercepts_[0][:] = 1.0


def replace_an_entry(model):
    model.coefs_[0] = np.arange(15.0).reshape(3, 5) / 10 - 0.5
    model.intercepts_[2] = [3.0, 2.0, 1.0]


def replace_a_list(model):
    model.coefs_ = [0.5 * coef for coef in model.coefs_]
    model.intercepts_ = tuple(intercept + 1 for intercept in model.intercepts_)


def arithmetic(model):
    for coef in model.coefs_:
        coef *= -2


def twice(model):
    replace_an_entry(model)
    model.coefs_[0][0, 0] = 7.0  # the user's own array now
    edit_in_place(model)


EDITS = [edit_in_place, replace_an_entry, replace_a_list, arithmetic, twice]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_predictions(model, X, edit):
    before = model.predict_proba(X)
    edit(model)
    after = model.predict_proba(X)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, by_hand(model, X), rtol=1e-12)
    np.testing.assert_array_equal(after, model.predict_proba(X))


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_copies_keep_edits_and_can_be_edited(model, X, edit, duplicate):
    edit(model)
    before = model.predict_proba(X)
    twin = duplicate(model)
    np.testing.assert_allclose(twin.predict_proba(X), before, rtol=1e-12)
    edit_in_place(twin)
    np.testing.assert_allclose(twin.predict_proba(X), by_hand(twin, X), rtol=1e-12)
    assert np.abs(twin.predict_proba(X) - before).max() > 0.01
    np.testing.assert_array_equal(model.predict_proba(X), before)  # the original is left alone


@pytest.mark.parametrize("edit", EDITS)
def test_training_goes_on_from_an_edit_as_in_scikit_learn(X, y, edit):
    results = []
    for kind in (MLPClassifier, sklearn.neural_network.MLPClassifier):
        model = kind(**SETTINGS)
        for _ in range(2):
            model.partial_fit(X, y, classes=[0, 1, 2])
        edit(model)
        if kind is not MLPClassifier:  # scikit-learn's own lists must hold arrays, and be lists
            model.intercepts_ = [np.asarray(intercept) for intercept in model.intercepts_]
        for _ in range(3):
            model.partial_fit(X, y)
        results.append(model)
    for ours, theirs in zip(results[0].coefs_, results[1].coefs_, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[0].predict_proba(X), results[1].predict_proba(X), rtol=1e-9)


def test_entries_are_live_after_partial_fit(model, X, y):
    entry = model.coefs_[0]
    kept = entry.copy()
    model.partial_fit(X, y)
    assert (model.coefs_[0] != kept).any()
    assert entry is model.coefs_[0] or np.shares_memory(entry, model.coefs_[0])
    edit_in_place(model)
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def test_entries_are_live_after_a_warm_start_from_replaced_arrays(X, y):
    model = MLPClassifier(**SETTINGS, warm_start=True).fit(X, y)
    replace_an_entry(model)
    mine = model.coefs_[0]
    kept = mine.copy()
    model.fit(X, y)
    np.testing.assert_array_equal(mine, kept)  # the user's array is not trained in place
    edit_in_place(model)
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def test_early_stopping_restores_into_the_lists(X, y):
    model = MLPClassifier(**{**SETTINGS, "max_iter": 30}, early_stopping=True, n_iter_no_change=2).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)
    edit_in_place(model)
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def test_with_batch_normalisation_edits_count_too(X, y):
    model = MLPClassifier(**SETTINGS, batch_norm=True).fit(X, y)
    module = model.to_module()
    np.testing.assert_allclose(np.log(model.predict_proba(X)).argmax(axis=1), module(X).argmax(axis=1))
    before = model.predict_proba(X)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict_proba(X), before)  # running statistics travel along
    twin.coefs_[2] = np.zeros((4, 3))
    twin.intercepts_[2][:] = np.log([0.5, 0.25, 0.25])
    np.testing.assert_allclose(twin.predict_proba(X), np.tile([0.5, 0.25, 0.25], (30, 1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "number", "value", "message"),
    [
        ("coefs_", 0, np.zeros((3, 6)), r"coefs_\[0\] must have shape \(3, 5\); got \(3, 6\)"),
        ("coefs_", 1, np.zeros((4, 5)), r"coefs_\[1\] must have shape \(5, 4\); got \(4, 5\)"),
        ("coefs_", 2, np.zeros(12), r"coefs_\[2\] must have shape \(4, 3\); got \(12,\)"),
        ("intercepts_", 0, np.zeros((5, 1)), r"intercepts_\[0\] must have shape \(5,\); got \(5, 1\)"),
        ("intercepts_", 2, 1.0, r"intercepts_\[2\] must have shape \(3,\); got \(\)"),
    ],
)
def test_a_wrong_shape_is_named(model, X, y, name, number, value, message):
    getattr(model, name)[number] = value
    with pytest.raises(ValueError, match=message):
        model.predict(X)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match=message):  # a copy says the same
        pickle.loads(pickle.dumps(model)).predict(X)


def test_a_network_of_other_widths_may_be_put_in(model, X):
    """As in scikit-learn, whose predictions look at the lists alone."""
    rng = np.random.default_rng(1)
    model.coefs_ = [rng.normal(size=(3, 7)), rng.normal(size=(7, 2)), rng.normal(size=(2, 3))]
    model.intercepts_ = [np.zeros(7), np.zeros(2), np.zeros(3)]
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def test_whole_numbers_and_nested_lists_are_taken(model, X):
    model.coefs_[1] = np.ones((5, 4), dtype=int).tolist()
    model.intercepts_[1] = [1, 2, 3, 4]
    np.testing.assert_allclose(model.predict_proba(X), by_hand(model, X), rtol=1e-12)


def test_a_missing_array_is_named(model, X):
    model.intercepts_.pop()
    with pytest.raises(ValueError, match="intercepts_ must have 3 arrays, one a layer; got 2"):
        model.predict(X)


def test_regressor_and_single_precision(X):
    model = MLPRegressor(**SETTINGS).fit(X.astype(np.float32), X[:, 0])
    assert {coef.dtype for coef in model.coefs_} == {np.dtype(np.float32)}
    model.coefs_[-1][:] = 0
    model.intercepts_[-1][:] = 2.5
    assert model.predict(X.astype(np.float32)).tolist() == [2.5] * 30
    assert model.predict(X.astype(np.float32)).dtype == np.float32
