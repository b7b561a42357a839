"""A process that holds one library and measures when it is told to.

Run by ``session.Worker``: requests and answers are lines of JSON. The first request, ``setup``, names a
timer and what to make it with; all later ones name one of its methods. Between requests the process waits
for input, so the libraries' threads sleep while another one is measured.
"""

import json
import os
import sys
import traceback
from typing import Any, TextIO

import numpy as np
from library import make
from session import Unavailable
from timer import Timer

__all__ = ["main"]


class _Requests:
    """Holds the timer."""

    def __init__(self) -> None:
        self._timer: Timer | None = None

    def answer(self, do: str, **arguments: Any) -> dict[str, Any]:
        """What the method named ``do`` returns."""
        if do == "setup":
            self._timer = make(arguments.pop("timer"), arguments)
            return self._timer.about()
        if self._timer is None:
            raise RuntimeError("setup has to come first")
        answer: dict[str, Any] = getattr(self._timer, do)(**arguments)
        return answer


def _answer(requests: _Requests, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return requests.answer(**request)
    except Unavailable as reason:
        return {"unavailable": str(reason)}
    except Exception as error:  # noqa: BLE001 - the parent reports it
        traceback.print_exc()
        first = (str(error).strip().splitlines() or ["no message"])[0]
        return {"error": f"{type(error).__name__}: {first}"}


def _serve(lines: TextIO, answers: TextIO) -> None:
    requests = _Requests()
    for line in lines:
        answer = _answer(requests, json.loads(line))
        print(json.dumps(answer, default=np.generic.item), file=answers, flush=True)


def main() -> None:
    """Answer requests until the input ends."""
    # Libraries print now and then: what they print goes to stderr, the pipe stays ours.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
