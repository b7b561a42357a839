"""Initializers: variances (8) and (9), bounds, orthogonality, seeds, parity with torch.nn.init."""

import math

import numpy as np
import pytest

from chainrule.functions.initializers import INITIALIZERS, get_initializer

SHAPE = (300, 200)  # (n_out, n_in)

VARIANCES = {
    "xavier": 2 / 500,  # (8): 2/(n_in + n_out)
    "he": 2 / 200,  # (9): 2/n_in
    "lecun": 1 / 200,
}


def assert_variance(sample, variance):
    # The standard error of a variance estimate is at most √(2/n) of it (normal; less if uniform).
    assert sample.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / sample.size))
    assert abs(sample.mean()) < 5 * math.sqrt(variance / sample.size)


@pytest.mark.parametrize("rule", VARIANCES)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_variance_and_shape_of_the_distribution(rule, distribution, rng):
    initializer = get_initializer(f"{rule}_{distribution}")
    weights = initializer.draw(SHAPE, rng)
    assert weights.shape == SHAPE
    assert weights.dtype == np.float64
    assert_variance(weights, VARIANCES[rule])
    assert initializer.variance(SHAPE, 0.0) == pytest.approx(VARIANCES[rule], rel=1e-12)
    bound = math.sqrt(3 * VARIANCES[rule])
    if distribution == "uniform":
        assert 0.999 * bound < np.abs(weights).max() <= bound
    else:
        # A share of 0.0833 of a normal sample lies beyond √3 standard deviations.
        assert (np.abs(weights) > bound).mean() == pytest.approx(0.0833, abs=0.006)


def test_xavier_bound_is_equation_8(rng):
    weights = get_initializer("xavier_uniform").draw(SHAPE, rng)
    assert np.abs(weights).max() <= math.sqrt(6 / (200 + 300))


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("name", ["he_normal", "he_uniform"])
def test_leaky_correction(name, alpha, rng):
    weights = get_initializer(name).draw(SHAPE, rng, alpha=alpha)
    assert_variance(weights, 2 / ((1 + alpha**2) * 200))


def test_he_keeps_the_signal_of_a_leaky_relu(rng):
    alpha, h = 0.3, rng.normal(size=(500, 200))
    for _ in range(10):
        z = h @ get_initializer("he_normal").draw((200, 200), rng, alpha=alpha).T
        h = np.where(z > 0, z, alpha * z)
    assert (h**2).mean() == pytest.approx(1.0, rel=0.5)  # uncorrected, it would be 1.09^10 = 2.4


@pytest.mark.parametrize("name", INITIALIZERS)
def test_gain_multiplies_and_a_seed_repeats(name):
    initializer = INITIALIZERS[name]
    first = initializer.draw((6, 4), np.random.default_rng(3))
    again = initializer.draw((6, 4), np.random.default_rng(3), gain=2.5)
    np.testing.assert_allclose(again, 2.5 * first, rtol=1e-15)
    rng = np.random.default_rng(3)
    initializer.draw((6, 4), rng)
    if name not in ("zeros", "constant"):
        assert not np.array_equal(initializer.draw((6, 4), rng), first)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_record_is_complete_and_its_variance_is_the_samples(name, rng):
    initializer = INITIALIZERS[name]
    assert initializer.name == name
    assert initializer.formula
    assert initializer.latex
    assert initializer.source
    variance = initializer.variance(SHAPE, 0.0, **initializer.settings)
    sample = initializer.draw(SHAPE, rng)
    assert sample.shape == SHAPE
    assert sample.var() == pytest.approx(variance, rel=0.03, abs=1e-30)


@pytest.mark.parametrize("shape", [(8, 8), (12, 5), (5, 12), (1, 4), (4, 1)])
def test_orthogonal(shape, rng):
    w = get_initializer("orthogonal").draw(shape, rng)
    assert w.shape == shape
    gram = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    signs = [
        get_initializer("orthogonal").draw((3, 3), np.random.default_rng(seed))[0, 0] > 0
        for seed in range(400)
    ]
    assert 150 < sum(signs) < 250


