"""Changes of the description of a PyTorch module: what ``surgery`` is for this library's.

A module that only replaces others keeps their places, and the parameters their names, by which an optimizer's
groups are known.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.health.libraries import library_of, pytorch
from chainrule.health.surgery import RECTIFIERS
from chainrule.health.telemetry import TORCH_ACTIVATIONS, activation_of, is_a, is_layer, recorded

__all__ = [
    "copied",
    "initialized",
    "with_activations",
    "with_batch_norm",
    "with_residuals",
    "without_last_activation",
]


def copied(module: Any) -> Any:
    """The same module on the CPU, without the user's hooks."""
    library: Any = library_of(module)
    return library.plain_copy(module)


def initialized(module: Any, seed: int = 0, rows: np.ndarray | None = None) -> Any:
    """A copy with the weights of linear and convolutional layers drawn anew, normalisations at their start.

    Parameters
    ----------
    module : torch.nn.Module
    seed : int
    rows : ndarray
        Are sent through it to see in what order its layers come, and what follows each: He's rule (9) before
        rectifiers, Xavier's (8) elsewhere.
    """
    torch = pytorch()
    made, random = copied(module), np.random.default_rng([seed, 5])
    pairs = _layers(made, rows)
    with torch.no_grad():
        for number, (layer, activation) in enumerate(pairs):
            is_last = number == len(pairs) - 1
            weight = layer.weight
            n_in, n_out = weight[0].numel(), weight.numel() // weight.shape[1]
            variance = 2 / n_in if activation in RECTIFIERS and not is_last else 2 / (n_in + n_out)
            weight.copy_(torch.tensor(random.normal(0.0, np.sqrt(variance), tuple(weight.shape))))
            if getattr(layer, "bias", None) is not None:
                layer.bias.zero_()
        for one in made.modules():
            if is_a(one, "Norm") and hasattr(one, "reset_parameters"):
                one.reset_parameters()
    return made


def _layers(module: Any, rows: np.ndarray | None) -> list[tuple[Any, str | None]]:
    """The layers with the activation after each, in the order of a forward pass, or else of the modules."""
    torch, library = pytorch(), library_of(module)
    if rows is None:
        return [(one, None) for one in module.modules() if is_layer(one)]
    was_training = module.training
    with library.session(record=False), recorded(module) as recording, np.errstate(all="ignore"):
        module.eval()(torch.tensor(rows))
    module.train(was_training)
    found: dict[int, tuple[Any, str | None]] = {}
    for one, activation in recording.activations():
        found.setdefault(id(one), (one, activation))
    return list(found.values())


def _replace(module: Any, change: Callable[[Any], Any]) -> int:
    """Put other modules in the places of the leaves that ``change`` gives one for; how many."""
    n_changes = 0
    for name, child in list(module._modules.items()):
        if child is None:
            continue
        other = change(child)
        if other is not None:
            module._modules[name] = other
            n_changes += 1
        else:
            n_changes += _replace(child, change)
    return n_changes


def with_activations(module: Any, name: str) -> Any:
    """A copy with another activation in the hidden layers; None where its activations are no modules.

    In a chain one is put between linear modules without.
    """
    made = copied(module)
    n_put = _put_between(made, name)
    last = _last_activation(made)

    def other(one: Any) -> Any:
        current = activation_of(one)
        is_one = current not in (None, "identity", name) and one is not last
        return _activation(name) if is_one else None

    return made if _replace(made, other) + n_put else None


def _activation(name: str) -> Any:
    kinds = {record: kind for kind, record in TORCH_ACTIVATIONS.items()}
    return getattr(pytorch().nn, kinds[name])()


def _chain(module: Any) -> list[tuple[Any, str, Any]] | None:
    """The links of a chain, (chain within it, name, module), in their order; None of what is no chain."""
    is_chain = library_of(module).is_chain
    if not is_chain(module):
        return None
    links: list[tuple[Any, str, Any]] = []
    for name, child in module.named_children():
        links += (_chain(child) if is_chain(child) else None) or [(module, name, child)]
    return links


def _last_activation(module: Any) -> Any:
    """The activation after the last layer of a chain, if there is one."""
    links = _chain(module) or []
    places = [place for place, (_, _, one) in enumerate(links) if is_layer(one)]
    after = links[places[-1] + 1 :] if places else []
    return next((one for _, _, one in after if activation_of(one)), None)


def _insert(link: tuple[Any, str, Any], name: str, module: Any) -> None:
    """Put a module behind a link of a chain; the names of the others stay."""
    chain, before, _ = link
    for key in list(chain._modules):
        chain._modules[key] = chain._modules.pop(key)
        if key == before:
            chain._modules[f"{before}_{name}"] = module


def _put_between(module: Any, activation: str) -> int:
    """Put an activation behind each hidden layer of a chain that has none; how many."""
    links = _chain(module) or []
    places = [place for place, (_, _, one) in enumerate(links) if is_layer(one)]
    n_put = 0
    for place, following in pairwise(places):
        if not any(_is_active(one) for _, _, one in links[place + 1 : following]):
            _insert(links[place], activation, _activation(activation))
            n_put += 1
    return n_put


def _is_active(module: Any) -> bool:
    name = activation_of(module)
    return name is not None and name != "identity"


def with_batch_norm(module: Any) -> Any:
    """A copy of a chain with batch normalisation after each hidden layer; None if it has some."""
    if any(is_a(one, "Norm") for one in module.modules()):
        return None
    made = copied(module)
    links = [link for link in _chain(made) or [] if is_layer(link[2])]
    for link in links[:-1]:
        weight = link[2].weight
        # By channels of a sequence, an image or a volume: 1d, 1d, 2d, 3d have weights of 2 to 5 axes.
        kind = getattr(pytorch().nn, f"BatchNorm{max(1, weight.ndim - 2)}d")
        _insert(link, "batch_norm", kind(len(weight)).to(weight.dtype))
    return made if len(links) > 1 else None


def with_residuals(module: Any) -> Any:
    """A copy of a chain whose linear layers of equal width, with what follows, are h + F(h), or None."""
    from chainrule.exports.torch_modules import residual_class

    torch, made = pytorch(), copied(module)
    if not library_of(made).is_chain(made):
        return None
    blocks: list[list[Any]] = [[]]
    links = [one for _, _, one in _chain(made) or []]
    for link in links:
        if is_layer(link) and blocks[-1]:
            blocks.append([])
        blocks[-1].append(link)
    n_blocks, parts = 0, []
    for block in blocks[:-1]:
        if isinstance(block[0], torch.nn.Linear) and block[0].in_features == block[0].out_features:
            parts.append(residual_class()(torch.nn.Sequential(*block)))
            n_blocks += 1
        else:
            parts += block
    return torch.nn.Sequential(*parts, *blocks[-1]) if n_blocks else None


def without_last_activation(module: Any) -> Any:
    """A copy of a chain without the activations behind its last layer, softmax too; None without any."""
    torch, made = pytorch(), copied(module)
    links = _chain(made) or []
    places = [place for place, (_, _, one) in enumerate(links) if is_layer(one)]
    behind = links[places[-1] + 1 :] if places else []
    found = [link for link in behind if type(link[2]).__module__ == "torch.nn.modules.activation"]
    for chain, name, _ in found:
        chain._modules[name] = torch.nn.Identity()
    return made if found else None
