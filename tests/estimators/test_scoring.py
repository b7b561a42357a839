"""What early stopping maximises, with weights."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from chainrule.estimators import MLPClassifier


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weighted", [False, True])
def test_a_plain_function_scores_with_and_without_sample_weights(weighted):
    X, y = load_iris(return_X_y=True)
    weights = np.linspace(0.5, 1.5, len(y)) if weighted else None

    def negative_error(estimator, X, y):
        return -float((estimator.predict(X) != y).mean())

    model = MLPClassifier((8,), early_stopping=True, scoring=negative_error, max_iter=3, random_state=0)
    model.fit(X, y, sample_weight=weights)
    assert len(model.validation_scores_) == 3
    assert max(model.validation_scores_) <= 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_both_names_of_the_sigmoid_draw_the_same_weights():
    X, y = load_iris(return_X_y=True)
    one, two = (
        MLPClassifier((5,), activation=name, max_iter=2, random_state=0).fit(X, y)
        for name in ("logistic", "sigmoid")
    )
    for a, b in zip(one.coefs_, two.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
