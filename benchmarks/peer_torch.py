"""PyTorch on the CPU: training in eager mode, compiled and under autocast; many networks; inference."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from peer import Peer
from predictor import Predictor
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights
from torch import nn
from torch.nn.functional import cross_entropy

# Before the thread pool exists, so that its threads inherit it: moments of dead units otherwise decay into
# denormal numbers, which are slow. The engine of chainrule flushes them too.
torch.set_flush_denormal(True)

Parameters = list[torch.Tensor]


def make_network(weights: Weights) -> nn.Sequential:
    """The ReLU network with these weights."""
    layers: list[nn.Module] = []
    for W, _ in weights:
        layers += [nn.Linear(*W.shape), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    set_weights(network, weights)
    return network


def _linears(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]


@torch.no_grad()
def set_weights(network: nn.Sequential, weights: Weights) -> None:
    """Overwrite the network's weights; they stay where they are."""
    for linear, (W, b) in zip(_linears(network), weights, strict=True):
        linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(W.T)))
        linear.bias.copy_(torch.from_numpy(b))


def make_optimizer(parameters: Any, fused: bool = True) -> torch.optim.Adam:
    """Adam, by default as one call for all parameters."""
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=fused)


@torch.no_grad()
def clear_optimizer(optimizer: torch.optim.Adam) -> None:
    """Zero moments and step 0; the tensors stay where they are, since compiled code has their addresses."""
    for moments in optimizer.state.values():
        for tensor in moments.values():
            tensor.zero_()


def describe() -> str:
    """Threads, BLAS and kernels in use."""
    blas = "MKL" if torch.backends.mkl.is_available() else "its own BLAS"
    return f"{torch.get_num_threads()} threads, {blas}, {torch.backends.cpu.get_cpu_capability()} kernels"


