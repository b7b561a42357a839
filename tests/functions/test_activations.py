"""Every activation record against closed forms, central differences, quadrature and PyTorch."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from chainrule.functions import ACTIVATIONS, get_activation

LAMBDA, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

# Written another way than the records are.
CLOSED_FORMS = {
    "identity": lambda z, a: 1.0 * z,
    "sigmoid": lambda z, a: 0.5 * (1 + np.tanh(z / 2)),
    "tanh": lambda z, a: 2 * special.expit(2 * z) - 1,
    "relu": lambda z, a: 0.5 * (z + np.abs(z)),
    "leaky_relu": lambda z, a: 0.5 * (1 + a) * z + 0.5 * (1 - a) * np.abs(z),
    "elu": lambda z, a: np.select([z > 0], [z], a * (np.exp(np.minimum(z, 0)) - 1)),
    "selu": lambda z, a: LAMBDA * np.select([z > 0], [z], ALPHA * (np.exp(np.minimum(z, 0)) - 1)),
    "softplus": lambda z, a: -special.log_expit(-z),
    "gelu": lambda z, a: z * stats.norm.cdf(z),
    "silu": lambda z, a: z / (1 + np.exp(-z)),
    "mish": lambda z, a: z * (1 - 2 / (1 + (1 + np.exp(z)) ** 2)),
}
KINKED = {"relu", "leaky_relu", "elu", "selu"}

every_record = pytest.mark.parametrize("record", ACTIVATIONS.values(), ids=ACTIVATIONS)


def alphas(record):
    return [0.0] if record.alpha is None else [record.alpha, 0.25]


@pytest.fixture
def z(rng):
    """Points on both sides of 0, none nearer to it than a hundredth."""
    points = np.concatenate([rng.normal(0.0, 3.0, 200), np.linspace(-8, 8, 41)])
    return points[np.abs(points) > 1e-2]


def test_the_names():
    assert set(ACTIVATIONS) == set(CLOSED_FORMS)
    assert all(record.name == name for name, record in ACTIVATIONS.items())


@every_record
def test_value(record, z):
    for alpha in alphas(record):
        expected = CLOSED_FORMS[record.name](z, alpha)
        np.testing.assert_allclose(record.value(z, alpha), expected, rtol=1e-12, atol=1e-14)


@every_record
def test_derivative(record, z):
    width = 1e-6
    for alpha in alphas(record):
        difference = (record.value(z + width, alpha) - record.value(z - width, alpha)) / (2 * width)
        np.testing.assert_allclose(record.derivative(z, alpha), difference, rtol=1e-8, atol=2e-9)


def test_derivatives_at_the_kink():
    """At 0 the chapter's 1[z > 0] takes the left side: PyTorch's choice too."""
    zero = np.zeros(1)
    assert ACTIVATIONS["relu"].derivative(zero, 0.0) == 0.0
    assert ACTIVATIONS["leaky_relu"].derivative(zero, 0.01) == 0.01
    assert ACTIVATIONS["elu"].derivative(zero, 0.5) == 0.5
    assert ACTIVATIONS["selu"].derivative(zero, 0.0) == pytest.approx(LAMBDA * ALPHA)
    assert ACTIVATIONS["sigmoid"].derivative(zero, 0.0) == 0.25


@every_record
def test_stable_far_out_in_single_precision(record):
    z = np.array([-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4], np.float32)
    for alpha in alphas(record):
        for function in (record.value, record.derivative):
            with np.errstate(all="raise", under="ignore"):
                result = function(z, alpha)
            assert result.dtype == np.float32
            assert np.isfinite(result).all()
        with np.errstate(over="ignore"):
            exact = CLOSED_FORMS[record.name](z.astype(np.float64), alpha)
        np.testing.assert_allclose(record.value(z, alpha), exact, rtol=1e-6, atol=1e-6)


@every_record
def test_scalars_are_stable_far_out(record):
    for alpha in alphas(record):
        for z in (-1e4, -800.0, 0.0, 800.0, 1e4):
            h = record.scalar_value(z, alpha)
            assert math.isfinite(h)
            assert math.isfinite(record.scalar_derivative(z, h, alpha))


def test_the_sigmoid_keeps_its_tails():
    record = ACTIVATIONS["sigmoid"]
    assert record.derivative(np.array([40.0]), 0.0)[0] == pytest.approx(math.exp(-40), rel=1e-12)
    assert record.scalar_derivative(40.0, 1.0, 0.0) == pytest.approx(math.exp(-40), rel=1e-12)
    assert record.scalar_value(-700.0, 0.0) == pytest.approx(math.exp(-700), rel=1e-12)


def test_the_gelu_keeps_its_left_tail():
    record = ACTIVATIONS["gelu"]
    expected = -10.0 * math.exp(stats.norm.logcdf(-10.0))
    assert record.value(np.array([-10.0]), 0.0)[0] == pytest.approx(expected, rel=1e-10)
    assert record.scalar_value(-10.0, 0.0) == pytest.approx(expected, rel=1e-10)


@every_record
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (2, 3, 4)])
def test_dtype_and_shape(record, dtype, shape):
    z = np.random.default_rng(0).normal(size=shape).astype(dtype)
    before = z.copy()
    for alpha in (record.default_alpha, dtype(record.default_alpha)):
        for function in (record.value, record.derivative):
            result = function(z, alpha)
            assert (result.dtype, result.shape) == (dtype, shape)
            assert not np.shares_memory(result, z)
    np.testing.assert_array_equal(z, before)


@every_record
def test_nan_stays_nan(record):
    for dtype in (np.float32, np.float64):
        h = record.value(np.array([np.nan, 1.0], dtype), record.default_alpha)
        assert np.isnan(h).tolist() == [True, False]
    assert math.isnan(record.scalar_value(math.nan, record.default_alpha))


@every_record
def test_scalars_equal_arrays(record, z):
    z = np.concatenate([z, [0.0, -0.0, 1e-8, -1e-8, 50.0, -50.0]])
    for alpha in alphas(record):
        h = [record.scalar_value(one, alpha) for one in z.tolist()]
        slopes = [
            record.scalar_derivative(one, value, alpha) for one, value in zip(z.tolist(), h, strict=True)
        ]
        np.testing.assert_allclose(h, record.value(z, alpha), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(slopes, record.derivative(z, alpha), rtol=1e-12, atol=1e-14)


@every_record
def test_output_range(record):
    h = record.value(np.linspace(-60, 60, 1_200_001), record.default_alpha)
    low, high = record.output_range
    assert low <= h.min() + 1e-15
    assert h.max() <= high
    if math.isfinite(low):  # and the range is not wider than it need be
        assert h.min() == pytest.approx(low, abs=1e-9)
    else:
        assert h.min() < -0.5
    assert h.max() == pytest.approx(high) if math.isfinite(high) else h.max() > 50


@every_record
def test_derivative_max(record):
    slopes = record.derivative(np.linspace(-30, 30, 600_001), record.default_alpha)
    assert slopes.max() <= record.derivative_max + 1e-12
    assert slopes.max() == pytest.approx(record.derivative_max, abs=1e-8)


@every_record
def test_gain(record):
    """g² = 1 / E[σ(Z)²] by quadrature, piece by piece around the kink."""
    for alpha in alphas(record):

        def weighted(z, alpha=alpha):
            return record.scalar_value(z, alpha) ** 2 * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)

        square = sum(integrate.quad(weighted, *ends, epsabs=1e-13)[0] for ends in [(-12, 0), (0, 12)])
        assert record.gain(alpha) == pytest.approx(1 / math.sqrt(square), rel=1e-9)
    assert record.gain(record.default_alpha) == record.gain()


def test_known_gains():
    assert ACTIVATIONS["relu"].gain() == math.sqrt(2)  # equation (9)
    assert ACTIVATIONS["leaky_relu"].gain(0.2) == pytest.approx(math.sqrt(2 / 1.04))
    assert ACTIVATIONS["identity"].gain() == ACTIVATIONS["selu"].gain() == 1.0


def test_default_alpha():
    assert {name for name, record in ACTIVATIONS.items() if record.alpha is not None} == {"leaky_relu", "elu"}
    assert ACTIVATIONS["leaky_relu"].default_alpha == 0.01
    assert ACTIVATIONS["elu"].default_alpha == 1.0
    assert ACTIVATIONS["tanh"].default_alpha == 0.0


@every_record
def test_described_and_frozen(record):
    for text in ("formula", "latex", "derivative_formula", "derivative_latex", "source"):
        assert getattr(record, text).strip()
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.name = "other"


def test_find_by_name_and_alias():
    for name, record in ACTIVATIONS.items():
        assert get_activation(name) is record
    for alias, name in {"swish": "silu", "logistic": "sigmoid", "linear": "identity"}.items():
        assert get_activation(alias) is ACTIVATIONS[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("step", r"activation must be one of elu, gelu, .*swish, tanh; got 'step'\."),
        ("rleu", r"got 'rleu'\. Did you mean 'relu'\?"),
        (None, "got None"),
        (3, "got 3"),
        (["relu"], r"got \['relu'\]"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(ValueError, match=message) as error:
        get_activation(name)
    assert all(known in str(error.value) for known in ACTIVATIONS)


@every_record
def test_torch(record, z):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    functional = torch.nn.functional
    for alpha in alphas(record):
        functions = {
            "identity": lambda t: t.clone(), "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "leaky_relu": lambda t, a=alpha: functional.leaky_relu(t, a),
            "elu": lambda t, a=alpha: functional.elu(t, a),
            # PyTorch's softplus turns linear above 20 unless told otherwise.
            "softplus": lambda t: functional.softplus(t, threshold=1000.0),
        }  # fmt: skip
        function = functions.get(record.name) or getattr(functional, record.name)
        inputs = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        outputs = function(inputs)
        outputs.sum().backward()
        np.testing.assert_allclose(record.value(z, alpha), outputs.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(record.derivative(z, alpha), inputs.grad.numpy(), rtol=1e-12, atol=1e-12)
