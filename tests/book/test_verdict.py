"""Verdicts, efforts, spreads."""

import pytest

from chainrule.book import Effort, Judgement
from chainrule.book.verdict import judged, spread_of


def test_a_judgement_is_its_word():
    assert [str(one) for one in Judgement] == ["holds", "fails", "depends"]
    assert Judgement("holds") is Judgement.holds


def test_an_effort_chooses():
    assert Effort().choose(full=20, quick=3) == 20
    assert Effort(quick=True).choose(full=20, quick=3) == 3


def test_a_spread_says_how_often():
    assert spread_of([3.0, 1.0, 2.0]) == "1 to 3 over 3 seeds"
    assert spread_of([0.12345], "runs") == "0.123 to 0.123 over 1 runs"
    with pytest.raises(ValueError, match="values must hold a number at least, got none"):
        spread_of([])


def test_what_is_so_in_some_cases_depends():
    assert judged([True]) is Judgement.holds
    assert judged(x > 1 for x in (0, 2)) is Judgement.depends
    assert judged([False, False]) is Judgement.fails
    with pytest.raises(ValueError, match="cases must hold one at least, got none"):
        judged([])
