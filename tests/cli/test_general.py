"""What is common to all commands."""

import os
import subprocess
import sys

from tests.cli.calling import succeed


def test_help_and_version():
    assert "train" in succeed("--help")
    assert "--target" in succeed("train", "--help")
    assert "--proba" in succeed("predict", "--help")
    for command in ("evaluate", "info", "export", "tune"):
        assert "--json" in succeed(command, "--help")
    name, number = succeed("--version").split()
    assert name == "chainrule"
    assert number.count(".") == 2


def test_help_loads_nothing_heavy():
    heavy = ["matplotlib", "numba", "pandas", "scipy", "sklearn"]
    code = f"import sys, chainrule.cli; print(*(name for name in {heavy} if name in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert loaded.stdout.split() == []


def test_the_module_can_be_run(tmp_path):
    command = [sys.executable, "-m", "chainrule", "train", str(tmp_path / "none.csv"), "--target", "x"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"chainrule: {tmp_path / 'none.csv'}: No such file or directory\n"


def test_the_shell_completes_commands_and_options(tmp_path):
    def completions(words):
        asked = {
            "_CHAINRULE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": f"{words.count(' ')}",
        }
        code = (
            "import sys; sys.argv = ['chainrule']; from chainrule.cli import app; app(prog_name='chainrule')"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **asked},
        )
        return done.stdout.split()

    assert {"train", "predict", "evaluate", "info", "export", "tune"} <= set(completions("chainrule "))
    assert completions("chainrule ev") == ["evaluate"]
    assert "--min-accuracy" in completions("chainrule evaluate --min")
