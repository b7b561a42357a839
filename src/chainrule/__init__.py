"""chainrule: neural networks for people who live in NumPy and scikit-learn.

The names below are loaded when first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.version import __version__ as __version__

# Public name -> the module that defines it; a module of the package stands for itself.
_HOMES = {
    "backprop": "chainrule.textbook",
    "fit": "chainrule.train",
    "fit_many": "chainrule.train",
    "Job": "chainrule.train",
    "JobError": "chainrule.train",
    "predict": "chainrule.train",
    "stream": "chainrule.train",
    "EarlyStopping": "chainrule.train",
    "History": "chainrule.train",
    "manual_seed": "chainrule.nn",
    "summary": "chainrule.nn",
    "rand": "chainrule.nn",
    "randint": "chainrule.nn",
    "randn": "chainrule.nn",
    "randperm": "chainrule.nn",
    "Predictor": "chainrule.engine",
    "MLPClassifier": "chainrule.estimators",
    "MLPRegressor": "chainrule.estimators",
    "OneVsOneMLPClassifier": "chainrule.estimators",
    "Perceptron": "chainrule.estimators",
    "TabularClassifier": "chainrule.estimators",
    "TabularRegressor": "chainrule.estimators",
    "cross_validate_many": "chainrule.estimators",
    "fit_estimators": "chainrule.estimators",
    "is_separable": "chainrule.estimators",
    "maximum_margin": "chainrule.estimators",
    "mistake_bound": "chainrule.estimators",
    "MaximumMargin": "chainrule.estimators",
    "Separability": "chainrule.estimators",
    "load": "chainrule.io",
    "save": "chainrule.io",
    "from_torch": "chainrule.exports",
    "to_numpy_source": "chainrule.exports",
    "to_onnx": "chainrule.exports",
    "to_torch": "chainrule.exports",
    "checkup": "chainrule.health",
    "watch": "chainrule.health",
    "derive": "chainrule.explain",
    "explain_step": "chainrule.explain",
    "Tensor": "chainrule.tape",
    "arange": "chainrule.tape",
    "as_tensor": "chainrule.tape",
    "enable_grad": "chainrule.tape",
    "eye": "chainrule.tape",
    "from_numpy": "chainrule.tape",
    "full": "chainrule.tape",
    "grad": "chainrule.tape",
    "gradcheck": "chainrule.tape",
    "gradgradcheck": "chainrule.tape",
    "hessian": "chainrule.tape",
    "hvp": "chainrule.tape",
    "is_grad_enabled": "chainrule.tape",
    "jacobian": "chainrule.tape",
    "jvp": "chainrule.tape",
    "linspace": "chainrule.tape",
    "no_grad": "chainrule.tape",
    "ones": "chainrule.tape",
    "ones_like": "chainrule.tape",
    "tensor": "chainrule.tape",
    "vjp": "chainrule.tape",
    "zeros": "chainrule.tape",
    "zeros_like": "chainrule.tape",
    "book": "chainrule.book",
    "functions": "chainrule.functions",
    "health": "chainrule.health",
    "nn": "chainrule.nn",
    "optim": "chainrule.optim",
    "tape": "chainrule.tape",
}

# NumPy's types under PyTorch's names, as in ``tensor(values, dtype=chainrule.float64)``.
_DTYPES = {
    "float32": "float32",
    "float64": "float64",
    "double": "float64",
    "int64": "int64",
    "long": "int64",
    "bool": "bool_",
}

__all__ = [
    "EarlyStopping",
    "History",
    "Job",
    "JobError",
    "MLPClassifier",
    "MLPRegressor",
    "MaximumMargin",
    "OneVsOneMLPClassifier",
    "Perceptron",
    "Predictor",
    "Separability",
    "TabularClassifier",
    "TabularRegressor",
    "Tensor",
    "arange",
    "as_tensor",
    "backprop",
    "book",
    "checkup",
    "cross_validate_many",
    "derive",
    "enable_grad",
    "explain_step",
    "eye",
    "fit",
    "fit_estimators",
    "fit_many",
    "from_numpy",
    "from_torch",
    "full",
    "functions",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "health",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "is_separable",
    "jacobian",
    "jvp",
    "linspace",
    "load",
    "manual_seed",
    "maximum_margin",
    "mistake_bound",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "predict",
    "rand",
    "randint",
    "randn",
    "randperm",
    "save",
    "stream",
    "summary",
    "tape",
    "tensor",
    "to_numpy_source",
    "to_onnx",
    "to_torch",
    "vjp",
    "watch",
    "zeros",
    "zeros_like",
]

if TYPE_CHECKING:
    from chainrule import book, functions, health, nn, optim, tape
    from chainrule.engine import Predictor
    from chainrule.estimators import (
        MaximumMargin,
        MLPClassifier,
        MLPRegressor,
        OneVsOneMLPClassifier,
        Perceptron,
        Separability,
        TabularClassifier,
        TabularRegressor,
        cross_validate_many,
        fit_estimators,
        is_separable,
        maximum_margin,
        mistake_bound,
    )
    from chainrule.explain import derive, explain_step
    from chainrule.exports import from_torch, to_numpy_source, to_onnx, to_torch
    from chainrule.health import checkup, watch
    from chainrule.io import load, save
    from chainrule.nn import manual_seed, rand, randint, randn, randperm, summary
    from chainrule.tape import (
        Tensor,
        arange,
        as_tensor,
        enable_grad,
        eye,
        from_numpy,
        full,
        grad,
        gradcheck,
        gradgradcheck,
        hessian,
        hvp,
        is_grad_enabled,
        jacobian,
        jvp,
        linspace,
        no_grad,
        ones,
        ones_like,
        tensor,
        vjp,
        zeros,
        zeros_like,
    )
    from chainrule.textbook import backprop
    from chainrule.train import EarlyStopping, History, Job, JobError, fit, fit_many, predict, stream


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if name in _DTYPES:
        return getattr(importlib.import_module("numpy"), _DTYPES[name])
    if home is None:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
    module = importlib.import_module(home)
    return module if home == f"chainrule.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
