"""Why a network is not learning, with proof that the remedy works; and measurements of a network.

``checkup`` examines a training. Jacobians, curvature and the loss landscape are pure functions of a model of
this library or of PyTorch, which they leave as it is; what they return are frozen records of plain arrays.

Examples
--------
>>> import numpy as np
>>> from chainrule import health, nn
>>> net = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Sigmoid(), nn.Linear(8, 1, rng=1))
>>> X = np.random.default_rng(0).standard_normal((32, 4))
>>> found = health.jacobian_spectrum(net, X)
>>> [layer.name for layer in found.layers], found.end_to_end.shape
(['0', '2'], (1, 4))
>>> bool(found.flow.derivative_factor[0] <= 0.25)                    # a sigmoid's slope is at most 1/4
True
"""

from chainrule.health.curvature import Curvature, SpectralDensity, curvature
from chainrule.health.diagnosis import Finding
from chainrule.health.differentiable import Differentiable, parameter_vector
from chainrule.health.engine_telemetry import watched
from chainrule.health.examination import Checkup, checkup, examine
from chainrule.health.jacobians import DeltaFlow, JacobianSpectrum, Spectrum, jacobian_spectrum
from chainrule.health.landscape import (
    LossPlane,
    LossSlice,
    PathPlane,
    filter_normalized_direction,
    loss_plane,
    loss_slice,
    path_plane,
)
from chainrule.health.proof import Proof
from chainrule.health.trainings import Training
from chainrule.health.watch_report import WatchReport
from chainrule.health.watching import Watch, watch

__all__ = [
    "Checkup",
    "Curvature",
    "DeltaFlow",
    "Differentiable",
    "Finding",
    "JacobianSpectrum",
    "LossPlane",
    "LossSlice",
    "PathPlane",
    "Proof",
    "SpectralDensity",
    "Spectrum",
    "Training",
    "Watch",
    "WatchReport",
    "checkup",
    "curvature",
    "examine",
    "filter_normalized_direction",
    "jacobian_spectrum",
    "loss_plane",
    "loss_slice",
    "parameter_vector",
    "path_plane",
    "watch",
    "watched",
]
