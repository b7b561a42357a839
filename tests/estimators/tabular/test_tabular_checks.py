"""scikit-learn's estimator checks on the tabular estimators, small ones."""

import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from chainrule.estimators import TabularClassifier, TabularRegressor

SMALL = {"ensemble": 2, "width": 16, "depth": 1, "max_epochs": 40, "learning_rate": 0.01}

# What scikit-learn expects and these estimators do otherwise, and why.
OTHERWISE = {
    "check_sample_weight_equivalence_on_dense_data": "rows are held out and batched: weights are not copies",
}


@pytest.mark.filterwarnings("default")
@parametrize_with_checks(
    [TabularClassifier(**SMALL), TabularRegressor(**SMALL)], expected_failed_checks=lambda _: OTHERWISE
)
def test_scikit_learn_check(estimator, check):
    check(estimator)
