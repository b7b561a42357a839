"""The vectorised elementary functions against extended precision, in units in the last place."""

import math

import numba
import numpy as np
import pytest

from chainrule.engine._jit import OPTIONS
from chainrule.engine.vector_math import math_for

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
NAMES = ["exp", "expm1", "log", "log1p", "tanh", "erfc", "sqrt"]

# Largest error allowed, in units in the last place of the exact result.
BOUNDS = {"exp": 1.1, "expm1": 2.0, "log": 2.5, "log1p": 4.0, "tanh": 3.0, "erfc": 7.0, "sqrt": 0.51}


def loop_over(function):
    @numba.njit(**OPTIONS)
    def loop(x, result):
        for i in range(x.size):
            result[i] = function(x[i])

    return loop


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def dtype(request):
    return request.param


def evaluate(name, x):
    result = np.empty_like(x)
    loop_over(getattr(math_for(x.dtype), name))(x, result)
    return result


def points(name, dtype):
    """Arguments over the function's range, dense near zero."""
    single = dtype == np.float32
    near_zero = np.concatenate([np.logspace(-9, 1, 20001), -np.logspace(-9, 1, 20001)])
    ranges = {
        "exp": (-87.0, 88.0) if single else (-700.0, 700.0),
        "expm1": (-30.0, 80.0),
        "tanh": (-25.0, 25.0),
        "erfc": (-6.0, 9.0),
    }
    if name in ("log", "sqrt"):
        return np.logspace(-37, 37, 100001).astype(dtype)
    if name == "log1p":
        return np.concatenate([np.logspace(-30, 30, 50001), np.linspace(-0.99, 2, 50001)]).astype(dtype)
    return np.concatenate([np.linspace(*ranges[name], 100001), near_zero]).astype(dtype)


def exact(name, x):
    """The function in extended precision; erfc in double, from the C library (SciPy's is less exact)."""
    if name == "erfc":
        return np.array([math.erfc(value) for value in x.tolist()], dtype=np.longdouble)
    return getattr(np, name)(x.astype(np.longdouble))


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_in_units_in_the_last_place(name, dtype):
    x = points(name, dtype)
    expected = exact(name, x)
    unit = np.spacing(np.maximum(np.abs(expected.astype(dtype)), np.finfo(dtype).tiny)).astype(np.longdouble)
    error = np.abs(evaluate(name, x).astype(np.longdouble) - expected) / unit
    assert error.max() <= BOUNDS[name], (float(error.max()), x[error.argmax()])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp", [np.nan, np.inf, 0, 1, np.inf, 0]),
        ("expm1", [np.nan, np.inf, -1, 0, np.inf, -1]),
        ("log", [np.nan, np.inf, np.nan, -np.inf, np.log(1e4), np.nan]),
        ("log1p", [np.nan, np.inf, np.nan, 0, np.log1p(1e4), np.nan]),
        ("tanh", [np.nan, 1, -1, 0, 1, -1]),
        ("erfc", [np.nan, 0, 2, 1, 0, 2]),
    ],
)
def test_extremes_and_nan(name, expected, dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0, 1e4, -1e4], dtype=dtype)
    np.testing.assert_allclose(evaluate(name, x), np.array(expected, dtype), rtol=3 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("x", "tail"), [(8.0, 1.1224297172982928e-29), (20.0, 5.3958656116079005e-176)])
def test_erfc_keeps_its_relative_accuracy_in_the_tail(x, tail):
    """Values by Abramowitz & Stegun's continued fraction in 40 digits."""
    value = evaluate("erfc", np.array([x]))[0]
    assert value == pytest.approx(tail, rel=4e-15)


@pytest.mark.parametrize("name", ["exp", "tanh", "erfc", "log1p"])
def test_a_loop_is_vector_code(name, dtype):
    """On a processor with vectors the loop works on several numbers at once and calls no library."""
    loop = loop_over(getattr(math_for(dtype), name))
    x = np.ones(64, dtype)
    loop(x, np.empty_like(x))
    text = loop.inspect_llvm(loop.signatures[0])
    kind = "float" if dtype == np.float32 else "double"
    assert f"x {kind}>" in text
    assert "@expf(" not in text
    assert "@tanhf(" not in text
