"""``fit`` and ``predict`` on streams: the same training, on examples that come and go."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.execution import Examples, Features, mean_loss, prepare
from chainrule.optim import RuleOptimizer
from chainrule.plan import Plan
from chainrule.train.fitting import Fitting
from chainrule.train.history import History
from chainrule.train.loop import Trainer, merged
from chainrule.train.progress import EpochsOfOne
from chainrule.train.streams.feed import Feed
from chainrule.train.streams.measuring import StreamMetrics
from chainrule.train.streams.shuffling import BUFFER_BYTES
from chainrule.train.streams.stream import Stream
from chainrule.train.weighting import class_weight_vector, weighted_examples, weighted_targets

__all__ = ["StreamFitting", "StreamTrainer"]


class StreamTrainer(Trainer):
    """Epochs of training on examples of which only some are in memory at a time.

    Parameters
    ----------
    executor : Executor
    feed : callable, such as ``Feed``
        ``feed(random)`` gives all examples once, in an order that ``random`` draws or, without it, the
        natural one; each part is a multiple of the batch size, but the last.
    n_rows : int
        How many examples that are.
    optimizer, batch_size, **settings
        See ``Trainer``.
    """

    def __init__(
        self,
        executor: Any,
        feed: Callable[[np.random.Generator | None], Iterator[Examples]],
        n_rows: int,
        optimizer: RuleOptimizer,
        batch_size: int,
        **settings: Any,
    ) -> None:
        nothing = Examples(np.empty((0, executor.plan.n_inputs)), np.empty(0))
        super().__init__(executor, nothing, optimizer, batch_size, **settings)
        self._feed = feed
        self._n_rows = n_rows

    @property
    def n_rows(self) -> int:
        """Rows that one pass visits."""
        return self._n_rows

    def order(self, random: np.random.Generator) -> Any:
        """The order is drawn while the rows come."""
        return random

    def epoch(self, order: Any, rates: np.ndarray, deadline: float = np.inf) -> Any:
        """One pass over the examples; see ``Trainer.epoch``. ``order`` is what ``order`` gave, or None."""
        reports = []
        done = 0
        for examples in self._feed(order):
            self.examples = examples
            n_steps = -(-len(examples) // self.batch_size)
            reports.append(super().epoch(None, rates[done : done + n_steps], deadline))
            done += n_steps
            if time.monotonic() >= deadline:
                break
        return merged(reports)


@dataclass(frozen=True)
class StreamData:
    """What a training on a stream learns from and measures on.

    Attributes
    ----------
    stream : Stream
        The rows to train on.
    held_out : Stream, (Examples, targets) or None
        What is measured after each epoch.
    """

    stream: Stream
    held_out: Any

    def arrays(self) -> list[Any]:
        """What tells the stream from others without reading it: how many rows it has."""
        return [np.array([self.stream.n_rows])]


class StreamFitting(Fitting):
    """One call of ``fit`` with a stream in place of X and y."""

    _kept: list[tuple[np.ndarray, Any, Any]] | None = None

    def run(
        self, X: Stream, y: Any = None, validation: Any = None, progress: EpochsOfOne | None = None
    ) -> History:
        """Train, and give the module the weights of the epoch to keep."""
        if y is not None:
            raise ValueError("y must not be given with a stream, which has its own targets")
        for name in ("rows", "validation_rows"):
            if getattr(self.options, name) is not None:
                raise ValueError(f"{name} cannot be used with a stream")
        if self.options.sample_weight is not None:
            raise ValueError(
                "sample_weight cannot be used with a stream: name its column, stream(..., weight='name')"
            )
        training = X
        if isinstance(validation, int | float):
            training, validation = X.split(validation, self.options.seed)
        return super().run(training, None, validation, progress)

    @property
    def _whole_plan(self) -> Plan:
        assert self.plan is not None  # ``run`` has made one where the module has none of its own
        return self.plan

    def _read(self, X: Stream, y: Any, validation: Any) -> StreamData:
        """Count the rows, and make ready what weighs and what measures."""
        X.survey.check(X.target)
        X.check_width(self._whole_plan.n_inputs)
        self._class_weight = self._weights_of_classes(X)
        if isinstance(validation, Stream):
            validation = self._streamed(X, validation)
        elif validation is not None:
            validation = self._in_memory(X, validation)
        return StreamData(X, validation)

    @staticmethod
    def _streamed(training: Stream, validation: Stream) -> Stream:
        """Validation data that are a stream, brought into the form of the rows to train on."""
        held_out = validation.like(training)
        if held_out.n_rows == 0:
            raise ValueError("validation must have rows to measure on: there are none")
        unknown = [label for label in held_out.survey.classes if label not in training.classes]
        if unknown:
            raise ValueError(f"validation has a class {unknown[0]!r}, which no row to train on has")
        return held_out

    def _in_memory(self, training: Stream, validation: Any) -> tuple[Examples, np.ndarray]:
        """Validation data that are arrays, brought into the form of the stream's rows."""
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise ValueError(
                "validation must be (X, y), (X, y, weights), a stream, or a share of the rows between 0 and 1"
            )
        X, y, *weights = validation
        try:
            X, y = training.transform(X, y)
        except ValueError as error:
            raise ValueError(f"validation {error}") from None
        examples = weighted_examples(
            self._whole_plan, self.loss, X, y, weights[0] if weights else None, None, dtype=self.dtype,
            name="validation ",
        )  # fmt: skip
        return examples, self._plain_targets(y)

    def _weights_of_classes(self, training: Stream) -> np.ndarray | None:
        """One weight a class, of what was asked for and how often each class occurs."""
        asked = self.options.class_weight
        if asked is None:
            return None
        n_classes = max(2, self._whole_plan.n_outputs)
        counts = training.survey.class_counts(training.classes, n_classes)
        if counts is None:
            raise ValueError("class_weight needs a target of class indices or labels")
        if isinstance(asked, dict) and training.classes:
            places = {label: place for place, label in enumerate(training.classes)}
            asked = {places.get(label, label): weight for label, weight in asked.items()}
        return class_weight_vector(asked, np.repeat(np.arange(len(counts)), counts), n_classes)

    def _trainer(self, executor: Any, data: Any) -> Trainer:
        stream: Stream = data.stream
        n_rows, plan = stream.n_rows, self._whole_plan
        batch_size = min(self.batch_size, n_rows)
        bytes_a_row = self.dtype.itemsize * (plan.n_inputs + plan.n_outputs + 1)  # with targets and a weight
        capacity = stream.buffer_rows or max(1, BUFFER_BYTES // bytes_a_row)
        feed = Feed(lambda random: self._examples(stream, random), n_rows, capacity, batch_size)
        return StreamTrainer(executor, feed, n_rows, self.optimizer, batch_size, **self._settings())

    def _examples(self, stream: Stream, random: np.random.Generator | None) -> Iterator[Examples]:
        """Checked examples to train on, a piece at a time."""
        for X, y, weights in stream.chunks(random, self.dtype):
            if y is None:
                raise ValueError("the stream has no target to learn from: name it, stream(..., target=...)")
            yield self._weighted(X, y, weights, self._class_weight)

    def _weighted(self, X: np.ndarray, y: np.ndarray, weights: Any, class_weight: Any) -> Examples:
        targets, each = weighted_targets(self._whole_plan, self.loss, y, None, class_weight, n_rows=len(y))
        examples = prepare(self._whole_plan, Features(X), targets, dtype=self.dtype)
        if weights is not None:  # checked when the rows were counted; of a piece all may be zero
            each = weights if each is None else each * weights
        return examples if each is None else replace(examples, weights=each.astype(self.dtype))

    def _measure(self, executor: Any, data: Any) -> dict[str, float]:
        """Validation loss and metrics, piece by piece."""
        if isinstance(data.held_out, tuple):
            return self._measure_in_memory(executor, *data.held_out)
        if data.held_out is None and not self.metrics:
            return {}
        rows = data.stream if data.held_out is None else data.held_out
        metrics = StreamMetrics(self.metrics)
        total = weight = 0.0
        for X, y, weights in self._measured_on(rows):
            examples = self._weighted(X, y, weights, None)
            z = executor.predict(examples.X)
            metrics.add(self._plain_targets(y), self.record.link(z))
            share = len(X) if examples.weights is None else float(examples.weights.sum(dtype=np.float64))
            if share > 0:
                total += share * mean_loss(self._whole_plan, z, examples)
                weight += share
        row = {} if data.held_out is None else {"validation_loss": total / weight}
        return row | metrics.values()

    def _measured_on(self, rows: Stream) -> Iterable[tuple[np.ndarray, Any, Any]]:
        """What is measured on after each epoch; read once if it takes no more than a shuffle buffer."""
        if self._kept is None:
            pieces = rows.chunks(None, self.dtype)
            if rows.n_rows * self.dtype.itemsize * self._whole_plan.n_inputs > BUFFER_BYTES:
                return pieces
            self._kept = list(pieces)
        return self._kept

    def _measure_in_memory(self, executor: Any, examples: Examples, targets: np.ndarray) -> dict[str, float]:
        row = {"validation_loss": executor.loss(examples)}
        if self.metrics:
            prediction = self.record.link(executor.predict(examples.X))
            row |= {name: float(metric(targets, prediction)) for name, metric in self.metrics.items()}
        return row

    def _plain_targets(self, y: Any) -> np.ndarray:
        """What metrics compare with: y itself, not what a weighted loss makes of it."""
        targets: np.ndarray = self.record.check_targets(y, self._whole_plan.n_outputs)
        return targets.astype(self.dtype) if targets.dtype.kind == "f" else targets
