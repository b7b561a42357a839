"""The tour in README.md runs, from its first block of Python to its last, and prints what it says."""

import doctest
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def in_a_copy_of_the_examples(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_copy_of_the_examples")
def test_the_tour_runs(capsys):
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 8
    space: dict[str, Any] = {"__name__": "readme"}
    for number, block in enumerate(blocks):
        where = f"README.md, block {number}"
        if block.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block, space, where, "README.md", 0)
            found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(
                test, clear_globs=False
            )
            assert found.failed == 0, capsys.readouterr().out
            assert found.attempted > 0
            space |= test.globs
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Stochastic Optimizer")  # defaults end after 200 epochs
                exec(compile(block, where, "exec"), space)
    printed = capsys.readouterr().out.split("\n")
    accuracy = [float(line) for line in printed if re.fullmatch(r"[01]\.\d+", line)]
    assert accuracy
    assert min(accuracy) > 0.9
