"""The gradient without backpropagation: two forward passes a parameter.

Section 8.1's claim: backpropagation is not gradient descent. It is one way to come by a gradient, and
descent on this one, which knows no chain rule at all, takes the same path. Its cost is O(P²) where the
backward sweep's is O(P) (section 3).
"""

import numpy as np

from chainrule.execution import Examples, Penalty
from chainrule.reference import ReferenceExecutor
from chainrule.tape import Tensor, finite_differences

__all__ = ["FiniteDifferenceExecutor"]


class FiniteDifferenceExecutor(ReferenceExecutor):
    """The reference with central differences in place of (4)-(7): (ℒ(w + e) − ℒ(w − e)) / 2e for every w.

    The step e is the cube root of the precision, which balances rounding against the error of the quotient,
    about e². In float64 that leaves nine or ten digits of the gradient.

    Examples
    --------
    >>> from chainrule import nn
    >>> from chainrule.plan import lower
    >>> plan = lower(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1)), "half_squared_error")
    >>> executor = FiniteDifferenceExecutor(plan, np.array([0.5, 0.0, -1.0, 0.1]), np.empty(0))
    >>> executor.gradient(Examples(np.array([[1.0]]), np.array([[0.0]])))[2].round(4)
    array([ 0.1228,  0.1228, -0.3252, -0.5225])
    """

    name = "finite_differences"

    def _backpropagate(
        self,
        examples: Examples,
        penalty: Penalty,
        training: bool,
        step: int,
        seed: int,
        update_running: bool = False,
    ) -> tuple[float, float, np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """What the reference gives, with another gradient."""
        loss, penalty_value, _, values, deltas = super()._backpropagate(
            examples, penalty, training, step, seed, update_running
        )
        before = self.parameters.copy()

        def total(w: Tensor) -> float:
            self.parameters[:] = w.data
            z = self.values(examples.X, training=training, step=step, seed=seed)[-1]
            return self._mean_loss(z, examples)[0] + self._penalty(penalty, examples)[0]

        gradient = finite_differences(total, before)
        self.parameters[:] = before
        return loss, penalty_value, gradient, values, deltas
