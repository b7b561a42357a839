"""Doctests of what works with an optional package are skipped where it is not installed."""

import importlib.util

import pytest

NEEDS = {
    "chainrule.exports.onnx_models.to_onnx": "onnx",
    "chainrule.exports.torch_modules.to_torch": "torch",
    "chainrule.exports.torch_modules.from_torch": "torch",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        package = NEEDS.get(item.name) if isinstance(item, pytest.DoctestItem) else None
        if package and importlib.util.find_spec(package) is None:
            item.add_marker(pytest.mark.skip(reason=f"{item.name} needs {package}"))
