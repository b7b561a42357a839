"""Claim 2's experiment, against networks whose spectra are known."""

import numpy as np
import pytest

from chainrule.book.experiments.jacobians import (
    ARCHITECTURES,
    Architecture,
    Spectra,
    jacobian_by_hand,
    layer_eigenvalues,
    random_network,
    spectra,
)
from chainrule.book.sections import jacobians as section
from chainrule.health import jacobian_spectrum


def test_orthogonal_layers_that_are_nearly_linear_keep_every_direction():
    linear = Architecture("linear", "tanh", "orthogonal", inputs=1e-4)
    found = spectra(linear, width=6, depth=20, seeds=[0, 1], n_samples=2)
    np.testing.assert_allclose(found.end_to_end, 1.0, atol=1e-4)
    np.testing.assert_allclose(found.predicted, found.measured, rtol=1e-4)


def test_a_sigmoid_layer_has_no_value_beyond_a_quarter_of_its_weights():
    found = spectra(ARCHITECTURES[0], width=8, depth=3, seeds=[0], n_samples=2)
    weight = random_network(ARCHITECTURES[0], 8, 3, 0)[0][0].weight.detach().numpy()
    assert found.layers[0, 0, 0] <= 0.25 * np.linalg.norm(weight, 2)


def test_the_jacobian_by_hand_is_the_measured_one():
    net, X = random_network(ARCHITECTURES[3], 7, 1, 0)
    by_hand = jacobian_by_hand(net[0].body[0].weight.detach().numpy(), X[0], "sigmoid", residual=True)
    measured = jacobian_spectrum(net, X[:1]).end_to_end.singular_values[0]
    np.testing.assert_allclose(measured, np.linalg.svd(by_hand, compute_uv=False), rtol=1e-10)


def test_the_running_averages_are_those_of_the_inputs():
    net, X = random_network(ARCHITECTURES[2], 5, 1, 0)
    z = X @ net[0].weight.detach().numpy().T
    np.testing.assert_allclose(net[1].running_mean, z.mean(axis=0), atol=1e-12)


def test_the_identity_moves_eigenvalues_by_one():
    settings = {"width": 6, "seeds": [0, 1]}
    plain = layer_eigenvalues("plain", "tanh", 1.0, residual=False, **settings)
    residual = layer_eigenvalues("residual", "tanh", 1.0, residual=True, **settings)
    np.testing.assert_allclose(
        np.sort_complex(plain.values + 1), np.sort_complex(residual.values), atol=1e-10
    )


@pytest.mark.parametrize(
    ("sigmoid", "orthogonal", "layer", "verdict"),
    [
        (1e-12, 1.0, None, "holds"),
        (1e-12, 1.0, 3.0, "depends"),
        (1.0, 1.0, None, "fails"),
        (1e-12, 1e-12, None, "fails"),
    ],
)
def test_the_verdict_is_decided_by_the_spectra(sigmoid, orthogonal, layer, verdict):
    found = {}
    for design, end in zip(ARCHITECTURES, (sigmoid, 1.0, 1.0, 1.0, orthogonal), strict=True):
        each = end ** (1 / 20) if layer is None else layer
        found[design.name] = Spectra(design, 2, 20, np.full((3, 20, 2), each), np.full((3, 2), end))
    assert section._profile_verdict(found).verdict == verdict
