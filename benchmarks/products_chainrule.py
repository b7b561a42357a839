"""The engine's matrix kernels as the benchmark calls them: the only file here that knows how that is done.

A kernel is ``f(address of its arguments, address of the step's record)``, both lists of 64-bit words. The
left factor of a product is a table of the addresses of its rows; the number of rows is the step's.
"""

from collections.abc import Callable

import native
import numpy as np
from products import Multiplier, Product
from session import Unavailable

__all__ = ["Engine"]


class Engine(Multiplier):
    """The two kinds of product in a training step: the forward pass, and the gradient of the weights."""

    distributions = ("numba", "llvmlite")

    def setup(self, product: Product, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> Callable[[int], None]:
        try:
            from chainrule.engine import calls, objects
        except ImportError:
            raise Unavailable("the kernels of this engine cannot be called one by one") from None
        kernel = objects.product_kernels(np.float32)["gradient" if product.transposed else "product"]
        row_addresses = native.address(A) + A.strides[0] * np.arange(len(A), dtype=np.int64)
        values = {
            "left": native.address(row_addresses), "left_offset": 0,
            "right": native.address(B), "right_stride": B.strides[0],
            "result": native.address(C), "result_stride": C.strides[0], "columns": product.columns,
        }  # fmt: skip
        if product.transposed:
            values |= {"rows": product.rows}
        else:
            values |= {"n_terms": product.terms, "row": 0, "adds": 0, "share": 0, "shares": 1}
        arguments = np.array(kernel.pack(**values), np.int64)
        step = np.zeros(len(calls.STEP) + len(calls.STEP_REALS), np.int64)
        step[calls.place_in_step("n_rows")] = len(A)
        self._kept = (kernel, row_addresses, arguments, step)
        return native.repeat(kernel.address, [native.address(arguments), native.address(step)])

    def facts(self) -> str:
        from chainrule.engine.objects import vector_unit

        return f"its own {vector_unit().name} kernels, one thread"
