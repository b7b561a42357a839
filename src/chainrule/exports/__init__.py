"""Models for other programs: plain NumPy source, PyTorch modules, ONNX files.

Examples
--------
>>> from chainrule import nn
>>> source = to_numpy_source(nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1)))
>>> [line.strip() for line in source.splitlines() if "W1.T" in line or "tanh" in line]
['z = X @ W1.T + b1', 'h = np.tanh(z)']
"""

from chainrule.exports.numpy_source import to_numpy_source
from chainrule.exports.onnx_models import to_onnx
from chainrule.exports.torch_modules import from_torch, to_torch

__all__ = ["from_torch", "to_numpy_source", "to_onnx", "to_torch"]
