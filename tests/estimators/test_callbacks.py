"""scikit-learn 1.9's callback protocol, and its own callbacks, on our estimators."""

import numpy as np
import pytest
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6,), "max_iter": 8, "random_state": 0}


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture
def y(X):
    return np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.7])]


class Recorder:
    """Notes what it is told of; stops the training after the task of this number."""

    def __init__(self, probe=None, stop_after=None):
        self.probe, self.stop_after = probe, stop_after
        self.calls, self.begun, self.models, self.predictions, self.data = [], [], [], [], []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X, y):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.calls.append(context.task_name)
        self.data.append((X, y, metadata))
        self.models.append(fitted_estimator)
        if self.probe is not None:
            self.predictions.append(fitted_estimator.predict(self.probe))
        return context.task_name != "fit" and context.task_id == self.stop_after


def with_callback(model, callback):
    return model.set_callbacks(callback)


def test_every_epoch_is_told_of(X, y):
    recorder = Recorder()
    model = with_callback(MLPClassifier(**SETTINGS), recorder).fit(X, y)
    assert model.n_iter_ == 8
    assert recorder.calls == ["setup", *["epoch"] * 8, "fit", "teardown"]
    assert recorder.begun == ["fit", *["epoch"] * 8]
    assert all(rows.shape == (60, 4) for rows, _, _ in recorder.data)


@pytest.mark.parametrize("settings", [{}, {"batch_norm": True, "dropout": 0.2}, {"solver": "lbfgs"}], ids=str)
def test_the_copy_predicts_as_of_its_epoch(X, y, settings):
    recorder = Recorder(probe=X)
    with_callback(MLPClassifier(**SETTINGS, **settings), recorder).fit(X, y)
    probabilities = [model.predict_proba(X) for model in recorder.models]
    for epochs in (1, 4):
        alone = MLPClassifier(**{**SETTINGS, **settings, "max_iter": epochs}).fit(X, y)
        np.testing.assert_array_equal(probabilities[epochs - 1], alone.predict_proba(X))
        np.testing.assert_array_equal(recorder.predictions[epochs - 1], alone.predict(X))
    assert (probabilities[0] != probabilities[4]).any()  # the copies are not all the last


def test_a_copy_is_the_users_to_change(X, y):
    class Vandal(Recorder):
        def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
            for coef in fitted_estimator.coefs_:
                coef[:] = np.nan

    vandalised = with_callback(MLPClassifier(**SETTINGS), Vandal()).fit(X, y)
    np.testing.assert_array_equal(
        vandalised.predict_proba(X), MLPClassifier(**SETTINGS).fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}], ids=str)
def test_true_stops_the_training(X, y, settings):
    recorder = Recorder(probe=X, stop_after=2)
    model = with_callback(MLPClassifier(**{**SETTINGS, **settings, "max_iter": 100}), recorder).fit(X, y)
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(recorder.predictions[2], model.predict(X))


def test_a_stop_is_not_a_failure_to_converge(X, y, recwarn):
    for solver in ("adam", "lbfgs"):
        model = MLPClassifier((6,), solver=solver, random_state=0)
        with_callback(model, Recorder(stop_after=1)).fit(X, y)
    assert [str(one.message) for one in recwarn] == []


def test_early_stopping_and_a_callback(X, y):
    recorder = Recorder(probe=X, stop_after=4)
    settings = {**SETTINGS, "max_iter": 50, "early_stopping": True}
    model = with_callback(MLPClassifier(**settings), recorder).fit(X, y)
    assert model.n_iter_ == 5
    best = int(np.argmax(model.validation_scores_))
    np.testing.assert_array_equal(recorder.predictions[best], model.predict(X))
    rows, labels, _ = recorder.data[0]
    assert len(rows) == len(labels) == 54  # what is trained on


def test_partial_fit_is_one_epoch(X, y):
    recorder = Recorder()
    model = with_callback(MLPClassifier(**SETTINGS), recorder)
    model.partial_fit(X, y, classes=["a", "b", "c"])
    model.partial_fit(X, y)
    assert recorder.calls == ["setup", "epoch", "fit", "teardown"] * 2


def test_sample_weights_are_metadata(X):
    recorder = Recorder()
    weights = np.arange(60.0)
    with_callback(MLPRegressor(**SETTINGS), recorder).fit(X, X[:, 0], sample_weight=weights)
    np.testing.assert_array_equal(recorder.data[-1][2]["sample_weight"], weights)


