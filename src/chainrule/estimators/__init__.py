"""Estimators for scikit-learn: MLPClassifier and MLPRegressor, many of them at once, and the Perceptron."""

from chainrule.estimators.classifier import MLPClassifier
from chainrule.estimators.halving import HalvingOptions, HalvingResult, successive_halving
from chainrule.estimators.many import fit_estimators
from chainrule.estimators.one_vs_one import OneVsOneMLPClassifier
from chainrule.estimators.perceptron import Perceptron
from chainrule.estimators.regressor import MLPRegressor
from chainrule.estimators.separability import (
    MaximumMargin,
    Separability,
    is_separable,
    maximum_margin,
    mistake_bound,
)
from chainrule.estimators.tabular import TabularClassifier, TabularRegressor
from chainrule.estimators.validation import cross_validate_many

__all__ = [
    "HalvingOptions",
    "HalvingResult",
    "MLPClassifier",
    "MLPRegressor",
    "MaximumMargin",
    "OneVsOneMLPClassifier",
    "Perceptron",
    "Separability",
    "TabularClassifier",
    "TabularRegressor",
    "cross_validate_many",
    "fit_estimators",
    "is_separable",
    "maximum_margin",
    "mistake_bound",
    "successive_halving",
]
