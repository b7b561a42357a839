"""Section 4's experiment, against what can be worked out by hand."""

import numpy as np
import pytest

from chainrule.book.experiments.vanishing import (
    RECIPES,
    GradientSizes,
    OverflowDepth,
    Recipe,
    RepeatedMatrix,
    depth_at_overflow,
    gradient_sizes,
    repeated_matrix,
    sigmoid_bound,
)
from chainrule.book.sections import vanishing as section


class TestGradientSizes:
    def test_depth_one_leaves_the_unit_gradient(self):
        found = gradient_sizes(RECIPES[0], width=6, depths=[1], seeds=[0, 1])
        np.testing.assert_allclose(found.sizes, 1.0, rtol=1e-12)

    def test_orthogonal_weights_without_an_activation_lose_nothing(self):
        linear = Recipe("linear", "identity", "orthogonal")
        found = gradient_sizes(linear, width=6, depths=[1, 30], seeds=[0, 1, 2])
        np.testing.assert_allclose(found.sizes, 1.0, rtol=1e-12)

    def test_a_gain_multiplies_once_a_layer(self):
        doubled = Recipe("doubled", "identity", "orthogonal", 2.0)
        found = gradient_sizes(doubled, width=4, depths=[1, 11], seeds=[0])
        np.testing.assert_allclose(found.at(11), 1024.0, rtol=1e-12)
        assert found.rate == pytest.approx(2.0)

    def test_relu_with_unscaled_weights_grows_by_the_root_of_half_the_width(self):
        found = gradient_sizes(RECIPES[4], width=200, depths=[1, 20], seeds=range(5))
        assert found.rate == pytest.approx(10.0, rel=0.1)

    def test_refuses_a_depth_of_nothing(self):
        with pytest.raises(ValueError, match="depths must be at least 1, got 0"):
            gradient_sizes(RECIPES[0], width=4, depths=[0, 3], seeds=[0])


class TestSigmoidBound:
    def test_is_met_where_every_slope_is_a_quarter(self):
        found = sigmoid_bound("orthogonal", norm=1.0, width=6, depth=20, seeds=[0], centred=True)
        np.testing.assert_allclose(found.largest, 0.25**19, rtol=1e-12)

    def test_larger_norms_go_beyond_it(self):
        found = sigmoid_bound("orthogonal", norm=4.0, width=6, depth=8, seeds=[0, 1], centred=True)
        np.testing.assert_allclose(found.largest, 1.0, rtol=1e-12)
        assert found.bound == pytest.approx(1.0)
        assert found.share_within == 0.0


class TestOverflow:
    def test_comes_when_the_powers_of_the_gain_run_out(self):
        doubled = Recipe("doubled", "relu", "he_normal", 2.0)
        found = depth_at_overflow(doubled, width=64, seeds=[0, 1], at_most=1200)
        assert np.all(np.abs(found.single - 128) < 16)
        assert np.all(np.abs(found.double - 1024) < 60)

    def test_is_infinite_where_nothing_grows(self):
        small = Recipe("small", "relu", "he_normal", 0.5)
        assert np.isinf(depth_at_overflow(small, width=16, seeds=[0], at_most=50).single).all()

    def test_refuses_another_activation(self):
        with pytest.raises(ValueError, match="recipe must have the ReLU, got 'tanh'"):
            depth_at_overflow(RECIPES[1], width=4, seeds=[0], at_most=5)


def test_a_repeated_matrix_grows_with_its_spectral_radius():
    found = repeated_matrix(width=10, steps=2000, seeds=range(4))
    np.testing.assert_allclose(found.recurrent, found.radius, atol=0.005)
    assert np.all(found.norm > found.radius)


class TestVerdicts:
    """They are decided by the data: each can come out either way."""

    @staticmethod
    def sizes(width, value):
        return GradientSizes(RECIPES[2], width, np.array([1, 50]), np.full((2, 10), value), 1.0)

    @pytest.mark.parametrize(
        ("left", "verdict"), [((0.5, 2.0), "holds"), ((1e-3, 1.0), "depends"), ((1e-3, 1e4), "fails")]
    )
    def test_near_one(self, left, verdict):
        found = section._near_one_verdict([self.sizes(10 * n, value) for n, value in enumerate(left, 1)])
        assert found.verdict == verdict

    @pytest.mark.parametrize(("left", "verdict"), [(1e-9, "holds"), (0.1, "fails")])
    def test_decay(self, left, verdict):
        found = GradientSizes(RECIPES[0], 10, np.array([20, 50]), np.full((2, 10), left), 1.0)
        assert section._decay_verdict(found).verdict == verdict

    @pytest.mark.parametrize(
        ("single", "double", "verdict"),
        [(50.0, 400.0, "holds"), (50.0, 900.0, "depends"), (900.0, np.inf, "fails")],
    )
    def test_overflow(self, single, double, verdict):
        found = OverflowDepth(RECIPES[4], 10, np.array([single]), np.array([double]), 2000)
        with np.errstate(invalid="raise"):
            assert section._overflow_verdict([found]).verdict == verdict

    @pytest.mark.parametrize(("off", "verdict"), [(0.001, "holds"), (0.1, "fails")])
    def test_the_rate_of_a_recurrent_network(self, off, verdict):
        radius = np.array([0.1, -0.1])
        found = RepeatedMatrix(radius + off, np.zeros(2), radius, np.ones(2))
        assert section._repeated_verdict(found).verdict == verdict
