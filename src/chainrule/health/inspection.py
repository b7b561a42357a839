"""The slower measurements of a checkup: Jacobians of a small network, the Hessian if it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chainrule.health.curvature import Curvature, curvature
from chainrule.health.evidence import Clock, Evidence, tried
from chainrule.health.jacobians import JacobianSpectrum, jacobian_spectrum

__all__ = ["curvature_of", "drawn_rows", "spectrum_of"]

# Rows at which Jacobians are computed.
N_SAMPLES = 8
# Units on the smaller side of a layer, at most: all singular values of such a Jacobian are computed.
MOST_UNITS = 256
# Seconds of a decomposition of a Jacobian (m, n) are about this times m n min(m, n), on a slow machine.
SECONDS_A_MULTIPLY_ADD = 1e-9
# Rows that the Hessian is that of.
CURVATURE_ROWS = 256


def drawn_rows(n_rows: int, most: int) -> np.ndarray:
    """Some of the rows, the same in every checkup: the first ones may all be of one class."""
    return np.sort(np.random.default_rng(0).choice(n_rows, min(n_rows, most), replace=False))


def spectrum_of(evidence: Evidence, clock: Clock) -> JacobianSpectrum | None:
    """Jacobians of the network before its first step; None of a large one, or where there is no time."""
    training, start = evidence.training, evidence.start
    if start is None or start.non_finite or training.X.ndim != 2 or training.X.dtype.kind in "iu":
        return None
    sides = [(layer.fan_in, layer.width) for layer in start.layers]
    if not sides or max(min(pair) for pair in sides) > MOST_UNITS:
        return None
    seconds = sum(m * n * min(m, n) for m, n in sides) * 2 * N_SAMPLES * SECONDS_A_MULTIPLY_ADD
    if seconds > clock.left:
        return None

    rows = drawn_rows(len(training.X), N_SAMPLES)
    X, y = training.X[rows], training.y[rows]

    def measured() -> JacobianSpectrum:
        with training.backend.session(0):
            try:
                found = jacobian_spectrum(training.module, X, y, training.loss)
            except Exception:  # noqa: BLE001 - a loss of the user's own may take no double precision
                found = jacobian_spectrum(training.module, X)
        return replace(found, rows=rows)

    found: JacobianSpectrum | None = tried(evidence.notes, "the Jacobian spectrum", measured)
    return found


def curvature_of(evidence: Evidence) -> Curvature | None:
    """The Hessian where the training ended, on some of its rows; that of the start where none was run."""
    training, ran = evidence.training, evidence.ran
    rows = drawn_rows(len(training.X), CURVATURE_ROWS)

    def measured() -> Curvature:
        module = training.module if ran is None else ran.module
        with training.backend.session(0):
            return curvature(module, training.X[rows], training.y[rows], training.loss)

    found: Curvature | None = tried(evidence.notes, "the curvature", measured)
    return found
