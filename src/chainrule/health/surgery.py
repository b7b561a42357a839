"""Changes of a network's description: each takes a module and gives a new one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from chainrule import nn
from chainrule.functions.activations import ACTIVATIONS
from chainrule.nn import Module

__all__ = [
    "activations_after",
    "flat_chain",
    "initialized",
    "replaced",
    "with_activations",
    "with_batch_norm",
    "with_residuals",
    "without_last_activation",
]

# Activations that He's rule (9) is made for; of the others (8), Xavier's, keeps the signal.
RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus")


def replaced(module: Module, change: Callable[[Module], Module | None]) -> Module:
    """A copy with other modules for the leaves that ``change`` gives one for; None leaves one as it is."""
    made = module.copy()
    own = None if any(True for _ in made.children()) else change(made)
    if own is not None:
        return own
    _replace_below(made, change)
    return made


def _replace_below(module: Module, change: Callable[[Module], Module | None]) -> None:
    for name, child in list(module._modules.items()):
        if any(True for _ in child.children()):
            _replace_below(child, change)
        elif (other := change(child)) is not None:
            module._modules[name] = other


def flat_chain(module: Module) -> list[Module] | None:
    """The modules of a chain in their order, chains within it opened; None of what is no chain."""
    if not isinstance(module, nn.Sequential) or type(module).forward is not nn.Sequential.forward:
        return None
    links: list[Module] = []
    for child in module.children():
        links += flat_chain(child) or [child]
    return links


def activations_after(module: Module) -> list[tuple[nn.Linear, str | None]]:
    """Each linear module with the name of the first activation that follows it before the next."""
    found: list[tuple[nn.Linear, str | None]] = []
    for one in _leaves(module):
        if isinstance(one, nn.Linear):
            found.append((one, None))
        elif isinstance(one, nn.ActivationModule) and found and found[-1][1] is None:
            name = one.record_name
            if name != "identity":
                found[-1] = (found[-1][0], name)
    return found


def _leaves(module: Module) -> Iterator[Module]:
    for one in module.modules():
        if not any(True for _ in one.children()):
            yield one


def initialized(module: Module, seed: int = 0, rows: np.ndarray | None = None) -> Module:
    """A copy with weights drawn anew: He's rule (9) before rectifiers, Xavier's (8) elsewhere.

    The modules' order says which activation follows; ``rows``, by which PyTorch's are asked, are not needed.
    """
    made = module.copy()
    rng = np.random.default_rng([seed, 5])
    pairs = activations_after(made)
    for number, (linear, activation) in enumerate(pairs):
        is_last = number == len(pairs) - 1
        linear.initialize("he_normal" if activation in RECTIFIERS and not is_last else "xavier_normal", rng)
    for one in made.modules():
        if isinstance(one, nn.BatchNorm1d):
            one.reset_parameters(rng)
    return made


def standard_scale(linear: nn.Linear, activation: str | None) -> float:
    """The standard deviation of W that keeps the signal's size before this activation: gain/√n_in."""
    return kept_scale(linear.in_features, activation)


def kept_scale(fan_in: int, activation: str | None) -> float:
    """The same, of a layer with so many inputs to a unit."""
    record = ACTIVATIONS.get(activation or "identity", ACTIVATIONS["identity"])
    return record.gain(record.alpha or 0.0) / math.sqrt(fan_in)


def with_activations(module: Module, name: str) -> Module:
    """A copy with another activation in the hidden layers; between linear modules without one, one is put."""
    links = flat_chain(module)
    if links is None:
        return replaced(module, lambda one: _other_activation(one, name))
    made: list[Module] = []
    last = max(k for k, one in enumerate(links) if any(isinstance(m, nn.Linear) for m in one.modules()))
    for place, link in enumerate(links):
        hidden = place < last
        other = replaced(link, lambda one: _other_activation(one, name)) if hidden else link.copy()
        is_bare = isinstance(link, nn.Linear) and hidden and not _is_followed(links[place + 1 :])
        made += [other, nn.activation_module(name)] if is_bare else [other]
    return nn.Sequential(*made)


def _other_activation(one: Module, name: str) -> Module | None:
    return nn.activation_module(name) if isinstance(one, nn.ActivationModule) else None


def _is_followed(links: list[Module]) -> bool:
    """Whether an activation comes before the next linear module."""
    for one in links:
        if isinstance(one, nn.ActivationModule):
            return True
        if any(isinstance(inner, nn.Linear) for inner in one.modules()):
            return False
    return False


def with_batch_norm(module: Module) -> Module | None:
    """A copy of a chain with batch normalisation after each hidden linear module; None if it has some."""
    links = flat_chain(module)
    if links is None or any(isinstance(one, nn.BatchNorm1d | nn.LayerNorm) for one in module.modules()):
        return None
    linears = [place for place, one in enumerate(links) if isinstance(one, nn.Linear)]
    made: list[Module] = []
    for place, link in enumerate(links):
        made.append(link.copy())
        if place in linears[:-1]:
            assert isinstance(link, nn.Linear)
            made.append(nn.BatchNorm1d(link.out_features))
    return nn.Sequential(*made)


def with_residuals(module: Module) -> Module | None:
    """A copy of a chain whose hidden layers of equal width are residual blocks; None where there are none."""
    links = flat_chain(module)
    if links is None:
        return None
    made: list[Module] = []
    block: list[Module] = []
    n_blocks = 0
    linears = [one for one in links if isinstance(one, nn.Linear)]
    for link in [*links, None]:
        if link is None or isinstance(link, nn.Linear):
            if block and _keeps_width(block) and block[0] is not linears[-1]:
                made.append(nn.Residual(nn.Sequential(*(one.copy() for one in block))))
                n_blocks += 1
            else:
                made += [one.copy() for one in block]
            block = []
        if link is not None:
            block.append(link)
    return nn.Sequential(*made) if n_blocks else None


def _keeps_width(block: list[Module]) -> bool:
    first = block[0]
    return isinstance(first, nn.Linear) and first.in_features == first.out_features


def without_last_activation(module: Module) -> Module | None:
    """A copy of a chain without what follows its last linear module; None if nothing does."""
    links = flat_chain(module)
    if links is None:
        return None
    last = max((k for k, one in enumerate(links) if isinstance(one, nn.Linear)), default=-1)
    if last in (-1, len(links) - 1):
        return None
    return nn.Sequential(*(one.copy() for one in links[: last + 1]))
