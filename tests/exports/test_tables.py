"""Estimators of tables, and networks behind a `TablePreprocessor`: the raw numbers go in."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from tests.exports.models import fitted
from tests.exports.running import functions_of, in_a_subprocess, outputs

from chainrule.estimators import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
from chainrule.estimators.tables import TablePreprocessor
from chainrule.exports.numpy_source import to_numpy_source
from chainrule.exports.onnx_models import IR_VERSION, OPSET, to_onnx
from chainrule.exports.onnx_nodes import Graph
from chainrule.exports.tables import Curve
from chainrule.io import SavedModel, load_model, save_model

# Networks of single precision: of a probability, and of the range of the predictions. Behind a table MLPs
# compute in double precision, and ONNX Runtime's own exp and the like agree to fewer digits than NumPy's.
SINGLE, DOUBLE = 1e-6, {"numpy": 1e-12, "onnx": 1e-10}
QUICK = {"width": 24, "depth": 2, "max_epochs": 8, "random_state": 0}


def with_gaps(frame):
    """Every other column without a tenth of its values."""
    rng = np.random.default_rng(1)
    frame = frame.copy()
    for name in frame.columns[::2]:
        frame[name] = frame[name].mask(rng.random(len(frame)) < 0.1)
    return frame


def cancer():
    """Skewed numbers, between them a truth value with gaps; two classes with names."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    is_smooth = (X["mean smoothness"] < 0.1).astype(object)
    X = X.iloc[:, 3:21:2]
    X.insert(4, "is smooth", is_smooth)
    return with_gaps(X), np.where(y, "benign", "malignant")


