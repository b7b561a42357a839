"""The stochastic solvers: their loop over epochs, and their state, kept from one ``partial_fit`` to the next.

The learning rate moves as scikit-learn's optimizers move it: ``adaptive`` and ``invscaling`` act on the
plain "sgd" solver only and at the end of an epoch; this library's further schedules act at each step.
"""

import copy
import inspect
import time
import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from chainrule.estimators.parameters import without_feature_names
from chainrule.execution import Examples, Penalty, mean_loss
from chainrule.optim import SGD, Adam, AdamW, RuleOptimizer, make_schedule
from chainrule.train import Trainer

__all__ = ["STOCHASTIC_SOLVERS", "SolverState", "StochasticMixin"]

STOCHASTIC_SOLVERS = ("sgd", "adam", "adamw")


def _optimizer_of(estimator: Any) -> RuleOptimizer:
    """The optimizer that an estimator's parameters describe."""
    rate, decay = estimator.learning_rate_init, estimator.weight_decay
    optimizer: RuleOptimizer
    if estimator.solver == "sgd":
        momentum = estimator.momentum
        optimizer = SGD(
            lr=rate, momentum=momentum, nesterov=estimator.nesterovs_momentum and momentum > 0,
            decoupled_weight_decay=decay, rate_in_velocity=True,
        )  # fmt: skip
    else:
        # Without weight decay "adamw" is Adam, and "adam" with it is AdamW.
        kind = AdamW if decay else Adam
        betas = (estimator.beta_1, estimator.beta_2)
        optimizer = kind(lr=rate, betas=betas, eps=estimator.epsilon, weight_decay=decay, epsilon_hat=True)
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
            network.executor(estimator.n_jobs, estimator.precision),
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
            beta_1, beta_2 = self.optimizer.defaults["betas"]
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


class StochasticMixin:
    """Training by epochs: scikit-learn's order of draws, its stopping rules, its texts."""

    def _fit_stochastic(
        self: Any,
        X: Any,
        y: np.ndarray,
        sample_weight: Any,
        incremental: bool,
        validation: tuple | None,
        context: Any,
    ) -> None:
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        X, y, sample_weight, validation = self._validation_split(X, y, sample_weight, validation)
        examples, labels = self._examples(X, y, sample_weight), partial(self._decode_targets, y)
        n_samples = len(examples)
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = SolverState(self)
        run = self._optimizer.trainer(self, examples, self._batch_size(n_samples))
        order: np.ndarray | None = np.arange(n_samples, dtype=np.int64) if self.shuffle else None
        deadline = np.inf if self.max_time is None else time.monotonic() + self.max_time
        if validation is not None:
            validation = (*validation, self._examples(*validation))
            self.validation_loss_curve_ = self.validation_loss_curve_ or []
        try:
            self.n_iter_ = 0
            for _ in range(self.max_iter):
                task = context.subcontext(task_name="epoch")
                task.call_on_fit_task_begin(estimator=self, X=X, y=labels)
                if order is not None:
                    # scikit-learn shuffles the already shuffled order.
                    permutation = np.arange(n_samples)
                    self._random_state.shuffle(permutation)
                    order = order[permutation]
                self._one_epoch(run, order, deadline)
                self._update_no_improvement_count(validation)
                exhausted = self._optimizer.iteration_ends(self.t_, self._no_improvement_count == 0)
                stop = task.call_on_fit_task_end(
                    estimator=self, X=X, y=labels, reconstruction_attributes=self._reconstruction_attributes
                )
                if self._no_improvement_count > self.n_iter_no_change:
                    if self._optimizer.trigger_stopping(self._stopping_message(), self.verbose):
                        break
                    self._no_improvement_count = 0
                if incremental or stop or exhausted or time.monotonic() >= deadline:
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                        "reached and the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        if self.early_stopping:
            self._network.parameters[:], self._network.buffers[:] = self._best

    def _validation_split(
        self: Any, X: Any, y: np.ndarray, sample_weight: Any, validation: tuple | None
    ) -> tuple:
        """Hold out rows for early stopping, unless validation data was given."""
        if not self.early_stopping or validation is not None:
            return X, y, sample_weight, validation
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if parts[1].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        weights = (None, None) if sample_weight is None else (parts[4], parts[5])
        return parts[0], parts[2], weights[0], (parts[1], parts[3], weights[1])

    def _batch_size(self: Any, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=2,
            )
        return int(np.clip(self.batch_size, 1, n_samples))

    def _one_epoch(self: Any, run: Any, order: np.ndarray | None, deadline: float) -> None:
        """Run one epoch and note its loss."""
        rates = self._optimizer.rates(run.step, run.steps_per_epoch, self.max_iter)
        report = run.epoch(order, rates, deadline)
        self._optimizer.note(run, rates)
        self.n_iter_ += 1
        self.loss_ = (report.loss / self._loss_divisor() + report.penalty) / report.n_rows
        self.t_ += len(run.examples)
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")  # noqa: T201 - verbose is a request

    def _stopping_message(self: Any) -> str:
        what = "Validation score" if self.early_stopping else "Training loss"
        patience = self.n_iter_no_change
        return f"{what} did not improve more than tol={self.tol:f} for {patience} consecutive epochs."

    def _update_no_improvement_count(self: Any, validation: tuple | None) -> None:
        """Compare this epoch with the best so far, by validation score or by training loss."""
        score = None if validation is None else self._validate(*validation)
        if self.early_stopping:
            self.validation_scores_.append(score)
            if self.verbose:
                print(f"Validation score: {score:f}")  # noqa: T201
            stale = score < self.best_validation_score_ + self.tol
            if score > self.best_validation_score_:
                self.best_validation_score_ = score
                self._remember_best()
        else:
            stale = self.loss_ > self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, self.loss_)
        self._no_improvement_count = self._no_improvement_count + 1 if stale else 0

    def _validate(self: Any, X: Any, y: np.ndarray, sample_weight: Any, examples: Examples) -> float:
        """Note the validation loss; the validation score."""
        z = self._network.executor(self.n_jobs).predict(examples.X)
        loss = mean_loss(self._network.plan, z, examples) / self._loss_divisor()
        self.validation_loss_curve_.append(loss)
        if self.scoring == "loss":
            return -loss
        if self.scoring is not None:
            from sklearn.metrics import check_scoring

            scorer = check_scoring(self, scoring=self.scoring)
            # A plain function of (estimator, X, y) knows no weights; scikit-learn's scorers do.
            weighable = sample_weight is not None and not inspect.isfunction(scorer)
            extra = {"sample_weight": sample_weight} if weighable else {}
            return float(scorer(without_feature_names(self), X, self._decode_targets(y), **extra))
        output = self._activate_output(z)
        if not np.isfinite(output).all():
            return np.nan
        return self._score_predictions(self._decode_targets(y), self._decode(output), sample_weight)
