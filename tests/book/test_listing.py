"""Code as the library has it."""

import inspect

import pytest

from chainrule.book.listing import highlighted, listing_of
from chainrule.reference import ReferenceExecutor
from chainrule.textbook import backprop


def test_code_is_that_of_the_file_without_its_docstring():
    found = listing_of(backprop)
    lines, line = inspect.getsourcelines(backprop)
    assert (found.name, found.file, found.line) == ("backprop", "chainrule/textbook.py", line)
    shown = found.text.splitlines()
    # What is shown is in the file, in this order, to the end.
    rest = iter(one.rstrip() for one in lines)
    assert all(any(one == other for other in rest) for one in shown)
    assert shown[-1] == lines[-1].rstrip()
    assert backprop.__doc__.splitlines()[0] not in found.text
    compile(found.text, "shown", "exec")


def test_a_method_begins_at_the_margin():
    found = listing_of(ReferenceExecutor._weight)
    assert found.name == "ReferenceExecutor._weight"
    assert found.text.startswith("def _weight(")


def test_a_compiled_function_stands_for_its_python():
    from numba import njit

    @njit
    def double(x):
        return 2 * x

    assert listing_of(double).text.endswith("return 2 * x")


def test_a_body_that_is_only_a_docstring_stays():
    def nothing():
        """Do nothing."""

    assert listing_of(nothing).text == 'def nothing():\n    """Do nothing."""'


@pytest.mark.parametrize("code", ["a < b and c", "'&' in x"])
def test_highlighting_escapes(code):
    import html
    import re

    assert html.unescape(re.sub(r"<[^>]*>", "", highlighted(code))) == code
