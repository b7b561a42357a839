"""Slices of the loss landscape against what the loss is there, and known paths."""

import numpy as np
import pytest
from tests.health.networks import CLASSES, TARGETS, X, every_kind, linear, mlp, snapshot

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.health import (
    Differentiable,
    filter_normalized_direction,
    loss_plane,
    loss_slice,
    parameter_vector,
    path_plane,
)


def test_every_filter_has_the_length_of_the_model_s():
    network = every_kind()
    direction = filter_normalized_direction(network, seed=3)
    model = Differentiable(network)
    w = model.parameters
    assert direction.shape == w.shape
    for slot in model.slots:
        if len(slot.shape) == 1:  # biases and normalisation
            assert not slot.view(direction).any()
        else:
            np.testing.assert_allclose(
                np.linalg.norm(slot.view(direction), axis=1), np.linalg.norm(slot.view(w), axis=1)
            )


def test_filters_of_a_convolution(torch):
    layer = torch.nn.Conv2d(3, 4, 2)
    direction = filter_normalized_direction(layer)[:48].reshape(4, 12)
    expected = np.linalg.norm(layer.weight.detach().double().numpy().reshape(4, 12), axis=1)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), expected, rtol=1e-12)


def test_scaling_the_layers_changes_no_slice():
    """What filter normalisation is for: a ReLU network with one layer doubled and the next halved."""
    network = mlp("relu", (5, 8, 3))
    for layer in (network[0], network[2]):
        layer.bias = np.zeros(layer.out_features)
    scaled = network.copy()
    scaled[0].weight, scaled[2].weight = 8 * network[0].weight.data, network[2].weight.data / 8
    one, other = (loss_slice(net, X, CLASSES, nn.CrossEntropyLoss()) for net in (network, scaled))
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-12)


def test_a_slice_is_the_loss_along_the_direction():
    network = mlp()
    found = loss_slice(network, X, TARGETS, nn.MSELoss(), n_points=7, radius=2.0, seed=4)
    np.testing.assert_allclose(found.alpha, np.linspace(-2, 2, 7))
    moved = network.copy()
    model = Differentiable(network)
    for a, loss in zip(found.alpha, found.loss, strict=True):
        vector = parameter_vector(network) + a * found.direction
        moved.load_state_dict({slot.name: slot.view(vector) for slot in model.slots})
        assert loss == pytest.approx(nn.MSELoss()(moved(X), TARGETS), rel=1e-13)
    assert found.loss[3] == pytest.approx(nn.MSELoss()(network(X), TARGETS), rel=1e-14)
    np.testing.assert_array_equal(found.direction, filter_normalized_direction(network, seed=4))


def test_a_plane_is_the_loss_on_it():
    network = mlp()
    found = loss_plane(network, X, TARGETS, nn.MSELoss(), n_points=4, radius=0.5)
    model = Differentiable(network, nn.MSELoss())
    w = model.parameters
    for i, b in enumerate(found.beta):
        for j, a in enumerate(found.alpha):
            there = w + a * found.directions[0] + b * found.directions[1]
            assert found.loss[i, j] == model.loss(there, X, TARGETS)
    cosine = np.divide(
        found.directions[0] @ found.directions[1], np.prod(np.linalg.norm(found.directions, axis=1))
    )
    assert abs(cosine) < 0.5


def test_a_slice_of_a_quadratic_is_a_parabola_with_the_hessian_s_curvature():
    module = linear(5, 3, 0, bias=False)
    found = loss_slice(module, X, TARGETS, nn.HalfSquaredErrorLoss(), n_points=5)
    second = np.polyfit(found.alpha, found.loss, 2)[0]
    model = Differentiable(module, nn.HalfSquaredErrorLoss())
    curvature = found.direction @ model.hessian_vector(model.parameters, X, TARGETS, found.direction)
    assert 2 * second == pytest.approx(curvature, rel=1e-10)


# -- paths ---------------------------------------------------------------------------------------------


def spiral(origin, seed=0):
    """A path in a known plane, along 3 u and v, and a little out of it; it ends at the origin."""
    rng = np.random.default_rng(seed)
    u, v, off = np.linalg.qr(rng.standard_normal((len(origin), 3)))[0].T
    t = np.linspace(1, 0, 21)
    angles = 4 * np.pi * t
    plane = np.outer(3 * t * np.cos(angles), u) + np.outer(t * np.sin(angles), v)
    return origin + plane + np.outer(1e-3 * np.sin(9 * angles), off), u, v


