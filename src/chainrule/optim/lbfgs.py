"""L-BFGS: Newton's direction from the gradients of the last steps (Nocedal & Wright 2006, chapter 7).

The curvature along the steps already taken, y = ∇ℒ(x + s) − ∇ℒ(x), is all that is known of the Hessian; two
recursions over the pairs (s, y) multiply the gradient by the inverse of what they say, without any matrix.
Algorithm and stopping conditions are PyTorch's.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.optim._checks import at_least_zero, whole
from chainrule.optim.line_search import Trial, strong_wolfe
from chainrule.optim.optimizer import Optimizer

__all__ = ["LBFGS"]

# A pair with less curvature than this, yᵀs, is not remembered: the direction would no longer go down.
LEAST_CURVATURE = 1e-10


class LBFGS(Optimizer):
    """L-BFGS on all parameters together, with PyTorch's arguments.

    A call of ``step`` takes up to ``max_iter`` iterations, and calls the closure for each loss and gradient
    that it needs.

    Parameters
    ----------
    params : iterable of Tensor
        One group only.
    lr : float
        Step length, or the first one that the line search tries.
    max_iter : int
        Iterations of a call.
    max_eval : int, optional
        Evaluations of a call; by default 1.25 times as many.
    tolerance_grad : float
        Stop when no entry of the gradient is larger.
    tolerance_change : float
        Stop when neither the loss nor any parameter changes by more.
    history_size : int
        Pairs to remember.
    line_search_fn : {"strong_wolfe"}, optional
        None goes by ``lr`` throughout.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([-1.0, 1.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item()  # the loss before the step
    4.0
    >>> closure().item() < 1e-6
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if params is None:
            raise TypeError(
                "params must be an iterable of Tensors: chainrule.fit does not take LBFGS; got None"
            )
        max_iter = whole("max_iter", max_iter)
        settings = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
            "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, settings)

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        if settings["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                f"line_search_fn must be None or 'strong_wolfe'; got {settings['line_search_fn']!r}"
            )
        reals, counts = ("lr", "tolerance_grad", "tolerance_change"), ("max_iter", "max_eval", "history_size")
        return {
            **settings,
            **{name: at_least_zero(name, settings[name]) for name in reals},
            **{name: whole(name, settings[name]) for name in counts},
        }

    def _add(self, group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError("LBFGS takes one parameter group: it has one step length for all parameters")
        super()._add(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Sets the gradients to zero, computes the loss and its gradients, and returns the loss.

        Returns
        -------
        Tensor
            The loss before.
        """
        if closure is None:
            raise TypeError("LBFGS.step needs a closure that computes the loss and its gradients; got None")
        first_loss = self._evaluated(closure)
        _Iterations(self, closure, float(first_loss)).run()
        return first_loss

    def _loaded_state(self, kept: Mapping[str, Any], tensor: Any) -> dict[str, Any]:
        return {name: _loaded(value, tensor.data.dtype) for name, value in kept.items()}


def _loaded(value: Any, dtype: np.dtype) -> Any:
    """A copy: a number, an array of all parameters, or a list of them."""
    if isinstance(value, list):
        return [_loaded(one, dtype) for one in value]
    if value is None or isinstance(value, int | float):
        return value
    array = np.asarray(value).astype(dtype)  # a copy
    return array if array.ndim else float(array)


class _Iterations:
    """One call of ``step``.

    What goes on to the next call is in the state of the first parameter, under PyTorch's names: d the
    direction and t the step length, old_stps and old_dirs the remembered s and y, ro their 1 / yᵀs, H_diag
    the scale γ of the first guess at the inverse Hessian, γ I.
    """

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any], loss: float) -> None:
        self.group = optimizer.param_groups[0]
        self.tensors = self.group["params"]
        self.optimizer, self.closure = optimizer, closure
        self.state = optimizer.state[self.tensors[0]]
        self.state.setdefault("n_iter", 0)
        self.state["func_evals"] = self.state.get("func_evals", 0) + 1
        self.evaluations = 1
        self.loss, self.gradient = loss, self._flat_gradient()

    def run(self) -> None:
        """Iterate until there is a reason to stop."""
        if self._optimal():
            return
        for iteration in range(1, self.group["max_iter"] + 1):
            if not self._iterate(last=iteration == self.group["max_iter"]):
                return

    def _iterate(self, last: bool) -> bool:
        """One iteration; whether to go on."""
        state, tolerance = self.state, self.group["tolerance_change"]
        state["n_iter"] += 1
        self._aim()
        state["prev_flat_grad"], state["prev_loss"] = self.gradient, self.loss
        slope = float(self.gradient @ state["d"])
        if slope > -tolerance:
            return False
        before = self.evaluations
        if self.group["line_search_fn"] is None:
            self._move_by(state["t"] * state["d"])
            if not last:  # nobody would look at the loss
                self.loss, self.gradient = self._evaluate()
        else:
            self._search(slope)
        state["func_evals"] += self.evaluations - before
        change = float(np.abs(state["t"] * state["d"]).max())
        return not (
            last
            or self.evaluations >= self.group["max_eval"]
            or self._optimal()
            or change <= tolerance
            or abs(self.loss - state["prev_loss"]) < tolerance
        )

    def _optimal(self) -> bool:
        return bool(np.abs(self.gradient).max() <= self.group["tolerance_grad"])

    # -- the direction -----------------------------------------------------------------------------

    def _aim(self) -> None:
        """The direction, and the step length to try first."""
        state, lr = self.state, self.group["lr"]
        if state["n_iter"] == 1:
            state |= {"d": -self.gradient, "old_stps": [], "old_dirs": [], "ro": [], "H_diag": 1.0}
            # Nothing is known of the curvature: a step of length 1 at most.
            state["t"] = min(1.0, 1.0 / float(np.abs(self.gradient).sum())) * lr
            return
        self._remember(step=state["t"] * state["d"], change=self.gradient - state["prev_flat_grad"])
        state["d"], state["t"] = self._newton_direction(), lr

    def _remember(self, step: np.ndarray, change: np.ndarray) -> None:
        """Add a pair (s, y) to those that are remembered, if the loss is convex along it."""
        state = self.state
        curvature = float(change @ step)
        if curvature <= LEAST_CURVATURE:
            return
        for name, value in (("old_stps", step), ("old_dirs", change), ("ro", 1.0 / curvature)):
            state[name] = [*state[name], value][-self.group["history_size"] :]
        state["H_diag"] = curvature / float(change @ change)

    def _newton_direction(self) -> np.ndarray:
        """−H ∇ℒ by the two recursions (algorithm 7.4)."""
        state = self.state
        pairs = list(zip(state["old_stps"], state["old_dirs"], state["ro"], strict=True))
        direction = -self.gradient
        shares = []
        for s, y, rho in reversed(pairs):
            share = rho * float(s @ direction)
            direction -= share * y
            shares.append(share)
        direction *= state["H_diag"]
        for (s, y, rho), share in zip(pairs, reversed(shares), strict=True):
            direction += (share - rho * float(y @ direction)) * s
        return direction

    # -- the step ----------------------------------------------------------------------------------

    def _search(self, slope: float) -> None:
        """Go as far as the strong Wolfe conditions ask for."""
        state, direction = self.state, self.state["d"]
        start = [tensor.data.copy() for tensor in self.tensors]

        def evaluate(t: float) -> Trial:
            self._move_by(t * direction, start)
            loss, gradient = self._evaluate()
            return Trial(t, loss, gradient, float(gradient @ direction))

        shortest = self.group["tolerance_change"] / max(float(np.abs(direction).max()), np.finfo(float).tiny)
        trial = strong_wolfe(
            evaluate, Trial(0.0, self.loss, self.gradient, slope), state["t"],
            most_trials=self.group["max_eval"] - self.evaluations, shortest=shortest,
        )  # fmt: skip
        self.loss, self.gradient, state["t"] = trial.loss, trial.gradient, trial.t
        self._move_by(trial.t * direction, start)

    def _evaluate(self) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        loss = float(self.optimizer._evaluated(self.closure))
        return loss, self._flat_gradient()

    def _flat_gradient(self) -> np.ndarray:
        """The gradients of all parameters in one vector; zero where there is none."""
        parts = [
            np.zeros(tensor.data.size, tensor.data.dtype) if tensor.grad is None else tensor.grad.data.ravel()
            for tensor in self.tensors
        ]
        return np.concatenate(parts)

    def _move_by(self, step: np.ndarray, start: list[np.ndarray] | None = None) -> None:
        """Set the parameters to ``step`` from ``start``, or from where they are."""
        first = 0
        for number, tensor in enumerate(self.tensors):
            part = step[first : first + tensor.data.size].reshape(tensor.data.shape)
            np.add(tensor.data if start is None else start[number], part, out=tensor.data)
            tensor.bump_version()
            first += tensor.data.size
