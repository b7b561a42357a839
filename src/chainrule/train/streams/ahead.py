"""Reading ahead: the next piece of a file is read while the last one is learned from."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")

# Pieces that wait, beside the one that is being read and the one in use.
WAITING = 2
_END = object()


def read_ahead(pieces: Iterator[T]) -> Iterator[T]:
    """The same pieces, made by a thread of their own; what it raises is raised here, in its place.

    The thread ends with the iterator, also where that is closed before its end.

    Examples
    --------
    >>> list(read_ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    waiting: queue.Queue = queue.Queue(WAITING)
    closed = threading.Event()

    def put(item: object) -> None:
        while not closed.is_set():
            try:
                waiting.put(item, timeout=0.05)
                return
            except queue.Full:
                pass

    def read() -> None:
        try:
            for piece in pieces:
                put((piece, None))
                if closed.is_set():
                    return
            put((_END, None))
        except BaseException as error:  # noqa: BLE001 - raised where the pieces are used
            put((_END, error))
        finally:
            if hasattr(pieces, "close"):
                pieces.close()  # and with it the file

    thread = threading.Thread(target=read, name="chainrule-reader", daemon=True)
    thread.start()
    try:
        while True:
            piece, error = waiting.get()
            if error is not None:
                raise error
            if piece is _END:
                return
            yield piece
    finally:
        closed.set()
        thread.join()
