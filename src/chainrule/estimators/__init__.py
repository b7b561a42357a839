"""Estimators for scikit-learn: MLPClassifier and MLPRegressor, and many of them at once."""

from chainrule.estimators.classifier import MLPClassifier
from chainrule.estimators.many import fit_estimators
from chainrule.estimators.one_vs_one import OneVsOneMLPClassifier
from chainrule.estimators.regressor import MLPRegressor
from chainrule.estimators.validation import cross_validate_many

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "OneVsOneMLPClassifier",
    "cross_validate_many",
    "fit_estimators",
]