def diabetes():
    """Ten numbers of which one is a truth value; no gaps in training."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X.assign(sex=X["sex"] > 0)[::4], y[::4]


def classifier(**settings):
    X, y = cancer()
    return TabularClassifier(**{**QUICK, **settings}).fit(X, y), X


def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    return TabularClassifier(ensemble=2, batch_norm=False, dropout=0, **QUICK).fit(X, y), X


def regressor(**settings):
    X, y = diabetes()
    return TabularRegressor(**QUICK, **settings).fit(X, y), X


def behind_a_table(kind, numbers):
    """An MLP, and the way from a table to it."""
    X, y = diabetes() if kind is MLPRegressor else cancer()
    table = TablePreprocessor(numbers=numbers).fit(X)
    extra = {"target_scaling": "standard"} if kind is MLPRegressor else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are enough here
        network = kind(hidden_layer_sizes=(16,), max_iter=10, random_state=0, **extra).fit(
            table.transform(X), y
        )
    return SavedModel(network, table), X


MODELS = {
    "an ensemble": lambda: classifier(ensemble=3),
    "one network": lambda: classifier(ensemble=1, class_weight="balanced"),
    "no hidden layer": lambda: classifier(ensemble=2, depth=0),
    "three classes": wine,
    "target": lambda: regressor(ensemble=3),
    "logarithm of a target": lambda: regressor(ensemble=2, target_transform="log"),
    "rank of a target": lambda: regressor(ensemble=3, target_transform="rank"),
    "one network's rank": lambda: regressor(ensemble=1, target_transform="rank"),
    "robust classes": lambda: behind_a_table(MLPClassifier, "robust"),
    "robust target": lambda: behind_a_table(MLPRegressor, "robust"),
    "standard classes": lambda: behind_a_table(MLPClassifier, "standard"),
    "standard target": lambda: behind_a_table(MLPRegressor, "standard"),
}


@cache
def model(name):
    """(model, its table, rows to predict)."""
    made, X = MODELS[name]()
    table = getattr(made, "preprocessor", None) or made.encoder_
    return made, table, hard_rows(table, X)


def hard_rows(table, X):
    """The training rows, which lie on knots of the ranks; rows far outside; gaps in every column."""
    known = X.astype(float)
    few = known.iloc[:40].reset_index(drop=True)
    yes_no = [name for name, kind in table.kinds_.items() if kind == "boolean"]
    far = [1e3, -1e9, 1e40] if table.numbers == "standard" else [1e3, -1e9, 1e200, -1e290, 1e-300]
    outside = [(few * factor).assign(**{name: few[name] for name in yes_no}) for factor in far]
    one_gap = few.head(X.shape[1]).mask(np.eye(X.shape[1], dtype=bool))
    knots = {one["name"]: one.get("knots", []) for one in table.to_dict()["columns"]}
    on_knots = pd.DataFrame({name: np.resize(knots[name] or known[name], 100) for name in X.columns})
    no_value = known.iloc[:1] * np.nan
    return pd.concat([known, *outside, one_gap, on_knots, no_value], ignore_index=True)


def agree(name, form, label_or_number, probabilities):
    made, _, rows = model(name)
    network = getattr(made, "estimator", made)
    is_double = isinstance(network, MLPClassifier | MLPRegressor)
    tolerance = DOUBLE[form] if is_double else SINGLE
    expected = made.predict(rows)
    if hasattr(network, "predict_proba"):
        assert list(label_or_number) == expected.tolist()
        np.testing.assert_allclose(probabilities, made.predict_proba(rows), rtol=0, atol=tolerance)
    else:
        assert np.shape(label_or_number) == expected.shape
        spread = np.ptp(expected[:100])  # of training rows: those far outside may be 1e40 times as large
        np.testing.assert_allclose(label_or_number, expected, rtol=tolerance, atol=tolerance * spread)


@pytest.mark.parametrize("name", MODELS)
def test_numpy_source_on_raw_numbers(name, tmp_path):
    made, _, rows = model(name)
    y, _, p, foreign = in_a_subprocess(to_numpy_source(made), rows.to_numpy(), tmp_path)
    assert foreign == []
    agree(name, "numpy", y, p)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_on_raw_numbers(onnxruntime, name):
    made, table, rows = model(name)
    graph = to_onnx(made)
    assert [one.value for one in graph.metadata_props] == list(table.kinds_)
    results = outputs(onnxruntime, graph, rows.to_numpy())
    y = results["label"] if "label" in results else results["prediction"]
    agree(name, "onnx", y, results.get("probabilities"))


@pytest.mark.parametrize("name", ["an ensemble", "rank of a target"])
def test_what_a_file_holds(name, tmp_path):
    made, _, _ = model(name)
    save_model(tmp_path / "model", made)
    loaded = load_model(tmp_path / "model")
    assert to_numpy_source(loaded) == to_numpy_source(loaded.estimator) == to_numpy_source(made)
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    assert to_onnx(loaded) == to_onnx(made)


def test_the_models_are_hard_enough():
    made, table, _ = model("an ensemble")
    names = set(table.feature_names_out)
    assert {"area error", "area error rank", "area error missing", "is smooth"} <= names
    assert made.temperature_ != 1.0
    assert {type(layer).__name__ for layer in made.networks_[0]} != {
        type(layer).__name__ for layer in made.networks_[1]
    }
    places = model("rank of a target")[0].target_["places"]
    assert len(set(places)) < len(places)  # lines that go straight up


CURVES = [
    ([0.0, 1.0, 4.0], [1.0, -1.0, 7.0]),
    ([-1.0, -1.0, 0.0, 0.5, 0.5, 0.5, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),  # jumps
    ([1.0, 1.0], [3.0, 4.0]),
    ([0.0], [5.0]),
    ([-1e300, 0.0, 1e-300, 1e300], [-1e12, 0.0, 1e-12, 1e12]),
]


@pytest.mark.parametrize(("x", "y"), CURVES)
def test_curves_are_those_of_numpy(onnxruntime, x, y):
    from onnx import TensorProto, helper

    graph = Graph(np.dtype(np.float64))
    graph.node("Identity", graph.on_curve("X", Curve.of(x, y), "curve"), output="Y")
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ("n", 1)) for name in "XY"]
    proto = helper.make_graph(graph.nodes, "curve", ends[:1], ends[1:], list(graph.initializers.values()))
    opset = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION)
    points = np.concatenate([x, np.nextafter(x, -np.inf), np.linspace(-3, 5, 81), [-1e305, 1e305, 0.3e300]])
    found = outputs(onnxruntime, made, points[:, None])["Y"][:, 0]
    np.testing.assert_allclose(found, np.interp(points, x, y), rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.inf, "X must hold finite numbers"),
        (-np.inf, "X must hold finite numbers"),
        (1e308, "X must hold finite numbers, not too large"),
    ],
)
def test_what_the_estimator_refuses_is_refused(value, message):
    made, _, rows = model("target")
    functions = functions_of(to_numpy_source(made))
    x = rows.to_numpy()[:3].copy()
    x[1, 0] = value
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=message):
        functions["predict"](x)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="column 'age'"):
        made.predict(pd.DataFrame(x, columns=rows.columns))
    x[1, 0], x[2, 1] = 0.0, 0.5
    with pytest.raises(ValueError, match=r"columns \[1\] of X must hold 0 or 1"):
        functions["predict"](x)
    assert functions["predict"](np.zeros((0, 10))).shape == (0,)


@pytest.mark.parametrize("numbers", ["its own", "standard", "robust"])
def test_numpy_source_on_categories(numbers, penguins, tmp_path):
    penguins = penguins.assign(
        year=penguins["year"].astype("category"), is_heavy=penguins["body_mass_g"] > 4000
    )
    X, y = penguins.drop(columns="species"), penguins["species"].to_numpy()
    assert X["sex"].isna().any()
    if numbers == "its own":
        made = TabularClassifier(ensemble=2, rare=0.34, **QUICK).fit(X, y)
        table = made.encoder_
    else:
        table = TablePreprocessor(numbers=numbers, rare=0.34).fit(X)
        network = MLPClassifier((8,), solver="lbfgs", max_iter=200, random_state=0).fit(table.transform(X), y)
        made = SavedModel(network, table)
    assert {"island=Dream", "sex missing", "year=2009", "year rare"} <= set(table.feature_names_out)
    rows = pd.concat([X, X.iloc[:20].assign(island="Ross", sex=np.nan, year=2030.0, bill_depth_mm=np.nan)])
    rows["year"] = rows["year"].astype(float)  # 2007.0 is the category 2007
    y, _, p, foreign = in_a_subprocess(to_numpy_source(made), rows.to_numpy(object), tmp_path)
    assert foreign == []
    assert y == made.predict(rows).tolist()
    tolerance = SINGLE if numbers == "its own" else DOUBLE["numpy"]
    np.testing.assert_allclose(p, made.predict_proba(rows), rtol=0, atol=tolerance)


@pytest.mark.parametrize("export", [to_numpy_source, to_onnx])
def test_other_columns_are_refused(export):
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    words = pd.DataFrame({"n": [1.0, 2.0, 4.0], "word": ["a", "b", "a"], "day": ["2024-02-29"] * 3})
    said = "only tables of numeric and boolean columns .* got 'word' .categorical., 'day' .date."
    if export is to_numpy_source:
        said = "only tables of numeric, boolean and categorical columns can be exported; got 'day' .date.$"
    with pytest.raises(ValueError, match=said):
        export(SavedModel(fitted("plain"), TablePreprocessor().fit(words)))
    with pytest.raises(ValueError, match=said):
        export(TabularRegressor(ensemble=1, depth=0, max_epochs=1).fit(words, [1.0, 2.0, 3.0]))
    numbers = TablePreprocessor().fit(words[["n"]])
    with pytest.raises(ValueError, match="TabularRegressor reads tables itself; got a preprocessor"):
        export(SavedModel(model("target")[0], numbers))


def test_in_another_precision(onnxruntime):
    made, _, rows = model("an ensemble")
    p = outputs(onnxruntime, to_onnx(made, dtype=np.float64), rows.to_numpy())["probabilities"]
    np.testing.assert_allclose(p, made.predict_proba(rows), rtol=0, atol=SINGLE)
