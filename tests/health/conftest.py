"""Fixtures of the tests of ``chainrule.health``."""

import pytest


@pytest.fixture
def torch():
    """PyTorch; what asks for it is skipped where it is not installed."""
    return pytest.importorskip("torch", reason="measuring PyTorch's modules needs torch")
