"""Reading ahead: the same pieces in the same order, no thread left behind."""

import threading
import time

import pytest

from chainrule.train.streams.ahead import WAITING, read_ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "chainrule-reader"]


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_the_same_pieces_in_the_same_order(n):
    assert list(read_ahead(iter(range(n)))) == list(range(n))
    assert readers() == []


def test_no_more_than_a_few_pieces_are_made_ahead():
    made = []

    def pieces():
        for number in range(20):
            made.append(number)
            yield number

    ahead = read_ahead(pieces())
    for number in range(10):
        assert next(ahead) == number
        deadline = time.monotonic() + 10
        while len(made) < number + 2 and time.monotonic() < deadline:  # it does read on by itself
            time.sleep(0.001)
        assert number + 2 <= len(made) <= number + WAITING + 2
    ahead.close()
    assert readers() == []


def test_an_error_comes_after_the_pieces_before_it():
    def pieces():
        yield 1
        yield 2
        raise ValueError("row 3 is bad")

    ahead = read_ahead(pieces())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="row 3 is bad"):
        next(ahead)
    assert readers() == []


def test_what_is_left_in_the_middle_is_closed():
    closed = threading.Event()

    def pieces():
        try:
            while True:
                yield bytes(10)
        finally:
            closed.set()

    ahead = read_ahead(pieces())
    next(ahead)
    ahead.close()
    assert closed.wait(10)
    assert readers() == []
