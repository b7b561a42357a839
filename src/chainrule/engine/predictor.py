"""A trained network as a function: what a service calls for each request."""

from typing import Any

import numpy as np

from chainrule.engine.inference import Forward
from chainrule.nn import Module
from chainrule.plan import flatten, lower

__all__ = ["Predictor"]


class Predictor:
    """The forward pass of a module, ready to be called.

    Takes a copy of the module's numbers: training the module further does not change it. A call with one row
    takes some microseconds; large batches run on several threads; any number of threads may call at once.

    Parameters
    ----------
    module : Module
        A network of ``chainrule.nn``; it predicts as in evaluation mode.
    n_inputs : int, optional
        Number of features, where no layer states it.
    dtype : float32 or float64
        What it computes in.
    n_threads : int, optional
        At most so many for one call; by default as many as there are processors.

    Raises
    ------
    TypeError
        If ``dtype`` is another one.
    ValueError
        If the number of inputs is unknown.

    Examples
    --------
    >>> from chainrule import nn
    >>> network = nn.Sequential(nn.Linear(2, 3, rng=0), nn.ReLU(), nn.Linear(3, 1, rng=1))
    >>> predict = Predictor(network)
    >>> x = np.array([[0.5, -1.0]], dtype=np.float32)
    >>> bool(np.allclose(predict(x), network(x), atol=1e-6))
    True
    """

    def __init__(
        self,
        module: Module,
        n_inputs: int | None = None,
        *,
        dtype: Any = np.float32,
        n_threads: int | None = None,
    ) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64; got {self.dtype}")
        if n_threads is not None and n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}")
        plan = lower(module, "half_squared_error", n_inputs)
        state = module.state_dict()
        parameters = flatten(state, plan.parameters, self.dtype)
        buffers = flatten(state, plan.buffers, self.dtype)
        self._forward = Forward(plan, parameters, buffers, n_threads)
        self.n_inputs, self.n_outputs = plan.n_inputs, plan.n_outputs

    def __call__(self, x: Any) -> np.ndarray:
        """Raw outputs z: (n, n_outputs) of rows x (n, n_inputs), or (n_outputs,) of one row (n_inputs,)."""
        rows = self._rows(x)
        z = self._forward(rows)
        return z if np.ndim(x) == 2 else z[0]

    def into(self, x: np.ndarray, output: np.ndarray) -> None:
        """The same, written to an array of the right dtype and shape (n, n_outputs).

        Raises
        ------
        ValueError
            If ``output`` is not a contiguous array of that shape and dtype, or x has another width.
        """
        rows = self._rows(x)
        shape = (len(rows), self.n_outputs)
        if output.shape != shape or output.dtype != self.dtype or not output.flags.c_contiguous:
            raise ValueError(
                f"output must be a contiguous {self.dtype} array of shape {shape}; "
                f"got {output.dtype} of shape {output.shape}"
            )
        if not output.flags.writeable:
            raise ValueError("output must be writeable; got a read-only array")
        self._forward(rows, output)

    def _rows(self, x: Any) -> np.ndarray:
        rows = np.ascontiguousarray(x, self.dtype)
        if rows.ndim == 1:
            rows = rows[None]
        if rows.ndim != 2 or rows.shape[1] != self.n_inputs:
            raise ValueError(f"x must have shape (n, {self.n_inputs}); got {np.shape(x)}")
        return rows