def test_callbacks_do_not_change_the_model(X):
    heard = with_callback(MLPRegressor(**SETTINGS, dropout=0.2), Recorder(probe=X)).fit(X, X[:, 0])
    silent = MLPRegressor(**SETTINGS, dropout=0.2).fit(X, X[:, 0])
    np.testing.assert_array_equal(heard.predict(X), silent.predict(X))


def test_a_failing_callback_is_heard(X):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        with_callback(MLPRegressor(**SETTINGS), Failing()).fit(X, X[:, 0])


def test_ctrl_c_ends_the_training_and_keeps_the_model(X):
    class Interrupt(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            super().on_fit_task_end(
                estimator, context, X=None, y=None, metadata=None, fitted_estimator=fitted_estimator
            )
            if context.task_id == 3:
                raise KeyboardInterrupt

    recorder = Interrupt(probe=X)
    model = with_callback(MLPRegressor(**SETTINGS), recorder)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, X[:, 0])
    assert model.n_iter_ == 4
    np.testing.assert_array_equal(model.predict(X), recorder.predictions[3])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("what", ["strings", "two strings", "one column", "multilabel", "values", "outputs"])
def test_targets_are_in_the_users_own_terms(X, y, what, early_stopping):
    kind, target = {
        "strings": (MLPClassifier, y),
        "two strings": (MLPClassifier, np.where(y == "b", "yes", "no")),
        "one column": (MLPClassifier, (y == "b").astype(int)),
        "multilabel": (MLPClassifier, np.stack([y == "a", y == "b"], axis=1).astype(int)),
        "values": (MLPRegressor, X[:, 0]),
        "outputs": (MLPRegressor, X[:, :2]),
    }[what]
    recorder = Recorder()
    model = with_callback(kind(**SETTINGS, early_stopping=early_stopping, shuffle=False), recorder)
    model.fit(X, target)
    for rows, labels, _ in recorder.data[:-1]:
        # Which rows they are, found by their first feature: early stopping holds some out.
        order = [int(np.flatnonzero(X[:, 0] == value)[0]) for value in rows[:, 0]]
        np.testing.assert_array_equal(labels, target[order])
        assert len(labels) == (54 if early_stopping else 60)
    np.testing.assert_array_equal(recorder.data[-1][1], target)


def test_scoring_monitor_on_strings(X, y):
    monitor = ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    for solver in ("adam", "lbfgs"):
        model = with_callback(MLPClassifier(**SETTINGS, solver=solver), monitor).fit(X, y)
        assert monitor.get_logs().data[-1]["accuracy"] == model.score(X, y)


def test_scoring_monitor(X, y):
    monitor = ScoringMonitor(scoring="accuracy")
    model = with_callback(MLPClassifier(**SETTINGS), monitor).fit(X, y == "b")
    logged = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    alone = [MLPClassifier(**{**SETTINGS, "max_iter": n}).fit(X, y == "b") for n in range(1, 9)]
    np.testing.assert_allclose(logged, [one.score(X, y == "b") for one in alone])
    assert logged[-1] == model.score(X, y == "b")
    monitor = ScoringMonitor(scoring="r2")
    model = with_callback(MLPRegressor(**SETTINGS, target_scaling="standard"), monitor).fit(X, X[:, 0])
    assert monitor.get_logs().data[-1]["r2"] == pytest.approx(model.score(X, X[:, 0]))


def test_progress_bar(X, y, capsys):
    model = with_callback(MLPClassifier(**SETTINGS), ProgressBar()).fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out
    assert model.n_iter_ == 8


def test_inside_a_pipeline(X, y):
    recorder = Recorder()
    pipeline = make_pipeline(StandardScaler(), with_callback(MLPClassifier(**SETTINGS), recorder)).fit(X, y)
    assert recorder.calls.count("epoch") == 8
    np.testing.assert_array_equal(recorder.models[7].predict(pipeline[0].transform(X)), pipeline.predict(X))
    np.testing.assert_allclose(recorder.data[0][0].mean(axis=0), 0, atol=1e-12)  # scaled rows


def test_a_progress_bar_over_a_grid_search(X, y, capsys):
    search = GridSearchCV(MLPClassifier(**SETTINGS), {"alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(ProgressBar())
    search.fit(X, y)
    assert "GridSearchCV" in capsys.readouterr().out
    assert search.best_estimator_.n_iter_ == 8
