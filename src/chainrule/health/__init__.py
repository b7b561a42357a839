"""Measurements of a network: Jacobians, curvature, the loss landscape.

Pure functions of a model of this library or of PyTorch, which they leave as it is; what they return are
frozen records of plain arrays.
"""

from chainrule.health.differentiable import Differentiable, parameter_vector

__all__ = ["Differentiable", "parameter_vector"]
