"""Fixtures of the tests of ``chainrule.nn``."""

import numpy as np
import pytest


@pytest.fixture
def torch():
    """PyTorch; what asks for it is skipped where it is not installed."""
    return pytest.importorskip("torch", reason="parity with PyTorch needs torch")


@pytest.fixture
def tensors(torch):
    """Turn a state_dict of arrays into one of tensors."""
    return lambda state: {name: torch.from_numpy(array) for name, array in state.items()}


class RecordingBuilder:
    """Takes the calls that ``lower`` makes and numbers the values as a plan does, from 1."""

    def __init__(self):
        self.calls = []

    def _record(self, *call):
        self.calls.append(call)
        return len(self.calls)

    def linear(self, source, path, out_features, bias):
        return self._record("linear", source, path, out_features, bias)

    def activation(self, source, path, name, alpha):
        return self._record("activation", source, path, name, alpha)

    def batch_norm(self, source, path, eps, momentum, affine):
        return self._record("batch_norm", source, path, eps, momentum, affine)

    def layer_norm(self, source, path, eps, affine, bias):
        return self._record("layer_norm", source, path, eps, affine, bias)

    def dropout(self, source, path, p):
        return self._record("dropout", source, path, p)

    def add(self, first, second, path):
        return self._record("add", first, second, path)


@pytest.fixture
def lowered():
    """The calls that lowering a module makes; the index that it returns is the last value's."""

    def lower(module):
        build = RecordingBuilder()
        assert module.lower(build, 0, "") == len(build.calls)
        return build.calls

    return lower


@pytest.fixture
def batch(rng):
    """A batch of 16 examples with 5 columns, float32."""
    return rng.normal(1.0, 2.0, (16, 5)).astype(np.float32)
