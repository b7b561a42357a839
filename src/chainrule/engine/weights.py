"""Where a layer's weights and their moments lie while a schedule is played.

In the flat vector a row of V = Wᵀ is as long as the layer is wide. Two threads that own neighbouring columns
then write to neighbouring cache lines, row after row, and processors fetch ahead of what is asked for: they
would pull lines out of each other's caches all the time. So for a run of several threads each one's columns
are copied together, used from there, and copied back at the end: about a tenth of a millisecond in a tenth of
a second.
"""

from typing import TYPE_CHECKING, NamedTuple

from chainrule.engine.dependencies import Call
from chainrule.engine.layout import Part
from chainrule.plan import Operation

if TYPE_CHECKING:
    from chainrule.engine.schedule import Scheduler

__all__ = ["Piece", "closing", "opening", "piece_of", "pieces"]

# Wider layers stay where they are: there a thread's part of a row is long, and copying takes longer.
WIDEST_BYTES = 4096


class Piece(NamedTuple):
    """Columns of V that lie together.

    Attributes
    ----------
    part : Part
        Which columns.
    weights, first, second : int
        Addresses of the piece and of its two moments.
    stride : int
        Bytes from one input's row to the next.
    """

    part: Part
    weights: int
    first: int
    second: int
    stride: int

    def moved(self, n_bytes: int) -> "Piece":
        """The piece from another row, or column, on."""
        return self._replace(
            weights=self.weights + n_bytes, first=self.first + n_bytes, second=self.second + n_bytes
        )

    def addresses(self) -> dict[str, int]:
        """Weights and moments as arguments of an update."""
        return {"weights": self.weights, "first": self.first, "second": self.second, "stride": self.stride}


def _lies_together(s: "Scheduler", k: int, op: Operation) -> bool:
    """Whether each thread's columns of V are copied together."""
    return s.purpose.packs and not s.layouts[k + 1].private and op.width_out * s.itemsize <= WIDEST_BYTES


def pieces(s: "Scheduler", k: int, op: Operation) -> list[Piece]:
    """All of V, in columns that lie together."""
    if not _lies_together(s, k, op):
        moments = s.moments(op.weight)
        whole = Part(0, 1, 0, op.width_out)
        return [Piece(whole, **moments, stride=op.width_out * s.itemsize)]
    result = []
    for thread, part in enumerate(s.layouts[k + 1].parts):
        if part.count:
            weights, first, second, stride = s.memory.own_weights(op, thread, part.count)
            result.append(Piece(part, weights, first, second, stride))
    return result


def piece_of(s: "Scheduler", k: int, op: Operation, part: Part) -> Piece:
    """Columns of V that one thread owns."""
    for piece in pieces(s, k, op):
        offset = part.first - piece.part.first
        if offset >= 0 and part.first + part.count <= piece.part.first + piece.part.count:
            return piece.moved(offset * s.itemsize)._replace(part=part)
    raise AssertionError(f"columns {part} of operation {k} lie in several pieces")


def opening(s: "Scheduler", thread: int) -> list[Call]:
    """Copy own columns together, before the first step."""
    return [call for rows, there, here in _places(s, thread) for call in _copies(s, rows, there, here)]


def closing(s: "Scheduler", thread: int) -> list[Call]:
    """Copy them back, after the last."""
    return [call for rows, there, here in _places(s, thread) for call in _copies(s, rows, here, there)]


def _places(s: "Scheduler", thread: int) -> list[tuple[int, Piece, Piece]]:
    """Number of rows of own columns, where they are in the flat vectors, and where they lie together."""
    result = []
    for k, op in enumerate(s.plan.operations):
        if op.kind != "linear" or not _lies_together(s, k, op):
            continue
        part = s.part(k + 1, thread)
        if part.count:
            stride = op.width_out * s.itemsize
            there = Piece(part, **s.moments(op.weight + part.first), stride=stride)
            result.append((op.width_in, there, piece_of(s, k, op, part)))
    return result


def _copies(s: "Scheduler", rows: int, source: Piece, target: Piece) -> list[Call]:
    calls = []
    for name in ("weights", "first", "second"):
        arguments = {
            "source": getattr(source, name), "source_stride": source.stride,
            "rows": rows, "columns": source.part.count,
            "target": getattr(target, name), "target_stride": target.stride,
        }  # fmt: skip
        calls.append(Call(s.product_kernels["copy"], arguments))
    return calls
