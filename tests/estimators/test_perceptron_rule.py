"""The search for mistakes is the chapter's rule, row after row; penalties, patience, the order of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from chainrule.estimators.perceptron import Perceptron
from chainrule.estimators.perceptron_rule import Patience, Penalty, shuffled


def rule(X, y, epochs, *, eta=1.0, weight=None, shuffle_seed=None):
    """The chapter's rule, word for word: w, b, updates, epochs, whether the last was without a mistake."""
    w, b = np.zeros(X.shape[1]), 0.0
    weight = np.ones(len(X)) if weight is None else weight
    order = np.arange(len(X))
    updates = 0
    for epoch in range(1, epochs + 1):
        if shuffle_seed is not None:
            order = order[shuffled(len(X), shuffle_seed)]
        before = updates
        for i in order:
            z = np.vecdot(X[i], w) + b
            predicted = 1 if z >= 0 else -1
            if predicted != y[i] and weight[i] > 0:
                w = w + eta * y[i] * weight[i] * X[i]
                b = b + eta * y[i] * weight[i]
                updates += 1
        if updates == before:
            return w, b, updates, epoch, True
    return w, b, updates, epochs, False


def check_rule(model, found):
    w, b, updates, epochs, converged = found
    np.testing.assert_array_equal(model.coef_, [w])
    np.testing.assert_array_equal(model.intercept_, [b])
    assert (model.n_updates_, model.n_iter_, model.converged_) == (updates, epochs, converged)


WHOLE = st.integers(-3, 3).map(float)  # scores are exact, and often 0


@given(st.data(), st.integers(2, 40), st.integers(1, 4), st.sampled_from([1.0, 0.5, 4.0]))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_the_search_for_mistakes_is_the_rule(data, n, d, eta):
    X = data.draw(arrays(float, (n, d), elements=WHOLE))
    y = data.draw(arrays(int, n, elements=st.sampled_from([-1, 1])))
    y[0] = -y[-1]
    weight = data.draw(arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0])))
    weight[0] = 1.0
    settings_ = {"tol": None, "max_iter": 7, "shuffle": False, "eta0": eta}
    found = rule(X, y, 7, eta=eta, weight=weight)
    check_rule(Perceptron(**settings_).fit(X, y, sample_weight=weight), found)
    check_rule(Perceptron(**settings_).fit(csr_array(X), y, sample_weight=weight), found)


@pytest.mark.parametrize("share_of_noise", [0.0, 0.02, 0.5])
def test_the_search_for_mistakes_is_the_rule_across_chunks(rng, share_of_noise):
    """Long runs without a mistake, and short ones; more rows than are gathered at once."""
    X = rng.normal(size=(2500, 7))
    y = np.where(X @ rng.normal(size=7) + 0.3 > 0, 1, -1)
    y[rng.random(2500) < share_of_noise] *= -1
    y[0] = -1
    model = Perceptron(tol=None, max_iter=4, shuffle=False).fit(X, y)
    check_rule(model, rule(X, y, 4))
    seed = np.random.RandomState(5)
    seed.randint(1, 2**31 - 1)
    shuffled_model = Perceptron(tol=None, max_iter=4, random_state=5).fit(X, y)
    check_rule(shuffled_model, rule(X, y, 4, shuffle_seed=seed.randint(2**31 - 1)))


# -- penalties ---------------------------------------------------------------------------------------


def test_the_value_of_a_penalty():
    """α((1 − ρ) ½‖w‖² + ρ‖w‖₁) with w = (3, −4): ½·25 and 7."""
    penalty = Penalty(alpha=0.1, l1_ratio=0.25, eta=1.0, n_features=2)
    assert penalty.value(np.array([3.0, -4.0])) == pytest.approx(0.1 * (0.75 * 12.5 + 0.25 * 7))


def test_weights_shrink_and_never_change_sign():
    weight = np.array([2.0, -4.0])
    Penalty(alpha=0.5, l1_ratio=0.5, eta=1.0, n_features=2).shrink(weight)
    np.testing.assert_array_equal(weight, [1.5, -3.0])
    Penalty(alpha=9.0, l1_ratio=0.0, eta=1.0, n_features=2).shrink(weight)
    np.testing.assert_array_equal(weight, [0, 0])


def test_weights_pay_what_they_owe_and_stop_at_zero():
    """ρηα = 1 a row. A weight that was 0 until the third row owes 3 by then, and pays it at once."""
    penalty = Penalty(alpha=2.0, l1_ratio=0.5, eta=1.0, n_features=3)
    weight = np.array([1.5, -10.0, 0.0])
    penalty.pull(weight)
    np.testing.assert_array_equal(weight, [0.5, -9.0, 0.0])
    penalty.pull(weight)
    np.testing.assert_array_equal(weight, [0.0, -8.0, 0.0])
    weight[2] = 5.0
    penalty.pull(weight)
    np.testing.assert_array_equal(weight, [0.0, -7.0, 2.0])
    assert penalty.due == 3
    np.testing.assert_array_equal(penalty.paid, [-1.5, 3.0, -3.0])


# -- when to stop, and the order of rows -------------------------------------------------------------


def test_patience_counts_epochs_that_are_not_better_by_tol():
    patience = Patience(0.1, 2)
    # Better, stale (1), better by just less than tol (2): out.
    assert [patience.is_exhausted(value) for value in (1.0, 1.0, 0.95)] == [False, False, True]
    patience = Patience(0.1, 2)
    assert [patience.is_exhausted(value) for value in (1.0, 1.0, 0.8, 0.8, 0.8)] == [False] * 4 + [True]
    endless = Patience(None, 1)
    assert not any(endless.is_exhausted(1.0) for _ in range(5))


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31 - 2])
@pytest.mark.parametrize("n", [1, 2, 10, 500])
def test_the_permutation_is_scikit_learns(n, seed):
    data = sklearn_rows(n)
    data._shuffle_py(seed)
    np.testing.assert_array_equal(shuffled(n, seed), [data._next_py()[3] for _ in range(n)])


def sklearn_rows(n):
    from sklearn.utils._seq_dataset import ArrayDataset64

    return ArrayDataset64(np.zeros((n, 1)), np.zeros(n), np.ones(n))
