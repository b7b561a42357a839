"""The stochastic solvers' state, kept from one ``partial_fit`` to the next.

The learning rate moves as scikit-learn's optimizers move it: ``adaptive`` and ``invscaling`` act on the
plain "sgd" solver only and at the end of an epoch; this library's further schedules act at each step.
"""

import copy
from typing import Any

import numpy as np

from chainrule.execution import Examples, Penalty
from chainrule.optim import SGD, Adam, AdamW, Optimizer, make_schedule
from chainrule.train import Trainer

__all__ = ["SolverState"]


def _optimizer_of(estimator: Any) -> Optimizer:
    """The optimizer that an estimator's parameters describe."""
    rate, decay = estimator.learning_rate_init, estimator.weight_decay
    optimizer: Optimizer
    if estimator.solver == "sgd":
        optimizer = SGD(
            rate, estimator.momentum, nesterov=estimator.nesterovs_momentum,
            decoupled_weight_decay=decay, rate_in_velocity=True,
        )  # fmt: skip
    else:
        # Without weight decay "adamw" is Adam, and "adam" with it is AdamW.
        kind = AdamW if decay else Adam
        betas = (estimator.beta_1, estimator.beta_2)
        optimizer = kind(rate, betas, estimator.epsilon, decay, epsilon_hat=True)
    optimizer.decay_all = False  # the weights alone, as alpha does
    return optimizer


class SolverState:
    """An optimizer with its moments and its learning rate.

    Attributes
    ----------
    learning_rate : float
        The rate of the last step, for Adam with its bias correction, as scikit-learn reports it.
    """

    def __init__(self, estimator: Any) -> None:
        self.optimizer = _optimizer_of(estimator)
        self.solver = estimator.solver
        self.learning_rate = float(estimator.learning_rate_init)
        self._initial_rate = float(estimator.learning_rate_init)
        self._power = estimator.power_t
        self._state: np.ndarray | None = None
        self._step = 0
        self._named = estimator.learning_rate
        classic = self._named in ("constant", "invscaling", "adaptive")
        self._schedule = None if classic else copy.deepcopy(make_schedule(self._named))  # some keep count

    def trainer(self, estimator: Any, examples: Examples, batch_size: int) -> Trainer:
        """A trainer that goes on from this state."""
        network = estimator._network
        trainer = Trainer(
            network.executor(estimator.n_jobs),
            examples,
            self.optimizer,
            batch_size,
            penalty=Penalty(l2=float(estimator.alpha), per_example=True),
            clip_norm=float(estimator.clip_norm or 0.0),
            # Masks need a seed of their own; a draw only where dropout is asked for keeps the order of
            # all other draws scikit-learn's.
            seed=int(estimator._random_state.randint(2**31)) if network.plan.uses("dropout") else 0,
            step=self._step,
        )
        if self._state is not None and self._state.shape == trainer.state.shape:
            trainer.state = self._state
        self._state = trainer.state
        return trainer

    def rates(self, step: int, steps: int, epochs: int) -> np.ndarray:
        """Learning rate of each step of the coming epoch."""
        if self._schedule is not None:
            numbers = np.arange(step, step + steps)
            return self._initial_rate * self._schedule.factors(numbers, steps * epochs, steps)
        rate = self.learning_rate if self.solver == "sgd" else self._initial_rate
        return np.full(steps, rate)

    def note(self, trainer: Trainer, rates: np.ndarray) -> None:
        """Take over where an epoch ended."""
        self._step = trainer.step
        if self.solver != "sgd":
            beta_1, beta_2 = self.optimizer.betas  # type: ignore[attr-defined]
            correction = np.sqrt(1 - beta_2**self._step) / (1 - beta_1**self._step)
            self.learning_rate = float(rates[-1] * correction)

    def iteration_ends(self, samples_seen: int, improved: bool) -> bool:
        """After each epoch; True when a schedule has no lower rate to try.

        Inverse scaling: learning_rate_init / (samples seen + 1)^power_t.
        """
        if self.solver == "sgd" and self._named == "invscaling":
            self.learning_rate = self._initial_rate / (samples_seen + 1) ** self._power
        return self._schedule is not None and self._schedule.epoch_ended(improved)

    def trigger_stopping(self, message: str, verbose: Any) -> bool:
        """Whether to stop now that nothing improves; "adaptive" divides the rate by 5 first, down to 1e-6."""
        stops = True
        suffix = " Stopping."
        if self.solver == "sgd" and self._named == "adaptive":
            stops = self.learning_rate <= 1e-6
            suffix = " Learning rate too small. Stopping."
            if not stops:
                self.learning_rate /= 5.0
                suffix = f" Setting learning rate to {self.learning_rate:f}"
        if verbose:
            print(message + suffix)  # noqa: T201 - verbose is a request
        return stops
