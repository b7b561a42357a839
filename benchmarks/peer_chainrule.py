"""chainrule: its engine, given a plan and an order of rows, an epoch a call."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from machine import processors
from peer import Peer
from predictor import Predictor
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights
from session import Unavailable

import chainrule
from chainrule import nn
from chainrule.arrays import zeros
from chainrule.engine import EngineExecutor
from chainrule.execution import Examples, Instructions, prepare
from chainrule.optim import Adam
from chainrule.plan import Plan, flatten, lower

DISTRIBUTIONS = ("numba", "numpy", "scipy")


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    """The ReLU network as a module."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, rng=0), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def widths(weights: Weights) -> tuple[int, ...]:
    """Layer widths, the inputs first."""
    return (len(weights[0][0]), *(len(b) for _, b in weights))


def by_name(weights: Weights) -> dict[str, np.ndarray]:
    """The weights under the names that the module gives them."""
    arrays: dict[str, np.ndarray] = {}
    for layer, (W, b) in enumerate(weights):
        arrays |= {f"{2 * layer}.weight": W.T, f"{2 * layer}.bias": b}
    return arrays


def flat(weights: Weights, plan: Plan, dtype: Any) -> np.ndarray:
    """The weights as the plan's vector."""
    return flatten(by_name(weights), plan.parameters, dtype)


def make_executor(
    plan: Plan, parameters: np.ndarray, n_threads: int | None, precision: str | None
) -> EngineExecutor:
    """The engine's executor of a plan, in the precision that is asked for (None: that of the parameters)."""
    buffers = np.zeros(plan.n_buffers, parameters.dtype)
    if precision is None:
        return EngineExecutor(plan, parameters, buffers, n_threads)
    # The one place that says how the executor is asked for another precision.
    try:
        from chainrule.engine import bfloat16
    except ImportError:
        raise Unavailable("this engine has no bfloat16 kernels") from None
    if not bfloat16.available():
        raise Unavailable("this processor has no instructions for bfloat16")
    return EngineExecutor(plan, parameters, buffers, n_threads, precision=precision)


