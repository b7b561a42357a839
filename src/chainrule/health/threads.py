"""One thread for the linear algebra of a measurement."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["on_one_thread"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_one_thread(measurement: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a measurement with BLAS and OpenMP held to one thread; the limits are put back.

    How a product is shared out among threads changes its last bits, and one seed is to give one result. Nor
    is much lost: the matrices are many and small, and threads of BLAS that wait for each other on a busy
    machine have been seen to make their singular values take sixty times as long.
    """

    @functools.wraps(measurement)
    def measured(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return measurement(*arguments, **options)

    return measured