class TorchPeer(Peer):
    """The usual loop at its best: no DataLoader, one ``index_select`` a batch, no ``item()`` a step."""

    distributions = ("torch",)

    def __init__(self, n_threads: int | None = None, autocast: bool = False, fused: bool = True) -> None:
        super().__init__(n_threads)
        self.autocast, self.fused = autocast, fused
        if n_threads is not None:
            torch.set_num_threads(n_threads)

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        self.sizes, self.batch = sizes, batch
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.network = make_network(initial_weights(sizes))
        self.optimizer = make_optimizer(self.network.parameters(), self.fused)
        self.reset()

    def reset(self) -> None:
        torch.manual_seed(1)
        set_weights(self.network, initial_weights(self.sizes))
        clear_optimizer(self.optimizer)

    def loss(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch, where it is asked for in bfloat16 but for the loss itself."""
        with torch.autocast("cpu", torch.bfloat16) if self.autocast else nullcontext():
            return cross_entropy(self.network(X), y)

    def step(self, X: torch.Tensor, y: torch.Tensor) -> None:
        """One step of Adam."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(X, y).backward()
        self.optimizer.step()

    def epoch(self) -> int:
        X, y, step = self.X, self.y, self.step
        batches = torch.randperm(len(X)).split(self.batch)
        for rows in batches:
            step(X.index_select(0, rows), y.index_select(0, rows))
        return len(batches)

    def weights(self) -> Weights:
        return [
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
            for layer in _linears(self.network)
        ]

    def facts(self) -> str:
        return describe()


class TorchCompiled(TorchPeer):
    """``torch.compile`` in its default mode.

    Users compile the network and its loss and leave the optimizer's fused step outside, or compile the
    whole step with the optimizer inside. ``setup`` tries both and keeps the faster one.
    """

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        import torch._inductor.config

        torch._inductor.config.compile_threads = 1  # no pool of processes that outlives the compiling
        ways = {"outside": self._outside, "inside": self._inside}
        times = {name: self._try(way, sizes, batch, X, y) for name, way in ways.items()}
        self.way = min(times, key=lambda name: times[name])
        self._try(ways[self.way], sizes, batch, X, y)
        self.reset()

    def _try(self, way: Callable[[], None], *data: Any) -> float:
        """Seconds of an epoch."""
        torch.compiler.reset()
        super().setup(*data)
        way()
        self.epoch()  # compiles
        times = []
        for _ in range(2):
            start = time.perf_counter()
            self.epoch()
            times.append(time.perf_counter() - start)
        return min(times)

    def _outside(self) -> None:
        """Compiled are the network and its loss."""
        self._compiled = torch.compile(lambda X, y: cross_entropy(self.network(X), y))
        self.step = super().step  # type: ignore[method-assign]

    def _inside(self) -> None:
        """Compiled is the whole step; Adam is compiled too, so it need not come fused."""
        self.optimizer = make_optimizer(self.network.parameters(), fused=False)
        self._compiled = lambda X, y: cross_entropy(self.network(X), y)
        self.step = torch.compile(super().step)  # type: ignore[method-assign]

    def loss(self, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._compiled(X, y)

    def facts(self) -> str:
        return f"{describe()}, the optimizer's step {self.way} the compiled code"


# -- many networks ---------------------------------------------------------------------------------


class TorchStacked(Peer):
    """Many networks as one: their weights are stacked, every layer is one batched product."""

    distributions = ("torch",)

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.n_networks = networks

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        self.batch = batch
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        starts = [initial_weights(sizes, seed) for seed in range(self.n_networks)]
        stacked = [
            (np.stack([one[layer][0] for one in starts]), np.stack([one[layer][1] for one in starts]))
            for layer in range(len(sizes) - 1)
        ]
        self.start = [(torch.from_numpy(W), torch.from_numpy(b)[:, None, :]) for W, b in stacked]
        self.layers = [(nn.Parameter(W.clone()), nn.Parameter(b.clone())) for W, b in self.start]
        self.optimizer = make_optimizer([parameter for layer in self.layers for parameter in layer])
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        torch.manual_seed(1)
        for layer, start in zip(self.layers, self.start, strict=True):
            for parameter, value in zip(layer, start, strict=True):
                parameter.copy_(value)
        clear_optimizer(self.optimizer)

    def epoch(self) -> int:
        orders = torch.stack([torch.randperm(len(self.X)) for _ in range(self.n_networks)])
        batches = orders.split(self.batch, dim=1)
        for rows in batches:
            self._step(self.X[rows], self.y[rows])
        return len(batches) * self.n_networks

    def _step(self, h: torch.Tensor, y: torch.Tensor) -> None:
        for W, b in self.layers[:-1]:
            h = torch.relu(torch.baddbmm(b, h, W))
        W, b = self.layers[-1]
        z = torch.baddbmm(b, h, W)
        self.optimizer.zero_grad(set_to_none=True)
        # The sum of the networks' mean losses: none sees the others.
        (cross_entropy(z.flatten(0, 1), y.flatten()) * self.n_networks).backward()
        self.optimizer.step()

    def weights(self) -> Weights:
        return [(W[0].detach().numpy().copy(), b[0, 0].detach().numpy().copy()) for W, b in self.layers]

    def facts(self) -> str:
        return f"{self.n_networks} networks stacked, {describe()}"


class TorchLoop(Peer):
    """Many networks one after the other, on one thread, which is faster for products this small."""

    distributions = ("torch",)

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.peers = [TorchPeer(n_threads=1) for _ in range(networks)]

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        for peer in self.peers:
            peer.setup(sizes, batch, X, y)

    def reset(self) -> None:
        for peer in self.peers:
            peer.reset()

    def epoch(self) -> int:
        return sum(peer.epoch() for peer in self.peers)

    def weights(self) -> Weights:
        return self.peers[0].weights()

    def facts(self) -> str:
        return f"the loop was timed on {len(self.peers)} networks, {describe()}"


# -- inference -------------------------------------------------------------------------------------


class TorchPredictor(Predictor):
    """Eager mode, from a NumPy array to a NumPy array."""

    distributions = ("torch",)

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        self.network, self.X = make_network(weights).eval(), X

    @torch.inference_mode()
    def call(self) -> np.ndarray:
        return self.network(torch.from_numpy(self.X)).numpy()

    def facts(self) -> str:
        return describe()
