"""L-BFGS against PyTorch's, iterate by iterate, and on functions with a known minimum; the line search."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.optim.problems import give, leaf, logistic, quadratic, rosenbrock

from chainrule.optim import LBFGS
from chainrule.optim.line_search import CURVATURE, DECREASE, Trial, strong_wolfe

FUNCTIONS = {"rosenbrock": rosenbrock, "quadratic": quadratic, "logistic": logistic}
STARTS = {
    "rosenbrock": np.array([-1.2, 1.0, 0.7, -0.5]),
    "quadratic": np.linspace(-2, 2, 8),
    "logistic": np.linspace(-1, 1, 6),
}


def closure_of(parameters, function, seen):
    """Loss and gradient of a function of all parameters as one vector; notes where it was asked."""

    def closure():
        x = np.concatenate([parameter.data.ravel() for parameter in parameters]).astype(np.float64)
        loss, gradient = function(x)
        seen.append(x)
        first = 0
        for parameter in parameters:
            give(parameter, gradient[first : first + parameter.data.size].reshape(parameter.data.shape))
            first += parameter.data.size
        return loss

    return closure


def minimised(function, x, n_calls=1, dtype=np.float64, **options):
    """One parameter, after so many calls of ``step``."""
    w, seen = leaf(x, dtype), []
    optimizer = LBFGS([w], **options)
    for _ in range(n_calls):
        optimizer.step(closure_of([w], function, seen))
    return w.data, seen


# -- parity with PyTorch ---------------------------------------------------------------------------


def theirs(torch, function, x, n_calls, **options):
    """What PyTorch's does, with gradients from the same function."""
    parameter, seen = torch.nn.Parameter(torch.tensor(x)), []
    optimizer = torch.optim.LBFGS([parameter], **options)

    def closure():
        seen.append(parameter.detach().numpy().copy())
        loss, gradient = function(seen[-1])
        parameter.grad = torch.tensor(gradient)
        return torch.tensor(loss, dtype=torch.float64)

    losses = [float(optimizer.step(closure)) for _ in range(n_calls)]
    return parameter.detach().numpy(), seen, losses, optimizer


OPTIONS = {
    "as it is": {},
    "small steps": {"lr": 0.3},
    "strong Wolfe": {"line_search_fn": "strong_wolfe"},
    "short memory": {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 30},
    "short memory, no search": {"history_size": 3, "lr": 0.5},
    "one iteration": {"max_iter": 1},
    "one iteration, strong Wolfe": {"max_iter": 1, "line_search_fn": "strong_wolfe"},
    "few evaluations": {"max_eval": 4, "line_search_fn": "strong_wolfe"},
    "few evaluations, no search": {"max_eval": 4},
    "coarse": {"tolerance_grad": 1e-2, "tolerance_change": 1e-3, "line_search_fn": "strong_wolfe"},
    "large steps": {"lr": 5.0, "line_search_fn": "strong_wolfe"},
    "tiny steps": {"lr": 1e-2, "max_iter": 10, "line_search_fn": "strong_wolfe"},
}


# Without a search the steps leave the valley for infinity.
DIVERGE = [("rosenbrock", options) for options in ("as it is", "small steps", "short memory, no search")]


