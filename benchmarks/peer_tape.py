"""The loop that a PyTorch user writes, on chainrule's tape: forward, backward, step, batch after batch."""

from typing import Any

import numpy as np
from peer import Peer
from peer_chainrule import DISTRIBUTIONS, by_name, network
from problem import BETAS, EPSILON, LEARNING_RATE, Weights, initial_weights

import chainrule
from chainrule import nn
from chainrule.optim import Adam


class TapePeer(Peer):
    """Eager mode: every operation is recorded anew at every step."""

    distributions = DISTRIBUTIONS

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        self.sizes, self.batch, self.X, self.y = sizes, batch, X, y
        self.loss = nn.CrossEntropyLoss()
        self.reset()

    def reset(self) -> None:
        self.network = network(self.sizes)
        self.network.load_state_dict(by_name(initial_weights(self.sizes)))
        self.optimizer: Any = Adam(self.network.parameters(), lr=LEARNING_RATE, betas=BETAS, eps=EPSILON)
        self.rng = np.random.default_rng(1)

    def epoch(self) -> int:
        order = self.rng.permutation(len(self.X))
        starts = range(0, len(order), self.batch)
        for start in starts:
            rows = order[start : start + self.batch]
            X, y = chainrule.Tensor(self.X[rows]), chainrule.Tensor(self.y[rows])
            self.optimizer.zero_grad()
            self.loss(self.network(X), y).backward()
            self.optimizer.step()
        return len(starts)

    def weights(self) -> Weights:
        state = self.network.state_dict()
        return [(state[f"{2 * i}.weight"].T, state[f"{2 * i}.bias"]) for i in range(len(state) // 2)]