class _Training:
    """One network in training: its parameters, moments and executor."""

    def __init__(self, plan: Plan, batch: int, dtype: Any, **executor: Any) -> None:
        self.plan, self.batch, self.dtype = plan, batch, dtype
        self.parameters = zeros(plan.n_parameters, dtype)
        self.state = zeros((2, plan.n_parameters), dtype)
        self.optimizer = Adam(lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
        self.executor = make_executor(plan, self.parameters, **executor)

    def reset(self, weights: Weights, seed: int) -> None:
        """Back to initial weights; ``seed`` is that of the orders of rows."""
        self.parameters[:] = flat(weights, self.plan, self.dtype)
        self.state[:] = 0
        self.step = 0
        self.rng = np.random.default_rng(seed)

    def epoch(self, examples: Examples, telemetry_every: int = 0) -> int:
        """Train on all rows once; returns the number of steps."""
        n_rows = len(examples)
        rates = np.full(-(-n_rows // self.batch), LEARNING_RATE)
        report = self.executor.run(
            examples,
            Instructions(
                order=self.rng.permutation(n_rows),
                batch_size=self.batch,
                rule=self.optimizer.rule,
                coefficients=self.optimizer.coefficients(rates, self.step),
                state=self.state,
                first_step=self.step,
                telemetry_every=telemetry_every,
            ),
        )
        self.step += report.n_steps
        return report.n_steps

    def weights(self) -> Weights:
        """Weights and biases of each layer."""
        views = {slot.name: slot.view(self.parameters).copy() for slot in self.plan.parameters}
        return [(views[f"{2 * i}.weight"].T, views[f"{2 * i}.bias"]) for i in range(len(views) // 2)]


class ChainrulePeer(Peer):
    """``EngineExecutor.run``, which is what ``fit`` calls once an epoch."""

    distributions = DISTRIBUTIONS

    def __init__(
        self,
        n_threads: int | None = None,
        dtype: str = "float32",
        precision: str | None = None,
        telemetry_every: int = 0,
    ) -> None:
        super().__init__(n_threads)
        self.dtype, self.precision, self.telemetry_every = np.dtype(dtype), precision, telemetry_every

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        plan = lower(network(sizes), "softmax_cross_entropy")
        self.sizes = sizes
        self.examples = prepare(plan, X.astype(self.dtype, copy=False), y, dtype=self.dtype)
        self.training = _Training(plan, batch, self.dtype, n_threads=self.n_threads, precision=self.precision)
        self.reset()

    def reset(self) -> None:
        self.training.reset(initial_weights(self.sizes), seed=1)

    def epoch(self) -> int:
        return self.training.epoch(self.examples, self.telemetry_every)

    def weights(self) -> Weights:
        return self.training.weights()

    def versions(self) -> dict[str, str]:
        return {"chainrule": chainrule.__version__} | super().versions()

    def facts(self) -> str:
        if self.precision is None:
            return _products()
        from chainrule.engine import bfloat16

        return f"{_products()}, in bfloat16 by {bfloat16.available()[0]}"


class ChainruleMany(Peer):
    """Many networks side by side: each processor takes one after the other and trains it on one thread.

    Of the engine's calls, an epoch of one network each, as many run at once as there are processors.
    """

    distributions = DISTRIBUTIONS

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.n_networks = networks

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        plan = lower(network(sizes), "softmax_cross_entropy")
        self.examples = prepare(plan, X, y)
        self.starts = [initial_weights(sizes, seed) for seed in range(self.n_networks)]
        self.trainings = [
            _Training(plan, batch, np.dtype("float32"), n_threads=1, precision=None) for _ in self.starts
        ]
        self.threads = ThreadPoolExecutor(processors())
        self.reset()

    def reset(self) -> None:
        for seed, (training, start) in enumerate(zip(self.trainings, self.starts, strict=True)):
            training.reset(start, seed + 1)

    def epoch(self) -> int:
        return sum(self.threads.map(lambda training: training.epoch(self.examples), self.trainings))

    def weights(self) -> Weights:
        return self.trainings[0].weights()

    def versions(self) -> dict[str, str]:
        return {"chainrule": chainrule.__version__} | super().versions()

    def facts(self) -> str:
        return f"{self.n_networks} executors of one thread each, {processors()} at a time"


def _products() -> str:
    """Which matrix kernels the engine uses."""
    from chainrule.engine.objects import vector_unit

    return f"matrix products by its own {vector_unit().name} kernels"


# -- inference -------------------------------------------------------------------------------------


class ExecutorPredictor(Predictor):
    """``EngineExecutor.predict``, which allocates what it returns."""

    distributions = DISTRIBUTIONS

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        plan = lower(network(widths(weights)), "softmax_cross_entropy")
        self.executor = make_executor(plan, flat(weights, plan, np.float32), None, None)
        self.X = X

    def call(self) -> np.ndarray:
        return self.executor.predict(self.X)

    def versions(self) -> dict[str, str]:
        return {"chainrule": chainrule.__version__} | super().versions()


class CompiledPredictor(Predictor):
    """``chainrule.Predictor``: a module made ready to predict; it may be given an array to write into."""

    distributions = DISTRIBUTIONS

    def __init__(self, into: bool = False) -> None:
        self.into = into

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        make: Any = getattr(chainrule, "Predictor", None)
        if make is None:
            raise Unavailable("this chainrule has no Predictor")
        module = network(widths(weights))
        module.load_state_dict(by_name(weights))
        self.predictor, self.X = make(module), X
        self.out = np.empty((len(X), len(weights[-1][1])), np.float32)

    def call(self) -> np.ndarray:
        if self.into:
            self.predictor.into(self.X, self.out)
            return self.out
        return np.asarray(self.predictor(self.X))

    def versions(self) -> dict[str, str]:
        return {"chainrule": chainrule.__version__} | super().versions()
