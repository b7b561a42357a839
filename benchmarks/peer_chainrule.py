"""chainrule: its engine, given a plan and an order of rows, an epoch a call."""

from itertools import pairwise

import numpy as np
from machine import blas_facts
from peer import Peer
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights

from chainrule import nn
from chainrule.engine.executor import EngineExecutor
from chainrule.execution import Instructions, prepare
from chainrule.optim import Adam
from chainrule.plan import flatten, lower


class ChainrulePeer(Peer):
    """``EngineExecutor.run``, which is what ``fit`` calls once an epoch."""

    distributions = ("numba", "numpy", "scipy")

    def versions(self) -> dict[str, str]:
        import chainrule

        return {"chainrule": chainrule.__version__} | super().versions()

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out, rng=0), nn.ReLU()]
        self.plan = lower(nn.Sequential(*layers[:-1]), "softmax_cross_entropy")
        self.sizes, self.batch = sizes, batch
        self.examples = prepare(self.plan, X, y)
        self.optimizer = Adam(LEARNING_RATE, BETAS, EPSILON)
        self.parameters = np.empty(self.plan.n_parameters, np.float32)
        self.executor = EngineExecutor(
            self.plan, self.parameters, np.zeros(self.plan.n_buffers, np.float32), self.n_threads
        )
        self.state = np.zeros((2, self.plan.n_parameters), np.float32)
        self.reset()

    def reset(self) -> None:
        arrays = {}
        for layer, (W, b) in enumerate(initial_weights(self.sizes)):
            arrays |= {f"{2 * layer}.weight": W.T, f"{2 * layer}.bias": b}
        self.parameters[:] = flatten(arrays, self.plan.parameters, np.float32)
        self.state[:] = 0
        self.step = 0
        self.rng = np.random.default_rng(1)

    def epoch(self) -> int:
        n_rows = len(self.examples)
        rates = np.full(-(-n_rows // self.batch), LEARNING_RATE)
        report = self.executor.run(
            self.examples,
            Instructions(
                order=self.rng.permutation(n_rows),
                batch_size=self.batch,
                rule=self.optimizer.rule,
                coefficients=self.optimizer.coefficients(rates, self.step),
                state=self.state,
                first_step=self.step,
            ),
        )
        self.step += report.n_steps
        return report.n_steps

    def weights(self) -> Weights:
        views = {slot.name: slot.view(self.parameters).copy() for slot in self.plan.parameters}
        return [
            (views[f"{2 * layer}.weight"].T, views[f"{2 * layer}.bias"])
            for layer in range(len(self.sizes) - 1)
        ]

    def facts(self) -> str:
        try:
            from chainrule.engine.blas import library_name

            from chainrule.engine.objects import vector_unit
        except ImportError:  # an engine with kernels of its own needs no BLAS
            return ""
        if library_name() == "mkl":
            return "matrix products by MKL"
        if library_name() == "scipy":
            return f"matrix products by SciPy's {blas_facts('scipy')}"
        return f"matrix products by its own {vector_unit().name} kernels"
