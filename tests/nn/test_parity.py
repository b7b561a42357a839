"""Every shared layer against PyTorch: printing, state, forward pass in both modes."""

import numpy as np
import pytest

from chainrule import nn

# Class name, positional arguments, keyword arguments: the same on both sides.
LAYERS = [
    ("Linear", (5, 3), {}),
    ("Linear", (5, 3), {"bias": False}),
    ("Identity", (), {}),
    ("Sigmoid", (), {}),
    ("Tanh", (), {}),
    ("ReLU", (), {}),
    ("LeakyReLU", (), {}),
    ("LeakyReLU", (0.2,), {}),
    ("LeakyReLU", (), {"negative_slope": 1}),
    ("ELU", (), {}),
    ("ELU", (0.5,), {}),
    ("ELU", (), {"alpha": 2}),
    ("SELU", (), {}),
    ("Softplus", (), {}),
    ("Softplus", (1, 20), {}),
    ("GELU", (), {}),
    ("SiLU", (), {}),
    ("Mish", (), {}),
    ("BatchNorm1d", (5,), {}),
    ("BatchNorm1d", (5, 1e-2, 0.3), {}),
    ("BatchNorm1d", (5,), {"affine": False}),
    ("LayerNorm", (5,), {}),
    ("LayerNorm", ((5,), 1e-2), {}),
    ("LayerNorm", (5,), {"bias": False}),
    ("LayerNorm", (5,), {"elementwise_affine": False}),
    ("Dropout", (), {}),
    ("Dropout", (0,), {}),
    ("Dropout", (1,), {}),
]


@pytest.fixture(params=LAYERS, ids=lambda layer: f"{layer[0]}-{layer[1]}-{layer[2]}")
def pair(request, torch):
    """One of our layers and PyTorch's of the same name and arguments."""
    name, args, kwargs = request.param
    torch.manual_seed(0)
    nn.manual_seed(0)
    return getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)


def randomized(module, rng):
    """The module with every array changed, so that a mixed-up name would show."""
    state = module.state_dict()
    for name, array in state.items():
        if array.dtype == np.float32:
            state[name] = rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
    module.load_state_dict(state)
    return module


def assert_same_state(ours, theirs):
    their_state = theirs.state_dict()
    assert list(ours.state_dict()) == list(their_state)
    for name, array in ours.state_dict().items():
        tensor = their_state[name].numpy()
        assert array.shape == tensor.shape
        assert array.dtype == tensor.dtype
        np.testing.assert_allclose(array, tensor, rtol=2e-6, atol=1e-6, err_msg=name)


def test_repr(pair):
    ours, theirs = pair
    assert repr(ours) == repr(theirs)


def test_state_moves_to_pytorch(pair, tensors, rng):
    ours, theirs = pair
    theirs.load_state_dict(tensors(randomized(ours, rng).state_dict()))
    assert_same_state(ours, theirs)


def test_state_moves_from_pytorch(pair, rng):
    ours, theirs = pair
    randomized(ours, rng).load_state_dict(theirs.state_dict())
    assert_same_state(ours, theirs)


def test_forward_in_both_modes(pair, torch, tensors, rng):
    ours, theirs = pair
    theirs.load_state_dict(tensors(randomized(ours, rng).state_dict()))
    random = type(ours) is nn.Dropout and 0 < ours.p < 1
    for _ in range(4):  # over several batches, so that the running statistics mix
        x = rng.normal(1.0, 3.0, (16, 5)).astype(np.float32)
        if not random:
            with torch.no_grad():
                expected = theirs(torch.from_numpy(x)).numpy()
            y = ours(x)
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-6)
            assert y.dtype == np.float32
        assert_same_state(ours, theirs)
    ours.eval()
    theirs.eval()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=2e-6)
    assert_same_state(ours, theirs)


def test_every_layer_that_pytorch_has_is_in_the_table(torch):
    shared = {
        name
        for name in nn.__all__
        if hasattr(torch.nn, name)
        and not name.endswith("Loss")
        and name not in ("Module", "Parameter", "Sequential")
    }
    assert shared == {name for name, _, _ in LAYERS}


def networks(package):
    """A network with every kind of layer and nesting, of one package or the other."""
    return package.Sequential(
        package.Linear(5, 8),
        package.Sequential(package.BatchNorm1d(8), package.ReLU(), package.Dropout(0.0)),
        package.Sequential(),
        package.Linear(8, 8, bias=False),
        package.LayerNorm(8),
        package.GELU(),
        package.Linear(8, 3),
    )


def test_whole_network(torch, tensors, batch):
    torch.manual_seed(0)
    ours, theirs = networks(nn), networks(torch.nn)
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        with torch.no_grad():
            expected = theirs(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(ours(batch), expected, rtol=1e-4, atol=1e-5)
    assert_same_state(ours, theirs)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_buffers()] == [name for name, _ in theirs.named_buffers()]


def test_parameters_of_pytorch_that_require_a_gradient_are_taken(torch):
    theirs = torch.nn.Linear(2, 3)
    ours = nn.Linear(2, 3)
    ours.load_state_dict(dict(theirs.named_parameters()))
    assert_same_state(ours, theirs)
    ours.weight = theirs.weight + 1
    np.testing.assert_allclose(ours.weight.data, theirs.weight.detach().numpy() + 1)


def test_default_initialization_has_pytorchs_distribution(torch):
    torch.manual_seed(0)
    nn.manual_seed(0)
    ours, theirs = nn.Linear(400, 300), torch.nn.Linear(400, 300)
    for name in ("weight", "bias"):
        mine, its = getattr(ours, name).data, getattr(theirs, name).detach().numpy()
        n = mine.size
        # Both are U(−1/20, 1/20): variance 1/1200; the variance estimate's own error is about 0.9/√n.
        for array in (mine, its):
            assert 0.95 / 20 < np.abs(array).max() <= 1 / 20
            assert array.var() == pytest.approx(1 / 1200, rel=5 / np.sqrt(n))
            assert abs(array.mean()) < 5 * np.sqrt(1 / 1200 / n)
