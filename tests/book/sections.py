"""A section that has one of each block, for the tests of the frame."""

from chainrule.book.blocks import Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.listing import listing_of
from chainrule.book.plots import Curve, Scale, curves
from chainrule.book.verdict import Judgement, Verdict

__all__ = ["DRAWN", "one_of_each"]

DRAWN = curves("Two & a line", [Curve("y < x", [0, 1, 2], [0, 1, 4])], Scale("x"), Scale("y"))


def one_of_each() -> Section:
    return Section(
        "by-hand",
        r"A title with $\delta^{(l)}$",
        "3",
        (
            Words("Words with `code`, **stress** and $x < y$ & more."),
            Words(("first", "second")),
            Equation(r"z^{(l)} = W^{(l)} h^{(l-1)} + b^{(l)}", "(1)"),
            Code(listing_of, "What is shown is what runs."),
            Figure("one", "A figure", DRAWN, "A caption."),
            Figure("two", "Another", DRAWN, wide=True),
            Table(("name", "value"), (("a", "1"), ("<b>", "2")), numeric=1, caption="Of two."),
            Check("equation (1) against a loop", 1e-16, 1e-12),
            Check("equation (2) against a loop", 0.5, 1e-12),
            Example("chainrule derive net", "z1 = W1 x < b1"),
            Verdict("a is b", "3", "1", "2", "exact", Judgement.fails),
        ),
    )
