"""Each of the library's own parameters does what its docstring says, and nothing by default."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import balanced_accuracy_score, make_scorer
from sklearn.utils.class_weight import compute_sample_weight

from chainrule import optim
from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.functions import ACTIVATIONS, INITIALIZERS

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (8, 8), "max_iter": 6, "random_state": 0, "batch_size": 16}
X = np.random.default_rng(0).normal(size=(90, 8))
SCORE = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * np.random.default_rng(1).normal(size=90)
Y = np.array(["few", "more", "most"])[np.digitize(SCORE, [-1.0, 0.0])]  # unbalanced
STOCHASTIC = ["adam", "adamw", "sgd"]


def bits(model):
    arrays = [*model.coefs_, *model.intercepts_, model._network.buffers]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def fitted(kind=MLPClassifier, data=None, sample_weight=None, **settings):
    model = kind(**{**SETTINGS, **settings})
    rows = X if data is None else data
    return model.fit(rows, Y if kind is MLPClassifier else SCORE, sample_weight=sample_weight)


# -- defaults --------------------------------------------------------------------------------------

NEUTRAL = [
    {"class_weight": None},
    {"class_weight": {"few": 1.0, "more": 1.0, "most": 1.0}},
    {"dropout": 0.0},
    {"dropout": [0.0, 0.0]},
    {"batch_norm": False, "residual": False},
    {"clip_norm": 1e9},
    {"weight_decay": 0.0},
    {"init": "auto"},
    {"scoring": "loss"},  # without early stopping
    {"dtype": "float64"},
    {"dtype": np.float64},
    {"n_jobs": 1},
    {"n_jobs": 2},
    {"n_jobs": -1},
    {"max_time": 1e6},
    {"activation": ["relu", "relu"]},
    {"activation": ("relu", "relu")},
]


@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("settings", NEUTRAL, ids=str)
def test_a_neutral_value_changes_no_bit(settings, solver):
    assert bits(fitted(**settings, solver=solver)) == bits(fitted(solver=solver))


def test_other_neutral_values_change_no_bit():
    assert bits(fitted(MLPRegressor, target_scaling=None)) == bits(fitted(MLPRegressor))
    validated = MLPClassifier(**SETTINGS).fit(X, Y, X_val=X[:20], y_val=Y[:20])  # without early stopping
    assert bits(validated) == bits(fitted())


ACTIVE = [
    {"class_weight": "balanced"},
    {"dropout": 0.3},
    {"batch_norm": True},
    {"residual": True},
    {"clip_norm": 0.01},
    {"weight_decay": 0.5},
    {"init": "he_normal"},
    {"dtype": "float32"},
    {"activation": ["relu", "tanh"]},
    {"learning_rate": "cosine"},
]


@pytest.mark.parametrize("settings", ACTIVE, ids=str)
def test_anything_else_changes_the_model_reproducibly(settings):
    solver = {"solver": "sgd"} if "clip_norm" in settings else {}
    model = fitted(**settings, **solver)
    assert bits(model) != bits(fitted(**solver))
    assert bits(model) == bits(fitted(**settings, **solver))
    assert bits(model) == bits(fitted(**settings, **solver, n_jobs=2))
    assert bits(model) != bits(fitted(**{**settings, **solver, "random_state": 1}))


# -- class_weight ----------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", ["balanced", {"few": 3.0, "more": 1.0, "most": 0.5}, {"few": 3.0}])
def test_class_weights_are_sample_weights(class_weight, solver):
    each = compute_sample_weight(class_weight, Y)
    weighted = fitted(class_weight=class_weight, solver=solver)
    assert bits(weighted) == bits(fitted(sample_weight=each, solver=solver))
    own = np.random.default_rng(2).uniform(0.5, 2, 90)
    both = fitted(class_weight=class_weight, sample_weight=own, solver=solver)
    assert bits(both) == bits(fitted(sample_weight=own * each, solver=solver))


def test_class_weights_of_several_labels_multiply():
    labels = np.stack([SCORE > 0, X[:, 3] > 1], axis=1).astype(int)
    weights = [{0: 1.0, 1: 2.0}, {0: 1.0, 1: 5.0}]
    each = np.where(labels[:, 0], 2.0, 1.0) * np.where(labels[:, 1], 5.0, 1.0)
    weighted = MLPClassifier(**SETTINGS, class_weight=weights).fit(X, labels)
    assert bits(weighted) == bits(MLPClassifier(**SETTINGS).fit(X, labels, sample_weight=each))


def test_balancing_finds_more_of_a_rare_class():
    rng = np.random.default_rng(5)
    rare = (np.arange(400) % 20 == 0).astype(int)
    rows = rng.normal(size=(400, 2)) + rare[:, None]
    settings = {**SETTINGS, "max_iter": 60}
    recall = [
        (MLPClassifier(**settings, class_weight=one).fit(rows, rare).predict(rows) == 1)[rare == 1].mean()
        for one in (None, "balanced")
    ]
    assert recall[1] > recall[0] + 0.3


# -- dropout, batch normalisation, residual ---------------------------------------------------------


def test_dropout_is_off_when_predicting():
    model = fitted(dropout=0.5)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    np.testing.assert_allclose(model.predict_proba(X[:7]), model.predict_proba(X)[:7], rtol=1e-12)


def test_dropout_of_one_layer():
    both, first, second = (bits(fitted(dropout=one)) for one in (0.4, [0.4, 0.0], [0.0, 0.4]))
    assert len({both, first, second, bits(fitted())}) == 4
    assert bits(fitted(dropout=[0.4, 0.4])) == both


def test_dropout_holds_an_overfitting_network_back():
    settings = {"hidden_layer_sizes": (64,), "max_iter": 80, "learning_rate_init": 0.01}
    assert fitted(**settings, dropout=0.5).loss_ > 2 * fitted(**settings).loss_


def test_batch_norm_does_not_mind_the_scale_of_the_inputs():
    rows, settings = 1e3 * X + 1e4, {"max_iter": 30, "learning_rate_init": 0.01}
    plain, normal = fitted(data=rows, **settings), fitted(data=rows, **settings, batch_norm=True)
    assert normal.score(rows, Y) > plain.score(rows, Y) + 0.2


def test_batch_norm_predicts_with_running_statistics():
    model = fitted(batch_norm=True)
    np.testing.assert_allclose(model.predict_proba(X[:1]), model.predict_proba(X)[:1], rtol=1e-10)
    module = model.to_module()
    assert [type(layer).__name__ for layer in module][:3] == ["Linear", "BatchNorm1d", "ReLU"]
    assert module[1].num_batches_tracked == 6 * 6  # six batches of at most 16 rows, six epochs
    assert (module[1].running_mean != 0).all()


def test_residual_layers_add_their_input():
    model = fitted(residual=True)
    for coef in model.coefs_[:2]:
        coef[:] = 0
    for intercept in model.intercepts_[:2]:
        intercept[:] = 0
    # 8 features, 8 and 8 units: both layers are joined, and with F = 0 they pass X on.
    z = X @ model.coefs_[2] + model.intercepts_[2]
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-10)


def test_residual_joins_equal_widths_only():
    widths = {"hidden_layer_sizes": (5, 3)}
    assert bits(fitted(residual=True, **widths)) == bits(fitted(**widths))


# -- steps -----------------------------------------------------------------------------------------


def one_step(**settings):
    """Length of the step that one full batch makes."""
    model = MLPRegressor(
        (8,), **{"solver": "sgd", "momentum": 0.0, "random_state": 0, "alpha": 0.0, **settings}
    )
    model.set_params(loss="squared_error", hidden_layer_sizes=(8,), batch_size=90, shuffle=False, max_iter=1)
    start = MLPRegressor(**{**model.get_params(), "learning_rate_init": 1e-300}).fit(X, 100 * SCORE)
    model.fit(X, 100 * SCORE)
    pairs = zip([*model.coefs_, *model.intercepts_], [*start.coefs_, *start.intercepts_], strict=True)
    return np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs))


def test_clip_norm_bounds_the_step():
    assert one_step(learning_rate_init=0.1) > 1
    assert one_step(learning_rate_init=0.1, clip_norm=0.05) == pytest.approx(0.1 * 0.05, rel=1e-6)
    assert one_step(learning_rate_init=0.1, clip_norm=1e9) == one_step(learning_rate_init=0.1)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_weight_decay_is_decoupled(solver):
    """With gradients of next to nothing, w ← (1 − lr · decay) w at each step, and biases stay."""
    settings = {
        "solver": solver, "learning_rate_init": 0.1, "alpha": 0.0, "momentum": 0.0, "epsilon": 1e300,
        "clip_norm": 1e-300,
    }  # fmt: skip
    plain, decayed = fitted(**settings), fitted(**settings, weight_decay=0.2)
    n_steps = 6 * SETTINGS["max_iter"]
    for before, after in zip(plain.coefs_, decayed.coefs_, strict=True):
        np.testing.assert_allclose(after, before * (1 - 0.1 * 0.2) ** n_steps, rtol=1e-9)
    for before, after in zip(plain.intercepts_, decayed.intercepts_, strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-12)


def test_adamw_without_decay_is_adam_and_adam_with_it_is_adamw():
    assert bits(fitted(solver="adamw")) == bits(fitted(solver="adam"))
    decayed = bits(fitted(solver="adamw", weight_decay=0.1))
    assert decayed == bits(fitted(solver="adam", weight_decay=0.1)) != bits(fitted(solver="adam"))


@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize(
    ("name", "schedule"),
    [("step", optim.StepDecay()), ("cosine", optim.CosineWarmup()), ("one_cycle", optim.OneCycle())],
)
def test_schedules_by_name_and_as_objects(name, schedule, solver):
    by_name = fitted(learning_rate=name, solver=solver, max_iter=15)
    assert bits(by_name) == bits(fitted(learning_rate=schedule, solver=solver, max_iter=15))
    assert bits(by_name) != bits(fitted(solver=solver, max_iter=15))


def test_a_schedule_acts_within_the_training():
    """From the third epoch on the rate is next to nothing: what two epochs made of it stays."""
    schedule = optim.StepDecay(every=2, factor=1e-300)
    settings = {"solver": "sgd", "momentum": 0.0}
    assert bits(fitted(**settings, learning_rate=schedule)) == bits(fitted(**settings, max_iter=2))


def test_a_schedule_object_serves_many_trainings_and_can_end_one():
    for schedule in (optim.OneCycle(), optim.Adaptive(patience=1, divisor=10, minimum=0.5)):
        settings = {"learning_rate": schedule, "max_iter": 40, "tol": 10.0}  # nothing but the first improves
        first, second = fitted(**settings), fitted(**settings)
        assert bits(first) == bits(second)
        assert first.n_iter_ == (2 if isinstance(schedule, optim.Adaptive) else 12)


# -- init, activation, dtype -----------------------------------------------------------------------


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
def test_every_initializer_by_name(init):
    weights = fitted(init=init, solver="sgd", learning_rate_init=1e-300, hidden_layer_sizes=(60, 60)).coefs_[
        1
    ]
    variance = {
        "zeros": 0.0, "constant": 0.0, "xavier_uniform": 2 / 120, "xavier_normal": 2 / 120,
        "he_uniform": 2 / 60, "he_normal": 2 / 60, "lecun_uniform": 1 / 60, "lecun_normal": 1 / 60,
        "orthogonal": 1 / 60,
    }.get(init)  # fmt: skip
    if variance is not None:
        assert weights.var() == pytest.approx(variance, rel=0.1, abs=1e-12)
    if init == "orthogonal":
        np.testing.assert_allclose(weights @ weights.T, np.eye(60), atol=1e-9)
    assert np.isfinite(weights).all()


def test_leaky_relu_has_its_own_he_variance():
    settings = {
        "init": "he_normal",
        "solver": "sgd",
        "learning_rate_init": 1e-300,
        "hidden_layer_sizes": (200, 200),
    }
    leaky, relu = (fitted(activation=one, **settings).coefs_[1] for one in ("leaky_relu", "relu"))
    np.testing.assert_allclose(leaky * np.sqrt(1 + 0.01**2), relu, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_by_name(name):
    model = fitted(activation=name)
    record = ACTIVATIONS[name]
    h = X
    for coef, intercept in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        h = record.value(h @ coef + intercept, record.default_alpha)
    z = h @ model.coefs_[-1] + model.intercepts_[-1]
    np.testing.assert_allclose(
        model.predict_log_proba(X), z - np.log(np.exp(z).sum(axis=1, keepdims=True)), rtol=1e-9, atol=1e-9
    )
    assert bits(fitted(activation=[name, name], init="he_normal")) == bits(
        fitted(activation=name, init="he_normal")
    )


def test_an_activation_for_each_layer():
    model = fitted(MLPRegressor, activation=["tanh", "gelu"])
    h = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    h = ACTIVATIONS["gelu"].value(h @ model.coefs_[1] + model.intercepts_[1], 0.0)
    expected = h @ model.coefs_[2] + model.intercepts_[2]
    np.testing.assert_allclose(model.predict(X), expected[:, 0], rtol=1e-9)


def test_dtype_of_the_computation():
    single = fitted(dtype="float32")
    assert {coef.dtype for coef in single.coefs_} == {np.dtype(np.float32)}
    assert single.predict_proba(X).dtype == np.float32
    assert bits(single) == bits(fitted(data=X.astype(np.float32)))
    double = fitted(data=X.astype(np.float32), dtype="float64")
    assert double.coefs_[0].dtype == double.predict_proba(X.astype(np.float32)).dtype == np.float64
    np.testing.assert_allclose(single.predict_proba(X), fitted().predict_proba(X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_max_time_stops(solver):
    began = time.monotonic()
    endless = {"max_iter": 10**6, "tol": 0.0, "n_iter_no_change": np.inf, "max_fun": 10**9}
    model = fitted(MLPRegressor, **endless, solver=solver, max_time=0.15, hidden_layer_sizes=(100, 100))
    assert time.monotonic() - began < 5
    assert 1 <= model.n_iter_ < 10**6


# -- validation and scoring ------------------------------------------------------------------------

STOPPING = {
    **SETTINGS,
    "max_iter": 60,
    "early_stopping": True,
    "n_iter_no_change": 4,
    "learning_rate_init": 0.02,
}


def log_loss(model, rows, labels, weights=None):
    each = -model.predict_log_proba(rows)[np.arange(len(rows)), np.searchsorted(model.classes_, labels)]
    return np.average(each, weights=weights)


def test_validation_data_is_measured_and_stopped_on():
    model = MLPClassifier(**STOPPING, scoring="loss").fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert model.n_iter_ == len(model.validation_loss_curve_) == len(model.validation_scores_) < 60
    np.testing.assert_array_equal(model.validation_scores_, -np.array(model.validation_loss_curve_))
    assert model.best_validation_score_ == max(model.validation_scores_)
    # The weights that are left are those of the best epoch.
    assert log_loss(model, X[60:], Y[60:]) == pytest.approx(min(model.validation_loss_curve_), rel=1e-9)
    assert model.t_ == 60 * model.n_iter_  # nothing was held out of X


def test_validation_data_without_early_stopping():
    model = MLPClassifier(**SETTINGS).fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert len(model.validation_loss_curve_) == 6
    assert model.validation_scores_ is None
    assert log_loss(model, X[60:], Y[60:]) == pytest.approx(model.validation_loss_curve_[-1], rel=1e-9)
    assert MLPClassifier(**SETTINGS).fit(X, Y).validation_loss_curve_ is None


def test_validation_weights():
    weights = np.random.default_rng(3).uniform(0, 2, 30)
    model = MLPClassifier(**SETTINGS)
    model.fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:], sample_weight_val=weights)
    expected = log_loss(model, X[60:], Y[60:], weights)
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


def test_validation_loss_of_a_regressor_is_on_the_scale_of_its_loss():
    outputs = np.stack([SCORE, X[:, 0]], axis=1)
    model = MLPRegressor(**SETTINGS).fit(X, outputs, X_val=X, y_val=outputs)
    expected = ((model.predict(X) - outputs) ** 2).mean() / 2
    assert model.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("scoring", "score"),
    [
        (None, lambda model: model.score(X[60:], Y[60:])),
        ("balanced_accuracy", lambda model: balanced_accuracy_score(Y[60:], model.predict(X[60:]))),
        (
            make_scorer(balanced_accuracy_score),
            lambda model: balanced_accuracy_score(Y[60:], model.predict(X[60:])),
        ),
        (
            lambda model, X, y: -float(np.mean(model.predict(X) != y)) - 1,
            lambda m: m.score(X[60:], Y[60:]) - 2,
        ),
        ("loss", lambda model: -log_loss(model, X[60:], Y[60:])),
    ],
)
@pytest.mark.parametrize("frame", [False, True])
def test_early_stopping_maximises_what_scoring_says(scoring, score, frame):
    rows = pd.DataFrame(X, columns=list("abcdefgh")) if frame else X
    model = MLPClassifier(**STOPPING, scoring=scoring)
    model.fit(rows[:60], Y[:60], X_val=rows[60:], y_val=Y[60:])
    assert model.best_validation_score_ == max(model.validation_scores_)
    if frame:
        model = MLPClassifier.from_sklearn(model.to_sklearn())
        del model.feature_names_in_
    assert score(model) == pytest.approx(model.best_validation_score_, rel=1e-9)


def test_scoring_of_a_held_out_share():
    kept = fitted(**{**STOPPING, "scoring": "balanced_accuracy"})
    other = fitted(**STOPPING)
    assert len(kept.validation_scores_) == kept.n_iter_
    assert kept.validation_scores_ != other.validation_scores_


# -- losses and target scaling of the regressor ----------------------------------------------------


def skewed(n=1500):
    rng = np.random.default_rng(8)
    rows = rng.uniform(-1, 1, size=(n, 1))
    return rows, 2 * rows[:, 0] + rng.exponential(1.0, n)  # median log 2, mean 1, 0.9-quantile log 10


LEARN = {
    "hidden_layer_sizes": (),
    "learning_rate_init": 0.02,
    "max_iter": 60,
    "random_state": 0,
    "alpha": 0.0,
    "tol": 0.0,
}


@pytest.mark.parametrize(
    ("loss", "intercept"),
    [
        ("squared_error", 1.0),
        ("absolute_error", np.log(2)),
        ("quantile", np.log(2)),
        (("quantile", 0.9), np.log(10)),
        (("quantile", 0.1), -np.log(0.9)),
        (("huber", 1e6), 1.0),
        (("huber", 1e-3), np.log(2)),
    ],
)
def test_each_loss_finds_its_own_centre(loss, intercept):
    rows, y = skewed()
    model = MLPRegressor(loss, **LEARN).fit(rows, y)
    assert model.intercepts_[0][0] == pytest.approx(intercept, abs=0.12)
    assert model.coefs_[0][0, 0] == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_a_quantile_covers_its_share(q):
    rows, y = skewed()
    model = MLPRegressor(("quantile", q), **{**LEARN, "hidden_layer_sizes": (8,)}).fit(rows, y)
    assert (y <= model.predict(rows)).mean() == pytest.approx(q, abs=0.03)


def test_huber_is_between_the_two():
    rows, y = skewed()
    default, same = (MLPRegressor(one, **LEARN).fit(rows, y) for one in ("huber", ("huber", 1.0)))
    assert bits(default) == bits(same)
    assert np.log(2) < default.intercepts_[0][0] < 1.0


def test_target_scaling_gives_predictions_in_the_targets_units():
    rows, y = load_diabetes(return_X_y=True)
    y = 1e6 + 1e3 * y
    settings = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0, "learning_rate_init": 0.01}
    plain = MLPRegressor(**settings).fit(rows, y)
    scaled = MLPRegressor(**settings, target_scaling="standard").fit(rows, y)
    assert scaled.score(rows, y) > 0.4 > 0 > plain.score(rows, y)
    assert scaled.target_mean_ == pytest.approx([y.mean()])
    assert scaled.target_scale_ == pytest.approx([y.std()])
    by_hand = MLPRegressor(**settings).fit(rows, (y - y.mean()) / y.std())
    np.testing.assert_allclose(scaled.predict(rows), by_hand.predict(rows) * y.std() + y.mean(), rtol=1e-9)
    assert scaled.loss_ == pytest.approx(by_hand.loss_, rel=1e-6)


def test_target_scaling_takes_weights_and_outputs():
    outputs = np.stack([1000 + SCORE, np.full(90, 7.0)], axis=1)
    weights = np.arange(90) % 3
    model = MLPRegressor(**SETTINGS, target_scaling="standard").fit(X, outputs, sample_weight=weights)
    repeated = np.repeat(outputs, weights, axis=0)
    np.testing.assert_allclose(model.target_mean_, repeated.mean(axis=0))
    np.testing.assert_allclose(model.target_scale_, [repeated[:, 0].std(), 1.0])  # a constant is not divided
    assert model.predict(X).shape == (90, 2)
    single = MLPRegressor(**SETTINGS, target_scaling="standard", dtype="float32").fit(X, outputs)
    assert single.predict(X).dtype == np.float32


def test_target_scaling_is_learned_once():
    model = MLPRegressor(**SETTINGS, target_scaling="standard").partial_fit(X, SCORE)
    mean = model.target_mean_.copy()
    model.partial_fit(X, SCORE + 100)
    np.testing.assert_array_equal(model.target_mean_, mean)
    assert model.fit(X, SCORE + 100).target_mean_ == pytest.approx(mean + 100)


def test_target_scaling_and_early_stopping():
    y = 1e4 + SCORE
    model = MLPRegressor(**STOPPING, target_scaling="standard").fit(
        X[:60], y[:60], X_val=X[60:], y_val=y[60:]
    )
    assert model.score(X[60:], y[60:]) == pytest.approx(model.best_validation_score_, rel=1e-9)
