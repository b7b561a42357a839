"""What the book shows as a command's output is what the command prints."""

import subprocess
import sys

import pytest

from chainrule.book import Effort
from chainrule.book.blocks import Example
from chainrule.book.sections import backpropagation, by_hand, cost, output_errors


def of_by_hand():
    return next(one for one in by_hand.section(Effort(quick=True)).blocks if isinstance(one, Example))


# The examples, without the experiments around them where those take long.
MAKERS = {
    "backpropagation": lambda: backpropagation._example(backpropagation.backward_pass()),
    "by-hand": of_by_hand,
    "cost": cost._example,
    "output-errors": output_errors._example,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_command_prints_what_is_shown(name):
    one = MAKERS[name]()
    program, *arguments = one.command.split()
    assert program == "chainrule"
    command = [sys.executable, "-m", "chainrule", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\n") == one.output
