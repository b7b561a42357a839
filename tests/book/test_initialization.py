"""Section 5's experiments, against what can be worked out by hand."""

import numpy as np
import pytest

from chainrule.book.experiments.initialization import (
    Variances,
    drawn_weights,
    layer_variances,
    train_from_equal_weights,
    variance_rule,
)
from chainrule.book.experiments.vanishing import Recipe
from chainrule.book.sections import initialization as section


@pytest.mark.parametrize(
    ("name", "alpha", "formula"),
    [
        ("xavier_uniform", 0.0, 2 / 500),
        ("xavier_normal", 0.0, 2 / 500),
        ("he_uniform", 0.0, 2 / 200),
        ("he_normal", 0.5, 2 / (1.25 * 200)),
    ],
)
def test_draws_have_the_formulas_variance(name, alpha, formula):
    found = drawn_weights(name, (300, 200), seed=0, alpha=alpha)
    assert found.formula == pytest.approx(formula)
    assert abs(found.variance - found.formula) < found.tolerance
    assert found.largest <= found.bound


def test_the_bound_of_the_uniform_rule_is_the_chapters():
    assert drawn_weights("xavier_uniform", (30, 20), seed=0).bound == pytest.approx(np.sqrt(6 / 50))


def test_variance_and_mean_square_agree_where_the_mean_is_zero():
    found = variance_rule("identity", n_in=2000, n_out=4000, seeds=[0, 1])
    np.testing.assert_allclose(found.by_variance, 1.0, atol=0.1)
    np.testing.assert_allclose(found.by_variance, found.by_mean_square, rtol=0.01)


def test_orthogonal_layers_keep_both_variances():
    found = layer_variances(Recipe("linear", "identity", "orthogonal"), width=30, depth=20, seeds=[0, 1])
    np.testing.assert_allclose(found.kept_forward, 1.0, atol=0.05)
    np.testing.assert_allclose(found.kept_back, 1.0, atol=0.05)
    assert found.saturated.max() == 0.0


class TestEqualStart:
    X = np.random.default_rng(0).standard_normal((3, 40))
    y = np.arange(40) % 2

    @pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
    @pytest.mark.parametrize("start", ["zeros", "equal"])
    def test_units_stay_the_same(self, start, activation):
        found = train_from_equal_weights(start, activation, self.X, self.y, hidden=5, steps=30)
        assert found.apart < 1e-12

    def test_random_ones_do_not(self):
        found = train_from_equal_weights("xavier", "tanh", self.X, self.y, hidden=5, steps=30)
        assert found.apart > 0.1

    def test_refuses_an_unknown_start(self):
        with pytest.raises(ValueError, match="start must be one of zeros, equal, xavier, got 'ones'"):
            train_from_equal_weights("ones", "tanh", self.X, self.y)


@pytest.mark.parametrize(
    ("kept", "verdict"), [((0.5, 2.0), "holds"), ((0.5, 0.01), "depends"), ((20.0, 0.01), "fails")]
)
def test_the_verdict_is_decided_by_what_is_kept(kept, verdict):
    recipe = Recipe("any", "relu", "he_normal")
    cases = {
        str(one): Variances(recipe, np.array([[1.0, one]]), np.array([[one, 1.0]]), np.zeros(1))
        for one in kept
    }
    assert section._kept_verdict("a claim", cases).verdict == verdict
