"""scikit-learn's estimator checks on default instances: no failure, no expected failure."""

import os

# scikit-learn and SciPy read it when they are imported; the array API check is skipped without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from chainrule.estimators import MLPClassifier, MLPRegressor, OneVsOneMLPClassifier


@pytest.mark.filterwarnings("default")
@parametrize_with_checks([MLPClassifier(), MLPRegressor(), OneVsOneMLPClassifier()])
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("default")
@parametrize_with_checks(
    [
        MLPClassifier(
            (16, 16), "gelu", batch_norm=True, residual=True, dropout=0.0, clip_norm=1.0, weight_decay=1e-3,
            init="he_normal", learning_rate="cosine", learning_rate_init=0.01, max_iter=60, dtype="float64",
        ),
        MLPRegressor(
            "huber", (8, 8), ["tanh", "leaky_relu"], target_scaling="standard", solver="adamw", max_iter=40,
            learning_rate_init=0.01, n_jobs=2,
        ),
    ]
)  # fmt: skip
def test_scikit_learn_check_with_our_own_parameters(estimator, check):
    name = getattr(check, "func", check).__name__
    if "sample_weight_equivalence" in name and estimator.batch_norm:
        pytest.skip("batch statistics count rows, not weights: repeating rows is another batch")
    check(estimator)
