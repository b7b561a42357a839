"""chainrule: neural networks for people who live in NumPy and scikit-learn.

The names below are loaded when first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it; a module of the package stands for itself.
_HOMES = {
    "backprop": "chainrule.textbook",
    "fit": "chainrule.train",
    "fit_many": "chainrule.train",
    "Job": "chainrule.train",
    "JobError": "chainrule.train",
    "predict": "chainrule.train",
    "EarlyStopping": "chainrule.train",
    "History": "chainrule.train",
    "manual_seed": "chainrule.nn",
    "summary": "chainrule.nn",
    "Predictor": "chainrule.engine",
    "MLPClassifier": "chainrule.estimators",
    "MLPRegressor": "chainrule.estimators",
    "OneVsOneMLPClassifier": "chainrule.estimators",
    "cross_validate_many": "chainrule.estimators",
    "fit_estimators": "chainrule.estimators",
    "nn": "chainrule.nn",
    "optim": "chainrule.optim",
    "functions": "chainrule.functions",
}

__all__ = [
    "EarlyStopping",
    "History",
    "Job",
    "JobError",
    "MLPClassifier",
    "MLPRegressor",
    "OneVsOneMLPClassifier",
    "Predictor",
    "backprop",
    "cross_validate_many",
    "fit",
    "fit_estimators",
    "fit_many",
    "functions",
    "manual_seed",
    "nn",
    "optim",
    "predict",
    "summary",
]

if TYPE_CHECKING:
    from chainrule import functions, nn, optim
    from chainrule.engine import Predictor
    from chainrule.estimators import (
        MLPClassifier,
        MLPRegressor,
        OneVsOneMLPClassifier,
        cross_validate_many,
        fit_estimators,
    )
    from chainrule.nn import manual_seed, summary
    from chainrule.textbook import backprop
    from chainrule.train import EarlyStopping, History, Job, JobError, fit, fit_many, predict


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
    module = importlib.import_module(home)
    return module if home == f"chainrule.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
