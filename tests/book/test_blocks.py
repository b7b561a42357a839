"""What a section is made of."""

import math

import pytest
from tests.book.sections import one_of_each

from chainrule.book.blocks import Check


def test_a_section_finds_its_parts_in_order():
    section = one_of_each()
    assert [one.name for one in section.figures] == ["one", "two"]
    assert [one.passed for one in section.checks] == [True, False]
    assert [one.claim for one in section.verdicts] == ["a is b"]


@pytest.mark.parametrize(
    ("error", "passed"), [(0.0, True), (1e-9, True), (2e-9, False), (math.nan, False), (math.inf, False)]
)
def test_a_check_passes_within_its_tolerance_only(error, passed):
    assert Check("a", error, 1e-9).passed is passed
    assert not Check("a", math.inf, math.inf).passed
