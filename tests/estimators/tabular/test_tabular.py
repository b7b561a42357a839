"""The tabular estimators: tables of every kind in, calibrated and reproducible predictions out."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.inspection import partial_dependence
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import QuantileTransformer

from chainrule.estimators import TabularClassifier, TabularRegressor
from chainrule.estimators.frames import as_column, as_frame
from chainrule.estimators.tabular.state import from_tabular_state, to_tabular_state
from chainrule.estimators.tabular.targets import fitted_temperature, learned_target, restored, transformed
from chainrule.functions.losses import softmax

QUICK = {"ensemble": 2, "width": 16, "depth": 1, "max_epochs": 30, "learning_rate": 0.01, "random_state": 0}


def orders(n=300, seed=0):
    """A table with a column of each kind, with gaps, and a class and a number to predict."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(sigma=1, size=n)
    shop = rng.choice(["north", "south", "east"], n)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    member = rng.random(n) < 0.5
    score = np.log(price) + (shop == "north") + member - 1 + np.sin(2 * np.pi * day.day_of_year / 365.25)
    frame = pd.DataFrame(
        {
            "price": np.where(rng.random(n) < 0.1, np.nan, price),
            "shop": pd.Series(shop, dtype=object).where(rng.random(n) > 0.05, None),
            "day": day,
            "member": member,
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n)),
        }
    )
    return frame, np.where(score > 0, "sold", "left"), np.asarray(score)


@pytest.fixture(scope="module")
def fitted():
    frame, y, _ = orders()
    return TabularClassifier(**QUICK).fit(frame, y)


@pytest.fixture(scope="module")
def fitted_regressor():
    frame, _, y = orders()
    return TabularRegressor(**QUICK).fit(frame, y)


# -- what comes in ---------------------------------------------------------------------------------------


def test_learns_from_every_kind_of_column(fitted, fitted_regressor):
    frame, classes, numbers = orders(seed=1)
    assert fitted.score(frame, classes) > 0.85
    assert fitted_regressor.score(frame, numbers) > 0.75
    assert fitted.encoder_.kinds_ == {
        "price": "numeric", "shop": "categorical", "day": "date", "member": "boolean", "size": "categorical",
    }  # fmt: skip


def tables(library):
    frame, y, _ = orders()
    module = pytest.importorskip(library)
    if library == "polars":
        columns = {name: frame[name].tolist() for name in frame if name not in ("price", "day")}
        price = [None if np.isnan(value) else value for value in frame["price"]]
        days = [day.to_pydatetime() for day in frame["day"]]
        table = module.DataFrame({"price": price, "shop": columns["shop"], "day": days, **columns})
        return table, module.Series(y)
    return module.Table.from_pandas(frame), module.array(y)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_a_table_of_another_library_is_the_same_table(fitted, library):
    table, y = tables(library)
    frame, _, _ = orders()
    network = TabularClassifier(**QUICK).fit(table, y)
    np.testing.assert_array_equal(network.predict_proba(table), fitted.predict_proba(frame))
    np.testing.assert_array_equal(network.predict_proba(frame), fitted.predict_proba(table))
    assert network.encoder_.kinds_ == fitted.encoder_.kinds_


def test_a_lazy_polars_table_is_collected():
    polars = pytest.importorskip("polars")
    lazy = polars.LazyFrame({"a": [1, 2, None], "b": ["x", None, "y"]})
    frame = as_frame(lazy)
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].isna().tolist() == [False, False, True]
    assert frame["b"].isna().tolist() == [False, True, False]


def test_a_lazy_table_s_columns_are_found_by_name_too():
    polars = pytest.importorskip("polars")
    x = np.linspace(-1, 1, 60)
    table = polars.DataFrame({"x": x, "noise": x[::-1] ** 2})
    network = TabularRegressor(**QUICK).fit(table, x)
    expected = network.predict(table)
    np.testing.assert_array_equal(network.predict(table.lazy().select("noise", "x")), expected)


