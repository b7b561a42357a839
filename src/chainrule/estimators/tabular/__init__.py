"""Estimators that take a table as it is."""

from chainrule.estimators.tabular.classifier import TabularClassifier
from chainrule.estimators.tabular.regressor import TabularRegressor
from chainrule.estimators.tabular.state import from_tabular_state, to_tabular_state

__all__ = ["TabularClassifier", "TabularRegressor", "from_tabular_state", "to_tabular_state"]