@pytest.mark.parametrize(
    ("function", "options"), [pair for pair in itertools.product(FUNCTIONS, OPTIONS) if pair not in DIVERGE]
)
def test_torch(function, options):
    """Every point at which the loss was asked for, and when it stopped."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    f, x = FUNCTIONS[function], STARTS[function]
    expected, their_points, _, _ = theirs(torch, f, x, 3, **OPTIONS[options])
    found, points = minimised(f, x, 3, **OPTIONS[options])
    assert len(points) == len(their_points)
    np.testing.assert_allclose(points, their_points, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_torch_on_rosenbrock_without_a_search():
    """Small enough steps keep to the valley."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    options = {"lr": 0.05, "max_iter": 60}
    expected, their_points, losses, _ = theirs(torch, rosenbrock, STARTS["rosenbrock"], 3, **options)
    found, points = minimised(rosenbrock, STARTS["rosenbrock"], 3, **options)
    assert losses[-1] < losses[0]
    assert len(points) == len(their_points)
    np.testing.assert_allclose(points, their_points, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_going_on_from_torch_s_state():
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    options = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    x, _, _, their_optimizer = theirs(torch, rosenbrock, STARTS["rosenbrock"], 2, **options)
    expected, *_ = theirs(torch, rosenbrock, STARTS["rosenbrock"], 4, **options)
    w = leaf(x)
    optimizer = LBFGS([w])
    optimizer.load_state_dict(their_optimizer.state_dict())
    for _ in range(2):
        optimizer.step(closure_of([w], rosenbrock, []))
    np.testing.assert_allclose(w.data, expected, rtol=1e-10, atol=1e-10)


# -- known minima ----------------------------------------------------------------------------------


def test_the_valley_of_rosenbrock():
    found, points = minimised(rosenbrock, [-1.2, 1.0], 5, line_search_fn="strong_wolfe", tolerance_change=0)
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-7)
    assert len(points) < 100


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_a_quadratic(search):
    found, points = minimised(quadratic, np.ones(6), 3, line_search_fn=search, tolerance_change=0)
    np.testing.assert_allclose(found, np.zeros(6), atol=1e-7)
    assert len(points) < 40


def test_scipy_finds_the_same_minimum():
    import scipy.optimize

    expected = scipy.optimize.minimize(logistic, np.zeros(6), jac=True, tol=1e-12).x
    found, _ = minimised(logistic, np.zeros(6), 3, line_search_fn="strong_wolfe", tolerance_change=1e-14)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_first_step_has_length_one_at_most():
    found, points = minimised(quadratic, np.ones(3), max_iter=1)
    gradient = quadratic(np.ones(3))[1]
    np.testing.assert_allclose(found, 1 - gradient / np.abs(gradient).sum())
    assert len(points) == 1


def test_nothing_happens_at_a_minimum():
    w, seen = leaf(np.zeros(3)), []
    optimizer = LBFGS([w])
    assert optimizer.step(closure_of([w], quadratic, seen)) == 0.0
    assert (len(seen), w._version) == (1, 0)
    assert optimizer.state[w] == {"n_iter": 0, "func_evals": 1}


def test_single_precision():
    found, _ = minimised(rosenbrock, [-1.2, 1.0], 5, np.float32, line_search_fn="strong_wolfe")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [1.0, 1.0], rtol=1e-2)


def test_a_loss_that_is_not_a_number_does_not_hang():
    def broken(x):
        return math.nan, np.full(len(x), math.nan)

    found, points = minimised(broken, np.ones(3), line_search_fn="strong_wolfe", max_iter=5)
    assert np.isnan(found).all()
    assert len(points) <= 7


# -- several parameters, state ---------------------------------------------------------------------


def test_parameters_of_any_shape_are_one_vector():
    x = STARTS["quadratic"]
    expected, _ = minimised(quadratic, x, 2, line_search_fn="strong_wolfe")
    matrix, number, vector = leaf(x[:4].reshape(2, 2)), leaf(x[4]), leaf(x[5:])
    matrix.data = np.asfortranarray(matrix.data)
    optimizer = LBFGS([("m", matrix), ("n", number), ("v", vector)], line_search_fn="strong_wolfe")
    arrays = [one.data for one in (matrix, number, vector)]
    seen = []
    for _ in range(2):
        optimizer.step(closure_of([matrix, number, vector], quadratic, seen))
    assert all(one.data is array for one, array in zip((matrix, number, vector), arrays, strict=True))
    np.testing.assert_allclose(np.concatenate([array.ravel() for array in arrays]), expected, atol=1e-12)
    assert number._version >= len(seen)


def test_a_parameter_without_gradient_stays():
    w, still = leaf(np.ones(3)), leaf([5.0])
    optimizer = LBFGS([w, still], line_search_fn="strong_wolfe")
    optimizer.step(closure_of([w], quadratic, []))
    assert still.data == 5.0
    assert quadratic(w.data)[0] < 1e-8