def test_plain_distributions(rng):
    assert not get_initializer("zeros").draw((2, 3), rng).any()
    assert get_initializer("constant").draw((2, 3), rng, value=-2).tolist() == [[-2.0] * 3] * 2
    normal = get_initializer("normal").draw(SHAPE, rng, mean=5.0, std=0.1)
    assert normal.mean() == pytest.approx(5.0, abs=0.003)
    assert normal.std() == pytest.approx(0.1, rel=0.02)
    uniform = get_initializer("uniform").draw(SHAPE, rng, low=-1.0, high=3.0)
    assert uniform.mean() == pytest.approx(1.0, abs=0.03)
    assert -1.0 <= uniform.min() < -0.999
    assert 2.999 < uniform.max() < 3.0


@pytest.mark.parametrize(
    ("name", "torch_name", "ours", "theirs"),
    [
        ("xavier_uniform", "xavier_uniform_", {}, {}),
        ("xavier_normal", "xavier_normal_", {"gain": 1.5}, {"gain": 1.5}),
        ("he_uniform", "kaiming_uniform_", {}, {"nonlinearity": "relu"}),
        ("he_normal", "kaiming_normal_", {"alpha": 0.2}, {"a": 0.2}),
        ("lecun_normal", "kaiming_normal_", {}, {"nonlinearity": "linear"}),
        ("normal", "normal_", {}, {}),
        ("uniform", "uniform_", {}, {}),
        ("orthogonal", "orthogonal_", {"gain": 2.0}, {"gain": 2.0}),
    ],
)
def test_variance_is_that_of_pytorch(name, torch_name, ours, theirs, rng):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    torch.manual_seed(0)
    reference = getattr(torch.nn.init, torch_name)(torch.empty(*SHAPE), **theirs).numpy()
    sample = get_initializer(name).draw(SHAPE, rng, **ours)
    assert sample.var() == pytest.approx(reference.var(), rel=0.05)
    assert np.abs(sample).max() == pytest.approx(np.abs(reference).max(), rel=0.2)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("glorot_uniform", "xavier_uniform"),
        ("glorot_normal", "xavier_normal"),
        ("kaiming_uniform", "he_uniform"),
        ("kaiming_normal", "he_normal"),
        ("lecun", "lecun_normal"),
    ],
)
def test_aliases(alias, name):
    assert get_initializer(alias) is INITIALIZERS[name]


def test_names():
    assert list(INITIALIZERS) == [
        "zeros",
        "constant",
        "normal",
        "uniform",
        "xavier_uniform",
        "xavier_normal",
        "he_uniform",
        "he_normal",
        "lecun_uniform",
        "lecun_normal",
        "orthogonal",
    ]
    with pytest.raises(ValueError, match="initializer must be one of .*; got 'he'"):
        get_initializer("he")


@pytest.mark.parametrize(
    ("name", "shape", "kwargs", "error", "message"),
    [
        ("zeros", (3,), {}, ValueError, r"shape must be \(n_out, n_in\), two positive integers; got \(3,\)"),
        ("zeros", (3, 0), {}, ValueError, r"shape must be .*; got \(3, 0\)"),
        ("zeros", 3, {}, ValueError, "shape must be .*; got 3"),
        ("zeros", (2, 2), {"gain": math.nan}, ValueError, "gain must be a finite number; got nan"),
        ("he_normal", (2, 2), {"alpha": "x"}, ValueError, "alpha must be a finite number; got 'x'"),
        ("he_normal", (2, 2), {"std": 1}, TypeError, "he_normal has no setting 'std'; its settings: none"),
        ("normal", (2, 2), {"sd": 1}, TypeError, "normal has no setting 'sd'; its settings: mean, std"),
        ("normal", (2, 2), {"std": -1}, ValueError, "std must be at least 0; got -1"),
        ("uniform", (2, 2), {"low": 2}, ValueError, "low must not exceed high; got 2 and 1.0"),
    ],
)
def test_arguments_are_checked(name, shape, kwargs, error, message):
    with pytest.raises(error, match=message):
        get_initializer(name).draw(shape, np.random.default_rng(0), **kwargs)


def test_rng_must_be_a_generator():
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator; got int"):
        get_initializer("zeros").draw((1, 1), 0)
