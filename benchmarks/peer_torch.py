"""PyTorch on the CPU, eager mode, with the fused Adam."""

import numpy as np
import torch
from peer import Peer
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights
from torch import nn
from torch.nn.functional import cross_entropy


class TorchPeer(Peer):
    """The usual loop at its best: no DataLoader, one ``index_select`` a batch, no ``item()`` a step."""

    distributions = ("torch",)

    def __init__(self, n_threads: int | None = None) -> None:
        super().__init__(n_threads)
        if n_threads is not None:
            torch.set_num_threads(n_threads)
        # Before the thread pool exists, so that its threads inherit it: moments of dead units otherwise
        # decay into denormal numbers, which are slow. The engine of chainrule flushes them too.
        torch.set_flush_denormal(True)

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        self.sizes, self.batch = sizes, batch
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        self.reset()

    def reset(self) -> None:
        torch.manual_seed(1)
        layers: list[nn.Module] = []
        for W, b in initial_weights(self.sizes):
            linear = nn.Linear(*W.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            layers += [linear, nn.ReLU()]
        self.network = nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=True
        )

    def epoch(self) -> int:
        X, y, network, optimizer = self.X, self.y, self.network, self.optimizer
        batches = torch.randperm(len(X)).split(self.batch)
        for rows in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(network(X.index_select(0, rows)), y.index_select(0, rows))
            loss.backward()
            optimizer.step()
        return len(batches)

    def weights(self) -> Weights:
        linears = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        return [
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linears
        ]

    def facts(self) -> str:
        blas = "MKL" if torch.backends.mkl.is_available() else "its own BLAS"
        return f"{torch.get_num_threads()} threads, {blas}, {torch.backends.cpu.get_cpu_capability()} kernels"