def test_going_on_from_a_saved_state_gives_the_same_bits():
    options = {"line_search_fn": "strong_wolfe", "max_iter": 3}
    w = leaf(STARTS["rosenbrock"])
    optimizer = LBFGS([w], **options)
    for _ in range(2):
        optimizer.step(closure_of([w], rosenbrock, []))
    again = leaf(w.data)
    restored = LBFGS([again])
    restored.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    for _ in range(2):
        optimizer.step(closure_of([w], rosenbrock, []))
        restored.step(closure_of([again], rosenbrock, []))
    np.testing.assert_array_equal(again.data, w.data)
    assert restored.state[again]["n_iter"] == optimizer.state[w]["n_iter"] > 4


# -- the line search -------------------------------------------------------------------------------


def searched(phi, t, most_trials=30):
    """The trial that a search along one dimension ends with, and how often it asked."""
    asked = []

    def evaluate(t):
        asked.append(t)
        loss, slope = phi(t)
        return Trial(t, loss, np.array([slope]), slope)

    start = evaluate(0.0)
    found = strong_wolfe(evaluate, start, t, most_trials=most_trials, shortest=1e-12)
    return start, found, asked


numbers = st.floats(-2, 2)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(numbers, numbers, st.floats(0.1, 2), st.floats(-1, 1), st.floats(1e-3, 1e3))
def test_the_strong_wolfe_conditions_hold(a, b, quartic, offset, t):
    """Along quartics with one or two minima, downhill from 0, whatever step is tried first."""

    def phi(t):
        x = t - offset
        return quartic * x**4 + a * x**3 + b * x**2, 4 * quartic * x**3 + 3 * a * x**2 + 2 * b * x

    if phi(0.0)[1] > -1e-3:
        return
    start, found, asked = searched(phi, t, 60)
    assert found.loss <= start.loss + DECREASE * found.t * start.slope
    assert abs(found.slope) <= CURVATURE * abs(start.slope)
    assert len(asked) < 40


def test_a_step_that_satisfies_the_conditions_is_taken_at_once():
    _, found, asked = searched(lambda t: ((t - 1) ** 2, 2 * (t - 1)), 0.9)
    assert found.t == 0.9
    assert asked == [0.0, 0.9]


def test_a_cubic_s_minimum_is_hit_by_the_first_interpolation():
    _, found, asked = searched(lambda t: (t**3 - 3 * t, 3 * t**2 - 3), 3.0)
    assert len(asked) == 3
    assert found.t == pytest.approx(1.0)


def test_the_best_is_taken_when_time_is_up():
    _, found, asked = searched(lambda t: (-t, -1.0), 1.0, most_trials=3)
    assert len(asked) == 5
    assert found.t == max(asked)  # ever further down


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: LBFGS(None), TypeError, "params must be an iterable of Tensors: .*; got None"),
        (lambda w: LBFGS([w]).step(), TypeError, "needs a closure .*; got None"),
        (
            lambda w: LBFGS([{"params": [w]}, {"params": [leaf([1.0])]}]),
            ValueError,
            "takes one parameter group",
        ),
        (
            lambda w: LBFGS([w]).add_param_group({"params": [leaf([1.0])]}),
            ValueError,
            "takes one parameter group",
        ),
        (
            lambda w: LBFGS([w], line_search_fn="armijo"),
            ValueError,
            "line_search_fn must be .* got 'armijo'",
        ),
        (lambda w: LBFGS([w], lr=-1), ValueError, "lr must be zero or a positive number"),
        (
            lambda w: LBFGS([w], max_iter=0),
            ValueError,
            "max_iter must be a whole number .* got 0",
        ),
        (lambda w: LBFGS([w], max_eval=0), ValueError, "max_eval must be a whole number"),
        (lambda w: LBFGS([w], history_size=1.5), ValueError, "history_size must be a whole number"),
        (lambda w: LBFGS([w], tolerance_grad=-1), ValueError, "tolerance_grad must be zero or"),
        (lambda w: LBFGS(0.1), TypeError, r"write LBFGS\(lr=0.1\)"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(leaf([1.0]))
