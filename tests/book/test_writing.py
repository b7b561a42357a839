"""The files of the book."""

import json

import pytest
from tests.book.sections import one_of_each

from chainrule.book import write_book, writing


def test_without_what_it_needs_it_says_so_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"latex2mathml and pygments, .* pip install 'chainrule\[book\]'"):
        write_book([one_of_each()], tmp_path / "book")
    assert not (tmp_path / "book").exists()


def test_page_and_record(tmp_path):
    out = tmp_path / "new" / "book"
    page, record = write_book([one_of_each()], out, quick=True)
    assert sorted(out.iterdir()) == [page, record]
    assert page.read_text().startswith("<!doctype html>")
    found = json.loads(record.read_text())
    assert found["quick"] is True
    section = found["sections"]["by-hand"]
    assert section["figures"] == ["one", "two"]
    assert [one["passed"] for one in section["checks"]] == [True, False]
    assert section["verdicts"] == [
        {
            "claim": "a is b",
            "section": "3",
            "expected": "1",
            "measured": "2",
            "spread": "exact",
            "verdict": "fails",
        }
    ]


def test_an_infinite_error_is_written_as_json_that_others_read(tmp_path):
    from dataclasses import replace

    from chainrule.book.blocks import Check

    section = replace(one_of_each(), blocks=(Check("a", float("inf"), 1.0),))
    _, record = write_book([section], tmp_path)
    strict = json.loads(record.read_text(), parse_constant=lambda name: name)
    assert strict["sections"]["by-hand"]["checks"][0]["error"] is None
