"""The tabular estimators on streams: what they learn, and that it is what they learn in memory."""

import numpy as np
import pandas as pd
import pytest

import chainrule
from chainrule.estimators import TabularClassifier, TabularRegressor
from chainrule.estimators.tabular import streams

SETTINGS = {
    "ensemble": 2,
    "width": 16,
    "depth": 1,
    "max_epochs": 25,
    "learning_rate": 0.01,
    "random_state": 0,
}


def table(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(10, 3, n), rng.choice(["red", "green", "blue"], n)
    kind = np.where((size > 10) == (colour == "red"), "apple", "plum")
    return pd.DataFrame({
        "size": np.where(rng.random(n) < 0.05, np.nan, size), "colour": colour, "kind": kind,
        "price": np.exp(size / 5) + (colour == "red"), "weight": rng.random(n),
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("pyarrow")
    for part in range(2):
        table(500, part).to_parquet(tmp_path / f"{part}.parquet", row_group_size=100)
    return tmp_path


COLUMNS = ["size", "colour"]


def test_classes(folder):
    rows = chainrule.stream(folder, target="kind", columns=COLUMNS)
    network = TabularClassifier(**SETTINGS).fit(rows)
    test = table(500, 9)
    assert network.score(test[COLUMNS], test["kind"]) > 0.9
    assert network.classes_.tolist() == ["apple", "plum"]
    assert network.feature_names_in_.tolist() == COLUMNS
    assert 0.1 < network.temperature_ < 5
    probabilities = network.predict_proba(rows)
    assert probabilities.shape == (1000, 2)
    in_memory = pd.concat([table(500, part) for part in range(2)])
    assert probabilities == pytest.approx(network.predict_proba(in_memory[COLUMNS]), abs=1e-6)
    assert (network.predict(rows) == network.predict(in_memory[COLUMNS])).all()


@pytest.mark.parametrize("transform", ["standard", "log", "rank"])
def test_numbers(folder, transform):
    rows = chainrule.stream(folder, target="price", columns=COLUMNS)
    network = TabularRegressor(**SETTINGS, target_transform=transform).fit(rows)
    in_memory = pd.concat([table(500, part) for part in range(2)])
    # The sample is the whole here, so the transform is that of all rows.
    expected = TabularRegressor(**{**SETTINGS, "max_epochs": 1}, target_transform=transform)
    assert network.target_ == expected.fit(in_memory[COLUMNS], in_memory["price"]).target_
    known = table(500, 9).dropna()
    assert network.score(known[COLUMNS], known["price"]) > 0.9


def test_it_repeats_and_can_be_saved(folder, tmp_path):
    rows = chainrule.stream(folder, target="kind", columns=COLUMNS)
    first, second = (TabularClassifier(**SETTINGS, n_jobs=n).fit(rows) for n in (1, 2))
    chainrule.save(first, tmp_path / "m")
    for other in (second, chainrule.load(tmp_path / "m")):
        assert (other.predict_proba(rows) == first.predict_proba(rows)).all()


def test_whole_numbers_and_truth_values_are_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    for y in ((X[:, 0] > 0).astype(np.int64) + 3, X[:, 0] > 0):
        network = TabularClassifier(**SETTINGS).fit(chainrule.stream(X, y))
        assert network.classes_.tolist() == sorted(set(y.tolist()))
        assert network.score(X, y) > 0.9


def test_weights_of_the_rows_and_of_classes(folder):
    rows = chainrule.stream(folder, target="kind", columns=COLUMNS, weight="weight")
    plain = chainrule.stream(folder, target="kind", columns=COLUMNS)
    outputs = [
        TabularClassifier(**{**SETTINGS, "max_epochs": 3}, class_weight=weight).fit(one).predict_proba(plain)
        for one, weight in ((rows, None), (plain, None), (plain, {"apple": 5.0, "plum": 1.0}))
    ]
    assert not np.allclose(outputs[0], outputs[1])
    assert outputs[2][:, 0].mean() > outputs[1][:, 0].mean() + 0.05


def test_a_temperature_is_fitted_to_some_of_many_rows(folder, monkeypatch):
    rows = chainrule.stream(folder, target="kind", columns=COLUMNS)
    seen = []
    whole = streams._measured

    def measured(*arguments):
        outputs, targets = whole(*arguments)
        seen.append(len(targets))
        return outputs, targets

    monkeypatch.setattr(streams, "_measured", measured)
    monkeypatch.setattr(streams, "_MOST_MEASURED", 30)
    TabularClassifier(**{**SETTINGS, "max_epochs": 1}).fit(rows)
    assert len(seen) == 2
    assert all(25 <= n <= 40 for n in seen)


def test_what_is_refused(folder):
    rows = chainrule.stream(folder, target="kind", columns=COLUMNS)
    with pytest.raises(ValueError, match="y must not be given with a stream"):
        TabularClassifier().fit(rows, [1])
    with pytest.raises(ValueError, match="sample_weight must not be given with a stream"):
        TabularClassifier().fit(rows, sample_weight=[1.0])
    with pytest.raises(ValueError, match="the stream has no target to learn from"):
        TabularClassifier().fit(chainrule.stream(folder))
    with pytest.raises(ValueError, match="column 'kind' must hold numbers; got '(apple|plum)'"):
        TabularRegressor().fit(rows)
    with pytest.raises(ValueError, match="requires y to be passed"):
        TabularClassifier().fit(table(20)[COLUMNS])
