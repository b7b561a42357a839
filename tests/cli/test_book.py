"""``chainrule book``."""

import importlib
import json

import pytest
from tests.cli.calling import fail, run, succeed

from chainrule.book import blocks, contents, writing

command = importlib.import_module("chainrule.cli.book")


def test_one_section(tmp_path):
    text = succeed("book", "--quick", "--only", "by-hand", "--jobs", 1, "--out", tmp_path / "book")
    assert "The claims, judged" in text
    assert str(tmp_path / "book" / "index.html") in text.replace("\n", "")
    record = json.loads((tmp_path / "book" / "verdicts.json").read_text())
    assert list(record["sections"]) == ["by-hand"]


def test_as_json_and_quiet(tmp_path):
    options = ("--quick", "--only", "by-hand", "--jobs", 1, "--out", tmp_path)
    assert json.loads(succeed("book", *options, "--json")) == json.loads(
        (tmp_path / "verdicts.json").read_text()
    )
    assert succeed("book", *options, "--quiet") == ""


def test_what_a_user_can_get_wrong(tmp_path):
    (tmp_path / "file").write_text("kept")
    assert "is a file, not a folder" in fail("book", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    assert "the book has no section 'nothing'" in fail("book", "--only", "nothing", "--out", tmp_path / "b")
    assert "jobs must be at least 1" in fail(
        "book", "--only", "by-hand", "--jobs", 0, "--out", tmp_path / "b"
    )
    assert not (tmp_path / "b").exists()


def test_what_it_needs_is_looked_for_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    monkeypatch.setattr(contents, "section", None)
    said = fail("book", "--only", "by-hand", "--jobs", 1, "--out", tmp_path / "b")
    assert "pip install 'chainrule[book]'" in said


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_an_equation_that_does_not_hold_is_exit_code_1(tmp_path, monkeypatch, error):
    broken = blocks.Section("by-hand", "Broken", "3", (blocks.Check("equation (5)", error, 1e-9),))
    monkeypatch.setattr(contents, "section", lambda name, effort: broken)
    done = run("book", "--only", "by-hand", "--jobs", 1, "--out", tmp_path)
    assert done.exit_code == 1
    assert "does not hold: equation (5)" in done.output


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (r"at most $\|w^*\|^2 R^2 / \gamma^2$ of `this`", "at most ‖w^*‖^2 R^2 / γ^2 of this"),
        (r"$w_k^\top w^*$ and $\sqrt k$, **all** $n_{\mathrm{in}}$", "w_kᵀ w^* and √ k, all n_in"),
        ("[red] stays", r"\[red] stays"),
    ],
)
def test_claims_are_words_in_a_terminal(words, shown):
    assert command._plain(words) == shown