def test_the_plane_of_a_known_path():
    network = mlp()
    origin = parameter_vector(network)
    path, u, v = spiral(origin)
    found = path_plane(network, path, X, TARGETS, nn.MSELoss(), n_points=6)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(2), atol=1e-12)
    inside = np.stack([u, v])
    np.testing.assert_allclose(np.linalg.norm(found.directions @ inside.T, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(found.coordinates[-1], 0)
    assert (found.coordinates[0] >= 0).all()
    np.testing.assert_allclose(path[-1] + found.coordinates @ found.directions, path, atol=1e-2)
    assert found.explained_variance[0] > found.explained_variance[1]
    assert found.explained_variance.sum() == pytest.approx(1.0, abs=1e-5)
    centred = path - path.mean(axis=0)
    shares = np.sort(np.linalg.eigvalsh(centred @ centred.T))[::-1]
    np.testing.assert_allclose(found.explained_variance, shares[:2] / shares.sum(), rtol=1e-9)
    model = Differentiable(network, nn.MSELoss())
    np.testing.assert_array_equal(found.path_loss, [model.loss(place, X, TARGETS) for place in path])
    assert found.alpha[0] < found.coordinates[:, 0].min()
    assert found.alpha[-1] > found.coordinates[:, 0].max()
    there = path[-1] + found.alpha[1] * found.directions[0] + found.beta[4] * found.directions[1]
    assert found.loss[4, 1] == model.loss(there, X, TARGETS)


def test_the_path_of_a_training():
    network, path = mlp(), []
    optimizer_rate, model = 0.5, Differentiable(mlp(), nn.MSELoss())
    w = parameter_vector(network)
    for _ in range(30):
        path.append(w)
        w = w - optimizer_rate * model.gradient(w, X, TARGETS)
    found = path_plane(network, path, X, TARGETS, nn.MSELoss(), n_points=5)
    assert found.path_loss[-1] < found.path_loss[0]
    assert found.explained_variance.sum() > 0.9


def test_a_path_that_is_none():
    network = linear(2, 1, 0, bias=False)
    data = np.eye(2), np.zeros(2), nn.MSELoss()
    with pytest.raises(ValueError, match="path must have at least three parameter vectors; got 2"):
        path_plane(network, [[0.0, 0.0], [1.0, 0.0]], *data)
    with pytest.raises(ValueError, match="path must span a plane; all its places lie on one line"):
        path_plane(network, [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], *data)
    with pytest.raises(ValueError, match="path must span a plane"):
        path_plane(network, [[1.0, 1.0]] * 3, *data)
    with pytest.raises(ValueError, match=r"vectors of shape \(2,\); number 1 has shape \(3,\)"):
        path_plane(network, [[0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0]], *data)
    with pytest.raises(ValueError, match="number 2 is not finite"):
        path_plane(network, [[0.0, 0.0], [1.0, 1.0], [np.nan, 2.0]], *data)
    with pytest.raises(ValueError, match="margin must be a finite number above 0; got -1"):
        path_plane(network, [[0.0, 0.0], [1.0, 0.0], [2.0, 2.0]], *data, margin=-1)


# -- the rest ------------------------------------------------------------------------------------------


def test_a_loss_that_overflows_is_part_of_the_landscape():
    network = mlp("relu")
    for layer in (network[2], network[4]):
        layer.weight = 1e120 * layer.weight.data
    found = loss_slice(network, X, TARGETS, nn.MSELoss(), n_points=5)
    assert np.isinf(found.loss).all()


def test_torch_gives_the_same(torch):
    network = every_kind()
    path = spiral(parameter_vector(network))[0]
    arguments = {"n_points": 4}
    mine = loss_slice(network, X, CLASSES, nn.CrossEntropyLoss(), **arguments)
    theirs = loss_slice(to_torch(network), X, CLASSES, torch.nn.CrossEntropyLoss(), **arguments)
    np.testing.assert_array_equal(mine.direction, theirs.direction)
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-12)
    mine = loss_plane(network, X, CLASSES, nn.CrossEntropyLoss(), **arguments)
    theirs = loss_plane(to_torch(network), X, CLASSES, torch.nn.CrossEntropyLoss(), **arguments)
    np.testing.assert_allclose(mine.loss, theirs.loss, rtol=1e-12)
    mine = path_plane(network, path, X, CLASSES, nn.CrossEntropyLoss(), **arguments)
    theirs = path_plane(to_torch(network), path, X, CLASSES, torch.nn.CrossEntropyLoss(), **arguments)
    np.testing.assert_allclose(mine.path_loss, theirs.path_loss, rtol=1e-11)
    np.testing.assert_array_equal(mine.coordinates, theirs.coordinates)


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_the_model_is_left_as_it_is(of, request):
    network, loss = every_kind(), nn.CrossEntropyLoss()
    if of == "torch":
        loss = request.getfixturevalue("torch").nn.CrossEntropyLoss()
        network = to_torch(network)
    before = snapshot(network)
    loss_slice(network, X, CLASSES, loss, n_points=3)
    loss_plane(network, X, CLASSES, loss, n_points=2)
    path_plane(network, spiral(parameter_vector(network))[0], X, CLASSES, loss, n_points=2)
    with pytest.raises((ValueError, IndexError), match="."):
        loss_slice(network, X, CLASSES + 7, loss)
    assert snapshot(network) == before


def test_errors_name_the_argument():
    arguments = mlp(), X, CLASSES, nn.CrossEntropyLoss()
    with pytest.raises(ValueError, match="n_points must be an integer of at least 2; got 1"):
        loss_slice(*arguments, n_points=1)
    with pytest.raises(ValueError, match="radius must be a finite number above 0; got 0"):
        loss_plane(*arguments, radius=0)
    with pytest.raises(TypeError, match="radius must be a number above 0; got 'far'"):
        loss_plane(*arguments, radius="far")
    with pytest.raises(ValueError, match="module has no weight matrix that requires a gradient"):
        filter_normalized_direction(nn.BatchNorm1d(3))


def test_one_seed_gives_one_result():
    first, again, other = (filter_normalized_direction(mlp(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
