"""Models that the exports are tried on."""

import warnings

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from tests.strategies import architectures

from chainrule import nn
from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.functions import ACTIVATIONS
from chainrule.nn import activation_module

X = np.random.default_rng(3).normal(size=(60, 4))
LABELS = np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.7])


def every_kind(dtype, activation="relu"):
    """Each kind of layer once, with running statistics and γ, β off their initial values."""
    body = nn.Sequential(nn.Linear(6, 6, dtype=dtype, rng=1), activation_module(activation), nn.Dropout(0.3))
    net = nn.Sequential(
        nn.Linear(4, 6, dtype=dtype, rng=0),
        nn.BatchNorm1d(6, dtype=dtype),
        activation_module(activation),
        nn.Residual(body),
        nn.LayerNorm(6, dtype=dtype),
        nn.Residual(nn.Linear(6, 3, dtype=dtype, rng=2)),
        nn.Sequential(nn.BatchNorm1d(3, affine=False, dtype=dtype), nn.Identity()),
    )
    rng = np.random.default_rng(5)
    for _ in range(4):
        net(rng.normal(1.0, 2.0, (30, 4)).astype(dtype))
    moved = {
        name: array + 0.1 * rng.normal(size=array.shape).astype(array.dtype)
        for name, array in net.state_dict().items()
        if array.dtype.kind == "f" and "running" not in name
    }
    net.load_state_dict(moved, strict=False)
    return net.eval()


@st.composite
def random_networks(draw):
    """(module, X): any tree of the library's layers in evaluation mode, in either dtype."""
    module, n_inputs = draw(architectures())
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    x = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(5, n_inputs)).astype(dtype)
    return module.to(dtype).eval(), x


def fitted(kind, dtype=None):
    """An estimator of each kind of output, fitted a little."""
    settings = {"hidden_layer_sizes": (7, 7), "max_iter": 3, "random_state": 0, "dtype": dtype, "tol": 0.0}
    settings |= {"n_iter_no_change": 100, "solver": "sgd", "learning_rate_init": 0.05}
    rich = {"batch_norm": True, "residual": True, "dropout": 0.2, "activation": ["gelu", "elu"]}
    if dtype == np.float64:
        rich["activation"] = ["mish", "elu"]
    names = np.array(["left", "middle", 'r"ght'])
    numbers = X @ [1.0, -2.0, 0.5, 0.0] * 1e3 + 1e6
    makers = {
        "multiclass": lambda: MLPClassifier(**settings, **rich).fit(X, names[LABELS]),
        "binary": lambda: MLPClassifier(**settings).fit(X, LABELS > 0),
        "one class": lambda: MLPClassifier(**settings).fit(X, LABELS * 0 + 7),
        "labels": lambda: MLPClassifier(**settings).fit(X, X[:, :3] > 0),
        "regressor": lambda: MLPRegressor(**settings, **rich, target_scaling="standard").fit(X, numbers),
        "two targets": lambda: MLPRegressor(**settings, target_scaling="standard").fit(
            X, np.column_stack([numbers, -numbers / 7])
        ),
        "plain": lambda: MLPRegressor(**settings).fit(X, X[:, 0]),
        "poisson": lambda: MLPRegressor(**settings, loss="poisson").fit(X, LABELS),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # three epochs are enough here
        return makers[kind]()


KINDS = ["multiclass", "binary", "one class", "labels", "regressor", "two targets", "plain", "poisson"]
RECORDS = sorted(ACTIVATIONS)
DTYPES = [np.float32, np.float64]
