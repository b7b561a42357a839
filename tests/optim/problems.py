"""Parameters with gradients, and functions with gradients in closed form, for optimizers to be tried on."""

import numpy as np

from chainrule.tape import Parameter, Tensor

N = 30


def leaf(data, dtype=np.float64):
    """A parameter with these numbers, laid as they are."""
    return Parameter(np.array(data, dtype))


def give(parameter, gradient):
    """Set a parameter's gradient."""
    parameter.grad = Tensor(np.array(gradient, parameter.data.dtype))


def gradients(n_steps=50, seed=0):
    """Gradients as a training's might be: a few entries are zero throughout, the sizes differ."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n_steps, N)) * 10.0 ** rng.integers(-4, 2, N)
    table[:, :3] = 0.0
    return table


def start(seed=1):
    return np.random.default_rng(seed).normal(size=N)


def rosenbrock(x):
    """Σ 100 (x[i+1] − x[i]²)² + (1 − x[i])²: a bent valley with its lowest point at (1, …, 1)."""
    bend, rest = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    slope = np.zeros_like(x)
    slope[:-1] = -400 * x[:-1] * bend - 2 * rest
    slope[1:] += 200 * bend
    return float((100 * bend**2 + rest**2).sum()), slope


def quadratic(x):
    """½ Σ k x[k]², of curvatures 1 to n."""
    curvature = np.arange(1, len(x) + 1)
    return float(0.5 * (curvature * x**2).sum()), curvature * x


def logistic(x, seed=0):
    """Logistic regression with an L2 penalty, on 40 examples."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, len(x))), rng.choice([-1.0, 1.0], 40)
    margin = y * (X @ x)
    loss = np.logaddexp(0, -margin).mean() + 0.05 * x @ x
    return float(loss), -(X.T @ (y / (1 + np.exp(margin)))) / 40 + 0.1 * x
