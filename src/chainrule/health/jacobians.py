"""Spectra of the layers' Jacobians and of their product: why gradients vanish or explode (section 4).

∂ℒ/∂W^(1) is a product of L Jacobians. Vanishing is a matter of their singular values, not of depth as such
(claim 2 of section 8), and it has two causes that call for different remedies: the weights, W^(l+1), and
the slopes of the activations, σ'(z^(l)).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chainrule.health.arguments import check_size, generator
from chainrule.health.differentiable import Differentiable, as_rows, as_targets
from chainrule.health.rows import RowJacobians
from chainrule.health.threads import on_one_thread

__all__ = ["DeltaFlow", "JacobianSpectrum", "Spectrum", "jacobian_spectrum"]

# Leading values that are computed of a Jacobian too large to build, unless another number is asked for.
LEADING_VALUES = 8
# Random vectors for the Frobenius norm of such a one.
PROBES = 32
# Numbers of Jacobians that are held at once: 256 MB.
_AT_ONCE = 2**25


@dataclass(frozen=True)
class Spectrum:
    """Singular values of one Jacobian, at several examples.

    Attributes
    ----------
    name : str
        Dotted name of the layer's first module; ``"end to end"`` of the whole network.
    kinds : tuple of str
        The classes of the layer's modules, such as ``("Linear", "ReLU")``.
    shape : tuple of two int
        Numbers that come out, numbers that go in.
    singular_values : ndarray of shape (n_samples, n_values)
        Descending. All min(shape) of them where ``exact``, otherwise the leading ones. nan at an example
        where the Jacobian is not finite.
    residuals : ndarray of shape (n_samples, n_values)
        Each value is within its residual of a singular value; 0 where ``exact``.
    exact : bool
        Whether the Jacobian was built; otherwise only products with it were computed.
    """

    name: str
    kinds: tuple[str, ...]
    shape: tuple[int, int]
    singular_values: np.ndarray
    residuals: np.ndarray
    exact: bool

    @property
    def spectral_norm(self) -> np.ndarray:
        """The largest singular value at each example, (n_samples,)."""
        return self.singular_values[:, 0]

    @property
    def rank(self) -> np.ndarray:
        """How many values are not rounding beside the largest, (n_samples,); nan where not all are known."""
        return self._of_all((self.singular_values > self._rounding()).sum(axis=1))

    @property
    def geometric_mean(self) -> np.ndarray:
        """Of all min(shape) values, (n_samples,); 0 where the rank is smaller, nan where not all are known.

        The number whose L-th power the product of L such layers scales volumes by.
        """
        with np.errstate(divide="ignore"):
            logarithms = np.log(self._clean()).mean(axis=1)
        return self._of_all(np.exp(logarithms))

    @property
    def condition_number(self) -> np.ndarray:
        """Largest value over smallest, (n_samples,); inf where that is 0, nan where not all are known."""
        values = self._clean()
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._of_all(np.where(values[:, -1] > 0, values[:, 0] / values[:, -1], np.inf))

    @property
    def mean_square(self) -> np.ndarray:
        """‖J‖_F² / rows at each example, (n_samples,): what the variance of a random input is multiplied by.

        nan where not all values are known.
        """
        return self._of_all((self.singular_values**2).sum(axis=1) / self.shape[0])

    def _rounding(self) -> np.ndarray:
        return self.singular_values[:, :1] * max(self.shape) * np.finfo(np.float64).eps

    def _clean(self) -> np.ndarray:
        """The values, with 0 for what is rounding beside the largest."""
        return np.where(self.singular_values <= self._rounding(), 0.0, self.singular_values)

    def _of_all(self, numbers: np.ndarray) -> np.ndarray:
        known = self.exact & np.isfinite(self.singular_values).all(axis=1)
        return np.where(known, numbers, np.nan)


@dataclass(frozen=True)
class DeltaFlow:
    """What becomes of δ on its way back, equation (5): δ^(l) = (W^(l+1)ᵀ δ^(l+1)) ⊙ σ'(z^(l)).

    Entry l - 1 of an array of L - 1 belongs to the step from layer l + 1 to layer l. In general W^(l+1)
    stands for the Jacobian of the head of layer l + 1, and diag σ'(z^(l)) for that of the tail of layer l.

    Attributes
    ----------
    source : str
        Where δ^(L) comes from: ``"loss"``, or ``"random"``, independent normal numbers of variance 1.
    rms : ndarray of shape (L,)
        Root mean square of δ^(l) over examples and units, l = 1 … L.
    ratio : ndarray of shape (L - 1,)
        RMS of δ^(l) over that of δ^(l+1): the two factors' product.
    weight_factor : ndarray of shape (L - 1,)
        RMS of W^(l+1)ᵀ δ^(l+1) over that of δ^(l+1).
    derivative_factor : ndarray of shape (L - 1,)
        RMS of δ^(l) over that of W^(l+1)ᵀ δ^(l+1).
    gain : ndarray of shape (L - 1,)
        χ_l = E‖W^(l+1) diag σ'(z^(l))‖_F² / d_l over the examples. It is what the square of ``ratio`` would
        be for a δ^(l+1) with independent entries (Poole et al. 2016; Schoenholz et al. 2017): below 1
        gradients vanish, above 1 they explode.
    gain_standard_error : ndarray of shape (L - 1,)
        0 where the Jacobian was built, otherwise that of the estimate by random vectors.
    """

    source: str
    rms: np.ndarray
    ratio: np.ndarray
    weight_factor: np.ndarray
    derivative_factor: np.ndarray
    gain: np.ndarray
    gain_standard_error: np.ndarray


@dataclass(frozen=True)
class JacobianSpectrum:
    """The Jacobians ∂h^(l)/∂h^(l-1), their product, and the flow of δ.

    Attributes
    ----------
    rows : ndarray of shape (n_samples,)
        Which rows of X they were measured at.
    layers : tuple of Spectrum
        l = 1 … L; empty where the module is no chain of layers.
    end_to_end : Spectrum
        ∂h^(L)/∂x.
    flow : DeltaFlow or None
        None where the module is no chain of layers.
    """

    rows: np.ndarray
    layers: tuple[Spectrum, ...]
    end_to_end: Spectrum
    flow: DeltaFlow | None


@dataclass(frozen=True)
class _Settings:
    exact_up_to: int
    n_values: int
    rng: np.random.Generator


@on_one_thread
def jacobian_spectrum(
    module: Any,
    X: Any,
    y: Any = None,
    loss: Any = None,
    *,
    n_samples: int = 8,
    exact_up_to: int = 256,
    n_values: int | None = None,
    seed: int = 0,
) -> JacobianSpectrum:
    """Singular values of every layer's Jacobian and of the product, and how δ shrinks or grows (section 4).

    A layer of a ``Sequential`` is a linear layer with the normalisation, activation and dropout after it; a
    residual block, or any other module, is one layer. Other modules are measured end to end. The model is not
    changed; it is measured in evaluation mode, in double precision.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
    X : array-like of shape (n, ...)
        One row an example.
    y : array-like of shape (n,) or (n, outputs), optional
        Targets; with ``loss`` they give δ^(L), equation (3).
    loss : loss module, str or callable, optional
        As in `Differentiable`. Without it a random δ^(L) is sent back, as in the figure of section 4.
    n_samples : int, default=8
        At how many rows of X, drawn without replacement; all of them if there are no more.
    exact_up_to : int, default=256
        A Jacobian whose smaller side is at most this is built, and all its singular values are computed.
        Of a larger one the leading values are computed by products with it (Golub & Kahan 1965).
    n_values : int, optional
        How many leading values then; 8 by default.
    seed : int, default=0
        Of the choice of rows and of the random vectors.

    Returns
    -------
    JacobianSpectrum

    Raises
    ------
    TypeError
        If ``module`` is of neither library, or X is not numeric.
    ValueError
        If X has no rows, only one of ``y`` and ``loss`` is given, or a row's output depends on other rows.

    References
    ----------
    Saxe, McClelland & Ganguli 2014 (arXiv:1312.6120); Pennington, Schoenholz & Ganguli 2017
    (arXiv:1711.04735).

    Examples
    --------
    Two layers with every unit active: the end-to-end values are those of the product of the weights.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> net[0].weight, net[0].bias = [[2.0, 0.0], [0.0, 0.5]], [0.0, 0.0]
    >>> net[2].weight = [[3.0, 0.0], [0.0, 1.0]]
    >>> found = jacobian_spectrum(net, np.array([[1.0, 1.0]]))
    >>> found.layers[0].singular_values, found.end_to_end.singular_values
    (array([[2. , 0.5]]), array([[6. , 0.5]]))
    >>> found.flow.gain                                                   # (3² + 1²) / 2
    array([5.])
    """
    X = as_rows(X)
    if (y is None) != (loss is None):
        raise ValueError("y and loss must be given together: δ^(L) needs both")
    rng = generator(seed)
    settings = _Settings(
        check_size("exact_up_to", exact_up_to, low=0),
        LEADING_VALUES if n_values is None else check_size("n_values", n_values),
        rng,
    )
    model = Differentiable(module, loss)
    rows = np.sort(rng.choice(len(X), min(len(X), check_size("n_samples", n_samples)), replace=False))
    x = X[rows]
    _check_rows_apart(model, x)
    slope = None if y is None else model.loss_slope(model.outputs(x), _rows_of(y, rows, len(X)))
    values = model.values(x)
    layers = []
    for number, layer in enumerate(model.layers, 1):
        before, after = values[number - 1][1], values[number][1]
        jacobians = RowJacobians(partial(model.linearized_layer, number), before, after)
        layers.append(_spectrum(layer.name, layer.kinds, jacobians, settings))
    whole = RowJacobians(model.linearized, x, model.outputs(x))
    end_to_end = _spectrum("end to end", (type(model.module).__name__,), whole, settings)
    flow = _flow(model, values, slope, settings) if layers else None
    return JacobianSpectrum(rows, tuple(layers), end_to_end, flow)


def _rows_of(y: Any, rows: np.ndarray, n: int) -> np.ndarray:
    y = as_targets(y)
    if y.shape[:1] != (n,):
        raise ValueError(f"y must have one row for each of the {n} rows of X; got shape {y.shape}")
    return y[rows]


def _check_rows_apart(model: Differentiable, x: np.ndarray) -> None:
    """A row's Jacobian is only defined where its output depends on no other row."""
    together = model.outputs(x)
    if together.shape[:1] != (len(x),):
        raise ValueError(f"module must give one row an example; got {together.shape} of {len(x)} rows")
    alone = model.outputs(np.repeat(x[:1], 2, axis=0))
    # Batches of different sizes are summed in different orders: beside the outputs that is rounding.
    finite = np.abs(together[np.isfinite(together)])
    rounding = 1e-9 * finite.max(initial=0.0) + 1e-12
    if not np.allclose(together[0], alone[0], rtol=1e-6, atol=rounding, equal_nan=True):
        raise ValueError(
            "module must compute each row by itself in evaluation mode; its output for the first row changes "
            "with the others, as of batch normalisation without running statistics"
        )


