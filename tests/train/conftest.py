"""Fixtures that several tests of training share."""

import pytest

from chainrule.train.streams import pieces, tables


@pytest.fixture
def small_pieces(monkeypatch):
    """Streams in pieces of a few rows, so that some hundred rows are many of them."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    monkeypatch.setattr(tables, "CSV_BLOCK", 2000)
