"""A small fitted model of each form, and rows for it to predict."""

import functools
import warnings

import numpy as np
import pandas as pd

from chainrule import nn
from chainrule.estimators import (
    MLPClassifier,
    MLPRegressor,
    OneVsOneMLPClassifier,
    Perceptron,
    TabularClassifier,
    TabularRegressor,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
CLASSES = np.array(["a", "b", "c"])[np.arange(30) % 3]
FRAME = pd.DataFrame(
    {
        "x": np.where(np.arange(30) % 7 == 0, np.nan, RNG.lognormal(size=30)),
        "shop": np.array(["north", "south", None], dtype=object)[np.arange(30) % 3],
        "day": pd.date_range("2024-01-01", periods=30, freq="9D"),
        "member": np.arange(30) % 2 == 0,
    }
)
SMALL = {"ensemble": 2, "width": 4, "depth": 1, "max_epochs": 2, "random_state": 0}
QUICK = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


def network():
    """Every kind of layer, in and beside each other."""
    body = nn.Sequential(nn.Linear(5, 5, rng=2), nn.GELU(), nn.LayerNorm(5))
    module = nn.Sequential(
        {
            "first": nn.Linear(3, 5, rng=0),
            "norm": nn.BatchNorm1d(5, eps=1e-3, momentum=0.2),
            "bend": nn.LeakyReLU(0.2),
            "block": nn.Residual(body),
            "narrow": nn.Residual(nn.Linear(5, 4, bias=False, rng=3), rng=4),
            "drop": nn.Dropout(0.25),
            "plain": nn.LayerNorm(4, elementwise_affine=False),
            "rest": nn.Sequential(*(nn.activation_module(name) for name in ("tanh", "silu", "elu", "selu"))),
            "last": nn.Linear(4, 2, rng=1),
        }
    )
    module(X.astype(np.float32))  # running statistics
    return module.eval()


@functools.cache
def models():
    """Name -> model, and the rows to predict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = MLPClassifier(**QUICK)
        return {
            "module": (network(), X.astype(np.float32)),
            "double module": (nn.Sequential(nn.Linear(3, 2, dtype="float64", rng=0)), X),
            "classifier": (MLPClassifier(**QUICK, batch_norm=True).fit(X, CLASSES), X),
            "several labels": (MLPClassifier(**QUICK).fit(X, X > 0), X),
            "regressor": (MLPRegressor(**QUICK, target_scaling="standard").fit(X, X[:, :2]), X),
            "committee": (OneVsOneMLPClassifier(base, random_state=0).fit(X, CLASSES), X),
            "perceptron": (Perceptron(random_state=0).fit(X, CLASSES), X),
            "tabular classifier": (TabularClassifier(**SMALL).fit(FRAME, CLASSES), FRAME),
            "tabular regressor": (
                TabularRegressor(**SMALL, target_transform="rank").fit(FRAME, X[:, 0]),
                FRAME,
            ),
        }


def predicted(model, rows):
    """What it makes of the rows."""
    if isinstance(model, nn.Module):
        return model(rows)
    return (model.predict_proba if hasattr(model, "predict_proba") else model.predict)(rows)
