"""To scikit-learn and back, and to a module: the same predictions, no shared arrays, no silent loss."""

import numpy as np
import pytest
import sklearn.neural_network

from chainrule import fit, nn, predict
from chainrule.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {"hidden_layer_sizes": (6, 5), "max_iter": 5, "random_state": 0}


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(40, 3))


def classes(X):
    return np.array(["a", "b", "c"])[np.digitize(X.sum(axis=1), [-1, 1])]


CASES = [
    (MLPClassifier, {}, classes),
    (MLPClassifier, {"activation": "logistic", "solver": "sgd", "alpha": 0.1}, classes),
    (MLPClassifier, {"activation": ["tanh", "tanh"], "dropout": 0.2, "clip_norm": 1.0}, classes),
    (MLPClassifier, {"hidden_layer_sizes": ()}, lambda X: X[:, 0] > 0),
    (MLPClassifier, {"early_stopping": True, "activation": "sigmoid"}, lambda X: (X > 0).astype(int)),
    (MLPRegressor, {"activation": "identity", "solver": "lbfgs"}, lambda X: X[:, 0]),
    (MLPRegressor, {"solver": "adamw", "weight_decay": 0.1, "learning_rate": "cosine"}, lambda X: X[:, :2]),
    (MLPRegressor, {"loss": "poisson"}, lambda X: np.abs(X[:, 0])),
    (MLPRegressor, {"loss": ("quantile", 0.9)}, lambda X: X[:, 0]),
]


def outputs(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize(("kind", "settings", "target"), CASES)
def test_to_scikit_learn_and_back(X, kind, settings, target):
    ours = kind(**{**SETTINGS, **settings}).fit(X, target(X))
    theirs = ours.to_sklearn()
    assert type(theirs) is getattr(sklearn.neural_network, kind.__name__)
    np.testing.assert_allclose(outputs(theirs, X), outputs(ours, X), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(theirs.predict(X), theirs.predict(X))
    back = kind.from_sklearn(theirs)
    np.testing.assert_allclose(outputs(back, X), outputs(ours, X), rtol=1e-12)
    for name in ("n_iter_", "t_", "loss_", "out_activation_", "n_features_in_", "n_layers_", "n_outputs_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None) == getattr(back, name, None)
    if kind is MLPClassifier:
        np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))
        np.testing.assert_array_equal(back.classes_, ours.classes_)


def test_parameters_travel(X):
    ours = MLPClassifier(**SETTINGS, alpha=0.3, beta_1=0.8, validation_fraction=0.2).fit(X, classes(X))
    theirs = ours.to_sklearn()
    for name, value in theirs.get_params().items():
        assert value == ours.get_params()[name], name
    assert MLPClassifier.from_sklearn(theirs).get_params() == ours.get_params()


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_neither_shares_what_the_other_changes(X, kind):
    y = X[:, 0] > 0
    ours = kind(**SETTINGS).fit(X, y)
    theirs = ours.to_sklearn()
    back = kind.from_sklearn(theirs)
    models = [ours, theirs, back]
    before = outputs(ours, X)
    curves = [list(model.loss_curve_) for model in models]
    for model in models:
        model.partial_fit(X, y)
        model.coefs_[-1][:] = 0.0
        others = [one for one in models if one is not model]
        models = others
        for other in others:
            np.testing.assert_allclose(outputs(other, X), before, rtol=1e-9)
    assert [len(model.loss_curve_) for model in (ours, theirs, back)] == [len(curve) + 1 for curve in curves]


def test_training_goes_on_on_the_other_side(X):
    y = classes(X)
    ours = MLPClassifier(**SETTINGS, early_stopping=True, warm_start=True).fit(X, y)
    theirs = ours.to_sklearn()
    back = MLPClassifier.from_sklearn(theirs)
    assert len(theirs.fit(X, y).validation_scores_) > 5
    np.testing.assert_allclose(back.fit(X, y).coefs_[0], ours.fit(X, y).coefs_[0], rtol=1e-9)
    # Whether or not there is anything better to find.
    stuck = ours.to_sklearn()
    stuck.best_validation_score_ = 2.0
    stuck.fit(X, y).predict(X)


def test_an_edited_model_travels_as_edited(X):
    ours = MLPRegressor(**SETTINGS).fit(X, X[:, 0])
    ours.coefs_[2] = np.ones((5, 1)).tolist()
    ours.intercepts_[2] = [0.5]
    np.testing.assert_allclose(ours.to_sklearn().predict(X), ours.predict(X), rtol=1e-12)
    np.testing.assert_allclose(ours.to_module()(X)[:, 0], ours.predict(X), rtol=1e-12)


def test_a_subclass_has_the_same_counterpart(X):
    class Named(MLPRegressor):
        pass

    ours = Named(**SETTINGS).fit(X, X[:, 0])
    assert type(ours.to_sklearn()) is sklearn.neural_network.MLPRegressor
    assert type(Named.from_sklearn(ours.to_sklearn())) is Named


def test_from_an_estimator_that_is_not_fitted():
    theirs = sklearn.neural_network.MLPRegressor(alpha=0.7, hidden_layer_sizes=(3,))
    ours = MLPRegressor.from_sklearn(theirs)
    assert ours.alpha == 0.7
    assert not hasattr(ours, "coefs_")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (MLPClassifier, {"activation": "gelu"}, r"activation \['gelu'\] cannot be expressed by scikit-learn"),
        (
            MLPClassifier,
            {"activation": ["tanh", "relu"]},
            r"activation \['relu', 'tanh'\] cannot be expressed",
        ),
        (MLPClassifier, {"batch_norm": True}, "batch_norm and residual cannot be expressed"),
        (MLPClassifier, {"hidden_layer_sizes": (3, 3), "residual": True}, "batch_norm and residual cannot"),
        (MLPRegressor, {"target_scaling": "standard"}, "target_scaling cannot be expressed by scikit-learn"),
    ],
)
def test_what_cannot_be_expressed_is_refused(X, kind, settings, message):
    model = kind(**{**SETTINGS, **settings}).fit(X, X[:, 0] > 0)
    with pytest.raises(ValueError, match=message):
        model.to_sklearn()


