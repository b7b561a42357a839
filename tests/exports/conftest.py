"""Fixtures of the tests of exports."""

import pytest


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    return pytest.importorskip("onnxruntime", reason="running ONNX models needs onnxruntime")
