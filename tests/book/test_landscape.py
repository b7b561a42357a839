"""The surface of section 6, its critical points, and the loss of a network between two ends."""

import numpy as np
import pytest

from chainrule.book.experiments import landscape, network_landscape


def test_the_tape_agrees_with_differences():
    assert landscape.gradient_error(n=20) < 1e-6


def test_the_gradient_is_the_surfaces_own_written_out():
    x, y = place = np.array([0.3, -0.4])
    hill = 1.4 * np.exp(-2 * x**2 - 2 * (y - 0.9) ** 2)
    expected = [4 * x * (x**2 - 1) + 0.3 - 4 * x * hill, 0.8 * y - 4 * (y - 0.9) * hill]
    np.testing.assert_allclose(landscape.gradient(place[None])[0], expected, rtol=1e-12)


def test_two_minima_two_saddles_and_a_maximum():
    found = landscape.critical_points(n_starts=8)
    assert [one.kind for one in found] == ["minimum", "minimum", "saddle", "saddle", "maximum"]
    assert max(one.gradient_norm for one in found) < 1e-9
    assert found[0].place[0] < 0 < found[1].place[0]


def test_the_whole_gradient_ends_in_the_nearest_basin_whatever_the_seed():
    found = landscape.descend(landscape.EXAMPLES, seeds=[0, 1])
    nearest = landscape.critical_points(n_starts=8)[1].place
    np.testing.assert_allclose(found.paths[-1], [nearest, nearest], atol=1e-3)


def test_a_seed_draws_its_own_batches():
    one, again, other = landscape.descend(2, seeds=[5, 5, 6], n_steps=5).paths[-1]
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("batch", [0, landscape.EXAMPLES + 1])
def test_a_batch_is_of_the_examples(batch):
    with pytest.raises(ValueError, match="batch must be from 1"):
        landscape.descend(batch, seeds=[0])


def test_the_end_of_the_path_is_the_middle_of_the_random_plane():
    found = network_landscape.network_landscape(n_steps=10, n_points=3)
    # The network keeps its parameters in single precision.
    assert found.random.loss[1, 1] == pytest.approx(found.path.path_loss[-1], rel=1e-6)
    assert found.start_lowest < found.start_highest


def test_the_line_between_two_ends_begins_and_ends_with_them():
    found = network_landscape.between_minima([(0, 1), (1, 0)], n_steps=3, n_points=5)
    np.testing.assert_allclose(found.losses[0], found.losses[1][::-1], rtol=1e-12)
    assert (found.ridges >= 0).all()
