"""Which sections there are, and the running of them."""

import pytest

from chainrule.book import NAMES, Effort, contents, run, section
from chainrule.book.blocks import Section

QUICK = Effort(quick=True)


def test_names_are_put_in_the_order_of_the_page():
    assert contents.check_names(["tape", "perceptron"]) == ("perceptron", "tape")
    assert contents.check_names(NAMES) == NAMES
    assert set(contents.TIMED) <= set(NAMES)


@pytest.mark.parametrize("name", ["by_hand", "", "Tape"])
def test_a_name_that_is_none(name):
    with pytest.raises(ValueError, match=f"the book has no section '{name}'; it has perceptron, "):
        section(name, QUICK)
    with pytest.raises(ValueError, match="the book has no section"):
        next(run([name], QUICK))


def test_jobs_must_be_positive():
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        next(run(["by-hand"], QUICK, jobs=0))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_section_is_the_same_in_a_process_of_its_own(jobs):
    (found,) = run(["by-hand"], QUICK, jobs=jobs)
    assert isinstance(found, Section)
    assert found.blocks == section("by-hand", QUICK).blocks


def test_what_measures_time_is_alone_and_first(monkeypatch):
    done = []

    def note(name, effort):
        done.append(name)
        return Section(name, name, "1", ())

    monkeypatch.setattr(contents, "section", note)
    assert [one.name for one in run(["perceptron", "cost"], QUICK, jobs=1)] == ["perceptron", "cost"]
    assert next(iter(run(["by-hand", "cost"], QUICK, jobs=2))).name == "cost"
