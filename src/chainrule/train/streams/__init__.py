"""Training on data larger than memory: streams of rows from Parquet, CSV and ``.npy`` files."""

from chainrule.train.streams.stream import Stream, stream

__all__ = ["Stream", "stream"]