def _spectrum(name: str, kinds: tuple[str, ...], jacobians: RowJacobians, settings: _Settings) -> Spectrum:
    """The singular values of one Jacobian at every sample, so many samples at once as fit in memory."""
    n, rows, columns = jacobians.shape
    if jacobians.smaller_side > settings.exact_up_to:
        found = jacobians.leading_singular_values(settings.n_values, settings.rng)
        return Spectrum(name, kinds, (rows, columns), found.values, found.residuals, False)
    group = max(1, _AT_ONCE // (rows * columns))
    parts = [slice(start, start + group) for start in range(0, n, group)]
    values = np.concatenate([jacobians.part(part).singular_values() for part in parts])
    return Spectrum(name, kinds, (rows, columns), values, np.zeros_like(values), True)


# -- the flow of δ -------------------------------------------------------------------------------------


@np.errstate(all="ignore")  # 0 / 0 where nothing comes back at all
def _flow(
    model: Differentiable,
    values: list[tuple[np.ndarray, np.ndarray]],
    slope: np.ndarray | None,
    settings: _Settings,
) -> DeltaFlow:
    """Equation (5) from the last layer to the first, with the RMS after each of its two steps."""
    last = len(model.layers)
    if slope is None:
        delta = settings.rng.standard_normal(values[last][0].shape)
    else:
        delta = model.linearized_tail(last, values[last][0]).vjp(slope)  # (3)
    sizes = [_rms(delta)]
    weight_factors, derivative_factors, gains = [], [], []
    for number in range(last - 1, 0, -1):
        z, h = values[number]
        gains.append(_gain(model, number, z, values[number + 1][0], settings))
        before = _rms(delta)
        pulled = model.linearized_head(number + 1, h).vjp(delta)  # W^(l+1)ᵀ δ^(l+1)
        delta = model.linearized_tail(number, z).vjp(pulled)  # ⊙ σ'(z^(l))
        sizes.append(_rms(delta))
        weight_factors.append(np.divide(_rms(pulled), before))
        derivative_factors.append(np.divide(_rms(delta), _rms(pulled)))
    rms = np.array(sizes[::-1])
    return DeltaFlow(
        "random" if slope is None else "loss",
        rms,
        rms[:-1] / rms[1:],
        np.array(weight_factors[::-1]),
        np.array(derivative_factors[::-1]),
        np.array([gain for gain, _ in gains[::-1]]),
        np.array([error for _, error in gains[::-1]]),
    )


def _rms(values: np.ndarray) -> float:
    # By its largest entry, so that the squares of tiny numbers are not lost.
    largest = np.abs(values).max()
    if not 0 < largest < np.inf:
        return float(largest)
    return float(largest * np.sqrt(np.mean((values / largest) ** 2)))


def _gain(
    model: Differentiable, number: int, z: np.ndarray, next_z: np.ndarray, settings: _Settings
) -> tuple[float, float]:
    """χ_l and its standard error: ‖∂z^(l+1)/∂z^(l)‖_F² / d_l over the samples."""
    jacobians = RowJacobians(partial(model.linearized_step, number), z, next_z)
    if jacobians.smaller_side <= settings.exact_up_to:
        return jacobians.squared_norm() / z.size, 0.0
    estimates = jacobians.squared_norm_estimates(PROBES, settings.rng) / z.size
    return float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(PROBES))