def test_residual_without_a_joined_layer_can_be_expressed(X):
    model = MLPClassifier(**SETTINGS, residual=True).fit(X, classes(X))  # widths 3, 6, 5: nothing to join
    np.testing.assert_allclose(model.to_sklearn().predict_proba(X), model.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("other", [sklearn.neural_network.MLPRegressor(), MLPClassifier(), None])
def test_from_something_else(other):
    with pytest.raises(TypeError, match=r"estimator must be a sklearn.neural_network.MLPClassifier; got \w+"):
        MLPClassifier.from_sklearn(other)


# -- modules ---------------------------------------------------------------------------------------


def link(model, z):
    if model.out_activation_ == "softmax":
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    if model.out_activation_ == "logistic":
        return 1 / (1 + np.exp(-z))
    return np.exp(z) if model.out_activation_ == "exp" else z


OWN = [
    (MLPClassifier, {"activation": ["gelu", "leaky_relu"], "batch_norm": True, "dropout": 0.3}, classes),
    (MLPClassifier, {"hidden_layer_sizes": (3, 3), "residual": True, "batch_norm": True}, classes),
    (MLPRegressor, {"activation": "mish", "dtype": "float32"}, lambda X: X[:, :2]),
]


@pytest.mark.parametrize(("kind", "settings", "target"), CASES + OWN)
def test_to_module(X, kind, settings, target):
    model = kind(**{**SETTINGS, **settings}).fit(X, target(X))
    module = model.to_module()
    assert isinstance(module, nn.Sequential)
    assert not module.training
    expected = outputs(model, X).reshape(40, -1)
    got = link(model, module(X.astype(model.coefs_[0].dtype)))
    if model.out_activation_ == "logistic" and isinstance(model.classes_, np.ndarray) and got.shape[1] == 1:
        got = np.hstack([1 - got, got])
    tolerance = 1e-4 if model.coefs_[0].dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(predict(module, X), module(X), rtol=tolerance, atol=tolerance)


def test_target_scaling_is_left_out_of_the_module(X):
    model = MLPRegressor(**SETTINGS, target_scaling="standard").fit(X, 100 + 10 * X[:, 0])
    z = model.to_module()(X)[:, 0]
    np.testing.assert_allclose(z * model.target_scale_ + model.target_mean_, model.predict(X), rtol=1e-12)


def test_a_module_is_a_copy_that_trains(X):
    model = MLPClassifier(**SETTINGS, batch_norm=True).fit(X, classes(X))
    before = model.predict_proba(X)
    module = model.to_module()
    y = np.unique(classes(X), return_inverse=True)[1]
    history = fit(module, X, y, loss=nn.CrossEntropyLoss(), epochs=5, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("method", ["to_module", "to_sklearn"])
def test_a_model_must_be_fitted_first(method):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="MLPClassifier instance is not fitted yet"):
        getattr(MLPClassifier(), method)()
