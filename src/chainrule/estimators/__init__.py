"""Estimators for scikit-learn: MLPClassifier and MLPRegressor."""

from chainrule.estimators.classifier import MLPClassifier
from chainrule.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
