"""JAX on the CPU: an epoch is one jitted ``lax.scan`` over the batches, with a donated carry.

Many networks are the same epoch under ``vmap``.
"""

import os
import time
from typing import Any

import numpy as np
from peer import Peer
from predictor import Predictor
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights


class JaxPeer(Peer):
    """Adam is written out. Rows are gathered batch by batch, or all at once at the start of the epoch.

    Which is faster depends on the network; ``setup`` tries both and keeps the better one.
    """

    distributions = ("jax", "jaxlib")

    def __init__(self, n_threads: int | None = None) -> None:
        super().__init__(n_threads)
        if n_threads is not None:  # read when JAX starts; by default it uses all processors
            os.environ["XLA_FLAGS"] = (
                f"--xla_cpu_multi_thread_eigen={'true' if n_threads > 1 else 'false'} "
                f"intra_op_parallelism_threads={n_threads}"
            )

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self.sizes, self.batch = sizes, batch
        self.X, self.y = jnp.asarray(X), jnp.asarray(y.astype(np.int32))
        times = {}
        for gather in ("batch by batch", "once an epoch"):
            self._epoch = jax.jit(_make_epoch(gather == "batch by batch"), donate_argnums=0)
            self.reset()
            self.epoch()  # compiles
            times[gather] = min(self._timed_epoch() for _ in range(3)), self._epoch
        self.gather = min(times, key=lambda gather: times[gather][0])
        self._epoch = times[self.gather][1]
        self.reset()

    def _timed_epoch(self) -> float:
        start = time.perf_counter()
        self.epoch()
        return time.perf_counter() - start

    def reset(self) -> None:
        import jax
        import jax.numpy as jnp

        parameters = [(jnp.array(W), jnp.array(b)) for W, b in initial_weights(self.sizes)]
        first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.carry = (parameters, first, second, jnp.zeros((), jnp.float32))
        self.rng = np.random.default_rng(1)

    def epoch(self) -> int:
        import jax

        # NumPy's permutation is several times faster than that of jax.random.
        batches = self.rng.permutation(len(self.X)).astype(np.int32).reshape(-1, self.batch)
        self.carry = self._epoch(self.carry, self.X, self.y, batches)
        jax.block_until_ready(self.carry)
        return len(batches)

    def weights(self) -> Weights:
        return [(np.array(W), np.array(b)) for W, b in self.carry[0]]

    def facts(self) -> str:
        threads = "all processors" if self.n_threads is None else f"{self.n_threads} thread"
        return f"{threads}, rows gathered {self.gather}"


def _outputs(parameters: Any, X: Any) -> Any:
    """Raw outputs of the ReLU network."""
    import jax

    h = X
    for W, b in parameters[:-1]:
        h = jax.nn.relu(h @ W + b)
    W, b = parameters[-1]
    return h @ W + b


def _loss(parameters: Any, X: Any, y: Any) -> Any:
    """Mean softmax cross-entropy of the ReLU network on a batch."""
    import jax
    import jax.numpy as jnp

    log_probability = jax.nn.log_softmax(_outputs(parameters, X))
    return -jnp.mean(jnp.take_along_axis(log_probability, y[:, None], axis=1))


def _step(carry: Any, X: Any, y: Any) -> Any:
    """One step of Adam."""
    import jax
    import jax.numpy as jnp

    parameters, first, second, t = carry
    beta_1, beta_2 = BETAS
    gradient = jax.grad(_loss)(parameters, X, y)
    t = t + 1
    first = jax.tree.map(lambda m, g: beta_1 * m + (1 - beta_1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: beta_2 * v + (1 - beta_2) * g * g, second, gradient)
    correction = jnp.sqrt(1 - beta_2**t)
    size = LEARNING_RATE * correction / (1 - beta_1**t)
    parameters = jax.tree.map(
        lambda w, m, v: w - size * m / (jnp.sqrt(v) + EPSILON * correction), parameters, first, second
    )
    return parameters, first, second, t


def _make_epoch(gather_each_batch: bool) -> Any:
    import jax

    def epoch(carry: Any, X: Any, y: Any, batches: Any) -> Any:
        if gather_each_batch:
            return jax.lax.scan(lambda c, rows: (_step(c, X[rows], y[rows]), None), carry, batches)[0]
        return jax.lax.scan(lambda c, batch: (_step(c, *batch), None), carry, (X[batches], y[batches]))[0]

    return epoch


# -- many networks ---------------------------------------------------------------------------------


class JaxVmap(Peer):
    """Many networks at once: the epoch of one, mapped over the networks."""

    distributions = ("jax", "jaxlib")

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.n_networks = networks

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self.sizes, self.batch = sizes, batch
        self.X, self.y = jnp.asarray(X), jnp.asarray(y.astype(np.int32))
        mapped = jax.vmap(_make_epoch(gather_each_batch=True), in_axes=(0, None, None, 0))
        self._epoch = jax.jit(mapped, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        import jax
        import jax.numpy as jnp

        starts = [initial_weights(self.sizes, seed) for seed in range(self.n_networks)]
        parameters = jax.tree.map(lambda *arrays: jnp.stack(arrays), *starts)
        first, second = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.carry = (parameters, first, second, jnp.zeros(self.n_networks, jnp.float32))
        self.rng = np.random.default_rng(1)

    def epoch(self) -> int:
        import jax

        orders = self.rng.permuted(
            np.tile(np.arange(len(self.X), dtype=np.int32), (self.n_networks, 1)), axis=1
        )
        batches = orders.reshape(self.n_networks, -1, self.batch)
        self.carry = self._epoch(self.carry, self.X, self.y, batches)
        jax.block_until_ready(self.carry)
        return batches.shape[0] * batches.shape[1]

    def weights(self) -> Weights:
        return [(np.array(W[0]), np.array(b[0])) for W, b in self.carry[0]]

    def facts(self) -> str:
        return f"{self.n_networks} networks mapped, all processors"


# -- inference -------------------------------------------------------------------------------------


class JaxPredictor(Predictor):
    """One jitted function, from a NumPy array to a NumPy array."""

    distributions = ("jax", "jaxlib")

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        import jax
        import jax.numpy as jnp

        self._predict = jax.jit(_outputs)
        self.parameters = [(jnp.asarray(W), jnp.asarray(b)) for W, b in weights]
        self.X = X

    def call(self) -> np.ndarray:
        return np.asarray(self._predict(self.parameters, self.X))

    def facts(self) -> str:
        return "all processors"
