"""``solver="lbfgs"``: SciPy's L-BFGS-B on the full batch, with the engine's gradient."""

import time
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.utils.optimize import _check_optimize_result

from chainrule.execution import Penalty
from chainrule.train.side_by_side import stop_if_told

__all__ = ["LBFGSMixin"]


class LBFGSMixin:
    """Full-batch training. scikit-learn packs ``coefs_`` (in, out) first, then ``intercepts_``."""

    def _pack(self, vector: np.ndarray) -> np.ndarray:
        """A flat vector of the engine, in scikit-learn's order."""
        network = self._network  # type: ignore[attr-defined]
        linear = [op for op in network.plan.operations if op.kind == "linear"]
        weights = [vector[op.weight : op.weight + op.width_in * op.width_out] for op in linear]
        return np.concatenate([*weights, *(vector[op.bias : op.bias + op.width_out] for op in linear)])

    def _unpack(self, packed: np.ndarray) -> None:
        """Set the network's numbers from a vector in scikit-learn's order."""
        network = self._network  # type: ignore[attr-defined]
        start = 0
        for array in [*network.coefs, *network.intercepts]:
            array[...] = packed[start : start + array.size].reshape(array.shape)
            start += array.size

    def _loss_grad_lbfgs(
        self,
        packed_coef_inter: np.ndarray,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        *_unused: Any,
    ) -> tuple[float, np.ndarray]:
        """Loss and gradient at a point, both in scikit-learn's order and normalisation.

        scikit-learn's version fills lists that it is handed; they are accepted and left alone.
        """
        self._unpack(packed_coef_inter)
        return self._loss_and_gradient(self._examples(X, y, sample_weight))  # type: ignore[attr-defined]

    def _loss_and_gradient(self, examples: Any) -> tuple[float, np.ndarray]:
        executor = self._network.executor(self.n_jobs, self.precision)  # type: ignore[attr-defined]
        penalty = Penalty(l2=float(self.alpha), per_example=True)  # type: ignore[attr-defined]
        loss, penalty_value, gradient = executor.gradient(examples, penalty)
        return loss / self._loss_divisor() + penalty_value, self._pack(gradient)  # type: ignore[attr-defined]

    def _fit_lbfgs(self, X: Any, y: np.ndarray, sample_weight: Any, validation: Any, context: Any) -> None:
        if validation is not None:
            raise ValueError("X_val needs a stochastic solver: L-BFGS has no epochs to validate after")
        examples = self._examples(X, y, sample_weight)  # type: ignore[attr-defined]

        def objective(packed: np.ndarray) -> tuple[float, np.ndarray]:
            stop_if_told()
            self._unpack(packed)
            loss, gradient = self._loss_and_gradient(examples)
            return loss, gradient.astype(np.float64)

        labels = partial(self._decode_targets, y)  # type: ignore[attr-defined]

        def begin() -> Any:
            task = context.subcontext(task_name="lbfgs-iter")
            return task.call_on_fit_task_begin(estimator=self, X=X, y=labels)

        task = begin()
        asked_to_stop = False
        deadline = np.inf if self.max_time is None else time.monotonic() + self.max_time  # type: ignore[attr-defined]

        def iteration(packed: np.ndarray) -> None:
            nonlocal task, asked_to_stop
            self._unpack(packed)
            stop = task.call_on_fit_task_end(
                estimator=self, X=X, y=labels, reconstruction_attributes=self._reconstruction_attributes  # type: ignore[attr-defined]
            )  # fmt: skip
            if stop or time.monotonic() >= deadline:
                asked_to_stop = True
                raise StopIteration
            task = begin()

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}  # type: ignore[attr-defined]
        start = self._pack(self._network.parameters).astype(np.float64)  # type: ignore[attr-defined]
        result = scipy.optimize.minimize(
            objective, start, method="L-BFGS-B", jac=True, options=options, callback=iteration
        )
        if asked_to_stop:  # not a failure to converge, of which scikit-learn's check would warn
            self.n_iter_ = result.nit
        else:
            self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)  # type: ignore[attr-defined]
        self.loss_ = float(result.fun)
        self._unpack(result.x)