def test_arrays_have_columns_by_their_place():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X[:, 0] > 0
    network = TabularClassifier(**QUICK).fit(X, y)
    assert network.score(X, y) > 0.9
    mixed = [[1.0, "a"], [2.0, "b"], [3.0, "a"], [4.0, None]] * 10
    from_lists = TabularRegressor(**QUICK).fit(mixed, np.arange(40.0))
    assert from_lists.encoder_.kinds_ == {"x0": "numeric", "x1": "categorical"}
    with pytest.raises(ValueError, match="X has 2 features, but TabularClassifier is expecting 3 features"):
        network.predict(X[:, :2])


def test_columns_are_found_by_name(fitted):
    frame, _, _ = orders(seed=1)
    shuffled = frame[frame.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(fitted.predict_proba(shuffled), fitted.predict_proba(frame))
    with pytest.raises(ValueError, match="the table lacks column 'price', seen in training"):
        fitted.predict(frame.drop(columns="price"))


def test_what_was_never_seen_does_no_harm(fitted):
    frame, _, _ = orders(n=5, seed=2)
    strange = frame.assign(price=np.nan, shop="moon", day=pd.NaT, size=None, member=None)
    probabilities = fitted.predict_proba(strange)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_column_of_many_categories_is_learned():
    rng = np.random.default_rng(0)
    who = rng.integers(0, 150, 4000)
    effect = rng.normal(size=150)
    frame = pd.DataFrame({"who": [f"person {i}" for i in who], "noise": rng.normal(size=4000)})
    network = TabularRegressor(**QUICK | {"max_categories": 120, "rare": 0.001}).fit(
        frame[:3000], effect[who[:3000]]
    )
    assert network.score(frame[3000:], effect[who[3000:]]) > 0.7
    assert "who rare" in network.encoder_.feature_names_out


# -- what comes out --------------------------------------------------------------------------------------


def test_probabilities_are_the_mean_over_the_networks(fitted):
    frame, _, _ = orders(seed=1)
    each = [softmax(z.astype(float) / fitted.temperature_) for z in fitted._outputs(frame)]
    assert len(each) == 2
    np.testing.assert_allclose(fitted.predict_proba(frame), np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(
        fitted.predict(frame), fitted.classes_[fitted.predict_proba(frame).argmax(axis=1)]
    )


def test_one_seed_one_result_whatever_the_threads(fitted):
    frame, y, _ = orders()
    again = clone(fitted).set_params(n_jobs=1).fit(frame, y)
    np.testing.assert_array_equal(again.predict_proba(frame), fitted.predict_proba(frame))
    other = clone(fitted).set_params(random_state=1).fit(frame, y)
    assert (other.predict_proba(frame) != fitted.predict_proba(frame)).any()


def test_every_network_holds_out_rows_of_its_own(fitted):
    _, y, _ = orders()
    targets = np.unique(y, return_inverse=True)[1]
    splits = [fitted._split(targets, seed) for seed in (0, 1)]
    for learned_from, held_out in splits:
        assert len(held_out) == 45
        assert sorted([*learned_from, *held_out]) == list(range(300))
        assert targets[held_out].mean() == pytest.approx(targets.mean(), abs=0.02)  # in the same shares
    assert set(splits[0][1]) != set(splits[1][1])
    assert fitted._split(targets[:40], 0)[1] is None


def test_temperature_has_the_least_loss_on_a_fine_grid(rng):
    z = 3 * rng.normal(size=(500, 4))
    y = (softmax(z / 2).cumsum(axis=1) < rng.random((500, 1))).sum(axis=1)
    found = fitted_temperature([(z[:200], y[:200]), (z[200:], y[200:])])
    grid = np.geomspace(0.1, 10, 2000)
    losses = [log_loss(y, softmax(z / temperature), labels=range(4)) for temperature in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    assert fitted_temperature([]) == 1.0


def test_temperature_does_not_run_away_where_every_row_is_predicted_right():
    z = np.array([[4.0, 0.0], [0.0, 4.0]] * 20)
    found = fitted_temperature([(z, np.array([0, 1] * 20))])
    # The odds of right against wrong, e^(4/T), are those of n + ½ rows against half a row.
    assert found == pytest.approx(4 / np.log(40.5 / 0.5), rel=1e-3)


def test_temperature_calibrates_an_overconfident_network(rng):
    X = rng.normal(size=(600, 10))
    y = (X[:, 0] + 2 * rng.normal(size=600) > 0).astype(int)
    settings = QUICK | {"learning_rate": 0.03, "patience": 1000, "max_epochs": 100, "width": 64}
    network = TabularClassifier(**settings).fit(X[:300], y[:300])
    calibrated = log_loss(y[300:], network.predict_proba(X[300:]))
    network.temperature_, fitted = 1.0, network.temperature_
    assert fitted > 1.05
    assert calibrated < log_loss(y[300:], network.predict_proba(X[300:]))


def test_class_weights_and_sample_weights(rng):
    X = rng.normal(size=(600, 2))
    y = (X[:, 0] + rng.normal(size=600) > 1.5).astype(int)
    plain, balanced = (TabularClassifier(**QUICK, class_weight=one).fit(X, y) for one in (None, "balanced"))
    assert balanced.predict(X).mean() > 2 * plain.predict(X).mean()
    weights = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    weighted = TabularClassifier(**QUICK).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(weighted.predict_proba(X), balanced.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("transform", ["standard", "log", "rank"])
def test_target_transforms(transform, rng):
    y = rng.lognormal(sigma=1, size=1000)
    known = learned_target(y, transform)
    z = transformed(y, known)
    assert z.mean() == pytest.approx(0, abs=0.05)
    assert z.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(restored(z, known), y, rtol=1e-9 if transform != "rank" else 0.2)
    if transform == "rank":
        theirs = QuantileTransformer(n_quantiles=200, output_distribution="normal")
        inner = (y > np.quantile(y, 0.02)) & (y < np.quantile(y, 0.98))
        np.testing.assert_allclose(z[inner], theirs.fit_transform(y[:, None])[inner, 0], atol=0.05)


def test_a_target_of_exponentials_is_learned_by_its_logarithm():
    frame, _, score = orders(600)
    y = np.exp(2 * score)
    network = TabularRegressor(**QUICK, target_transform="log").fit(frame[:400], y[:400])
    predicted = network.predict(frame[400:])
    assert predicted.min() >= 0
    error = np.abs(np.log1p(predicted) - np.log1p(y[400:]))
    assert np.median(error) < 0.5


def test_importances_put_the_columns_that_matter_first(fitted):
    frame, y, _ = orders(seed=1)
    importances = fitted.feature_importances(frame, y)
    assert importances.index[0] == "price"
    assert importances["size"] < 0.03 < importances["price"]


def test_partial_dependence_is_scikit_learns(fitted_regressor):
    frame = orders(seed=1)[0].dropna()
    found = partial_dependence(fitted_regressor, frame, ["price"], kind="average", grid_resolution=5)
    average = found["average"][0]
    assert (np.diff(average) > 0).all()
    grid = found["grid_values"][0]
    by_hand = [fitted_regressor.predict(frame.assign(price=value)).mean() for value in grid]
    np.testing.assert_allclose(average, by_hand, rtol=1e-6)


def test_works_in_cross_validation():
    frame, y, _ = orders()
    assert cross_val_score(TabularClassifier(**QUICK), frame, y, cv=3).mean() > 0.8


def test_curves_and_stopping(fitted):
    assert len(fitted.histories_) == 2
    assert fitted.loss_curve_[0] > fitted.loss_curve_[-1]
    assert len(fitted.validation_loss_curve_) == len(fitted.loss_curve_)
    frame, y, _ = orders(40)
    small = TabularClassifier(**QUICK).fit(frame, y)
    assert small.validation_loss_curve_ == []
    assert small.temperature_ == 1.0


def test_batch_normalisation_in_every_other_network(fitted):
    kinds = [[type(layer).__name__ for layer in network] for network in fitted.networks_]
    assert ["BatchNorm1d" in names for names in kinds] == [True, False]


# -- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["classifier", "regressor"])
def test_state_survives_json_bit_for_bit(which, fitted, fitted_regressor):
    estimator = fitted if which == "classifier" else fitted_regressor
    frame, _, _ = orders(seed=1)
    state, arrays = to_tabular_state(estimator)
    again = from_tabular_state(type(estimator), json.loads(json.dumps(state)), arrays)
    np.testing.assert_array_equal(again.predict(frame), estimator.predict(frame))
    assert again.get_params() == estimator.get_params()
    assert again.loss_curve_ == estimator.loss_curve_
    assert to_tabular_state(again)[0] == state


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s, a: a.pop("0.0.weight"), "weights; the file has"),
        (lambda s, a: a.update(more=np.zeros(3)), "arrays of no network: more"),
        (lambda s, a: s.update(temperature=-1.0), "temperature must be a positive number; got -1.0"),
        (lambda s, a: s.update(n_networks=3), "there must be 2 networks; got 3"),
        (lambda s, a: s["parameters"].update(width=10**9), "the networks have .* weights; the file has"),
        (lambda s, a: s["parameters"].update(width="wide"), "'width' parameter"),
        (lambda s, a: s["arrays"]["classes_"].update(dtype="<M8[s]"), "cannot be of dtype '<M8"),
    ],
)
def test_a_wrong_state_is_refused(damage, message, fitted):
    state, arrays = to_tabular_state(fitted)
    state = json.loads(json.dumps(state))
    damage(state, arrays)
    with pytest.raises((ValueError, KeyError), match=message):
        from_tabular_state(TabularClassifier, state, arrays)


def test_text_is_as_long_as_it_is_whatever_a_file_says(fitted):
    state, arrays = to_tabular_state(fitted)
    state = json.loads(json.dumps(state))
    state["arrays"]["classes_"]["dtype"] = "<U500000000"
    again = from_tabular_state(TabularClassifier, state, arrays)
    assert again.classes_.nbytes < 1000
    assert again.classes_.tolist() == fitted.classes_.tolist()


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y: (f.assign(price=np.nan), y), "no value in any row of column 'price'"),
        (
            lambda f, y: (f.assign(price=np.inf), y),
            "column 'price' must hold finite numbers, got inf in row 0",
        ),
        (lambda f, y: (f, np.full(len(f), "same")), "y has one class only, 'same'"),
        (
            lambda f, y: (f, np.arange(len(f)).astype(str)),
            "300 different values in 300 rows: it names the rows",
        ),
        (lambda f, y: (f, y[:-1]), "inconsistent numbers of samples"),
        (lambda f, y: (f, [None, *y[1:]]), "Input y contains NaN"),
        (lambda f, y: (f[["price", "price"]], y), "(more than one|unique) column nam"),
        (lambda f, y: (f.iloc[:0], y[:0]), "minimum of 2 samples"),
    ],
)
def test_fit_names_what_is_wrong(change, message):
    frame, y, _ = orders()
    with pytest.raises(ValueError, match=message):
        TabularClassifier(**QUICK).fit(*change(frame, y))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1.0, np.nan, 2.0], "Input y contains NaN"),
        ([1.0, np.inf, 2.0], "Input y contains infinity"),
        (["1", "x", "2"], "x"),
    ],
)
def test_a_regressor_names_what_is_wrong_with_its_target(y, message):
    with pytest.raises(ValueError, match=message):
        TabularRegressor(**QUICK).fit([[1.0], [2.0], [3.0]], np.array(y, dtype=object))


def test_the_logarithm_needs_targets_that_are_not_negative():
    with pytest.raises(
        ValueError, match="target_transform='log' needs targets of 0 or more; the least is -1"
    ):
        TabularRegressor(**QUICK, target_transform="log").fit([[1.0], [2.0]], [-1.0, 2.0])


def test_a_sparse_matrix_is_refused_with_a_way_out():
    from scipy import sparse

    with pytest.raises(TypeError, match=r"X is a sparse matrix, .* give X.toarray\(\)"):
        as_frame(sparse.eye_array(3))


def test_targets_of_any_library():
    assert as_column([1, 2]) == [1, 2]
    assert as_column(pd.Series([1])).tolist() == [1]
