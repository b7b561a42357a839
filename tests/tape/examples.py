"""Inputs and options for every primitive of the table: what the tests of both run on."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special

from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.tape.primitives import (
    ACTIVATION_PRIMITIVES,
    LOSS_PRIMITIVES,
    PRIMITIVES,
    TOTAL_LOSS_PRIMITIVES,
)

DOMAINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "any": lambda x: x,
    "positive": lambda x: np.abs(x) + 0.5,
    "above one": lambda x: np.abs(x) + 1.5,
    "unit": lambda x: np.tanh(x) * 0.9,
    "probability": lambda x: 0.05 + 0.9 / (1 + np.exp(-x)),
}


@dataclass(frozen=True)
class Example:
    """One call of a primitive, and the same call in plain NumPy."""

    inputs: tuple
    options: dict = field(default_factory=dict)
    reference: Callable[..., Any] | None = None


def numbers(shape: tuple, domain: str = "any", seed: int = 0) -> np.ndarray:
    """float64 numbers without ties."""
    return DOMAINS[domain](np.random.default_rng(seed).normal(size=shape))


X, Y = numbers((3, 4), seed=1), numbers((3, 4), seed=2)
CUBE = numbers((2, 3, 4), seed=3)

# Elementwise, by the domain of each input.
UNARY = {
    "any": "negative positive square absolute fabs exp exp2 expm1 sin cos arctan sinh cosh tanh arcsinh cbrt "
    "expit log_expit ndtr erf erfc sign floor ceil trunc rint copy contiguous",
    "positive": "log log2 log10 log1p sqrt reciprocal",
    "unit": "arcsin arccos arctanh tan",
    "above one": "arccosh",
    "probability": "logit",
}
BINARY = {
    ("any", "any"): "add subtract multiply logaddexp arctan2 hypot maximum minimum",
    ("any", "positive"): "divide remainder fmod",
    ("positive", "any"): "power float_power",
    ("positive", "positive"): "xlogy",
}
UNARY_DOMAINS = {name: domain for domain, names in UNARY.items() for name in names.split()}
BINARY_DOMAINS = {name: domains for domains, names in BINARY.items() for name in names.split()}


def plain(name: str) -> Callable:
    """NumPy's or SciPy's function of this name."""
    return getattr(np, {"contiguous": "ascontiguousarray"}.get(name, name), None) or getattr(special, name)


EXAMPLES: dict[str, list[Example]] = {
    name: [Example((numbers((3, 4), domain, 4),), {}, plain(name))] for name, domain in UNARY_DOMAINS.items()
}
EXAMPLES |= {
    name: [
        Example((numbers((3, 4), first, 5), numbers((3, 4), second, 6)), {}, plain(name)),
        Example((numbers((3, 1), first, 7), numbers((4,), second, 8)), {}, plain(name)),
    ]
    for name, (first, second) in BINARY_DOMAINS.items()
}
EXAMPLES["power"] += [
    Example((X, 3), {}, np.power),
    Example((X, 2.0), {}, np.power),
    Example((2.0, X), {}, np.power),
]

MASK = X > 0.2
EXAMPLES["where"] = [
    Example((MASK, X, Y), {}, np.where),
    Example((MASK, X, numbers((4,), seed=9)), {}, np.where),
]
EXAMPLES["clip"] = [
    Example((X, np.array(-0.5), np.array(0.6)), {}, np.clip),
    Example((X, -0.5, None), {}, np.clip),
    Example((X, None, np.full(4, 0.3)), {}, np.clip),
]
EXAMPLES["astype"] = [Example((X,), {"dtype": np.dtype(np.float64)}, lambda x, dtype: x.astype(dtype))]

# Shapes and parts.
EXAMPLES["reshape"] = [
    Example((X,), {"shape": (2, 6)}, np.reshape),
    Example((X,), {"shape": (-1,)}, np.reshape),
    Example((X.T,), {"shape": (3, 4)}, np.reshape),
]
EXAMPLES["transpose"] = [
    Example((X,), {}, np.transpose),
    Example((CUBE,), {"axes": (1, 2, 0)}, np.transpose),
    Example((CUBE,), {"axes": (-1, 0, -2)}, np.transpose),
]
EXAMPLES["broadcast_to"] = [
    Example((numbers((3, 1)),), {"shape": (3, 4)}, np.broadcast_to),
    Example((numbers((4,)),), {"shape": (2, 3, 4)}, np.broadcast_to),
]
EXAMPLES["flip"] = [Example((CUBE,), {"axis": axis}, np.flip) for axis in (None, 0, -1, (0, 2))]
TWICE = np.array([0, 2, 2, 1])
INDICES: list[Any] = [
    1,
    (slice(None), 2),
    (..., None, slice(None, None, -2)),
    TWICE,
    MASK,
    (TWICE, np.array([0, 3, 3, 1])),
    (1, 2),
    (slice(0, 2), TWICE),
]


def added_at(x: np.ndarray, index: Any, shape: tuple) -> np.ndarray:
    out = np.zeros(shape)
    np.add.at(out, index, x)
    return out


def put_at(x: np.ndarray, values: Any, index: Any) -> np.ndarray:
    out = x.copy()
    out[index] = values
    return out


EXAMPLES["getitem"] = [Example((X,), {"index": i}, lambda x, index: x[index]) for i in INDICES]
EXAMPLES["scatter"] = [
    Example((numbers(X[i].shape, seed=10),), {"index": i, "shape": X.shape}, added_at) for i in INDICES
]
EXAMPLES["put"] = [
    Example((X, numbers(X[i].shape, seed=11)), {"index": i}, put_at) for i in (1, (slice(None), 2), MASK)
] + [Example((X, numbers((4,), seed=11)), {"index": slice(0, 2)}, put_at)]
ALONG = np.array([[0, 1, 1], [2, 2, 0]])
EXAMPLES["take_along_axis"] = [
    Example(
        (numbers((2, 4)),),
        {"index": ALONG, "axis": axis},
        lambda x, *, index, axis: np.take_along_axis(x, index, axis),
    )
    for axis in (1, -1)
]


def added_along(x: np.ndarray, index: np.ndarray, axis: int, shape: tuple) -> np.ndarray:
    out = np.zeros(shape)
    for row, column in np.ndindex(index.shape):
        out[row, index[row, column]] += x[row, column]
    return out


EXAMPLES["add_along_axis"] = [
    Example((numbers((2, 3)),), {"index": ALONG, "axis": 1, "shape": (2, 4)}, added_along)
]


def column(x: np.ndarray) -> np.ndarray:
    return x[:, 1]


def column_set(x: np.ndarray, part: np.ndarray, view: Callable) -> np.ndarray:
    out = x.copy()
    out[:, 1] = part
    return out


def column_only(part: np.ndarray, view: Callable, shape: tuple) -> np.ndarray:
    return column_set(np.zeros(shape), part, view)


EXAMPLES["part_of"] = [Example((X,), {"view": column}, lambda x, view: x[:, 1])]
EXAMPLES["with_part"] = [Example((X, numbers((3,), seed=12)), {"view": column}, column_set)]
EXAMPLES["zeros_with_part"] = [Example((numbers((3,)),), {"view": column, "shape": (3, 4)}, column_only)]

# Products.
EXAMPLES["matmul"] = [
    Example((numbers(a, seed=13), numbers(b, seed=14)), {}, np.matmul)
    for a, b in (
        ((3, 4), (4, 2)),
        ((3, 3), (3, 3)),
        ((4,), (4, 2)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4, 2)),
        ((3, 4), (2, 4, 2)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (4,)),
    )
]
EXAMPLES["linear"] = [
    Example(
        (numbers(h, seed=15), numbers((2, 4), seed=16), numbers((2,), seed=17)),
        {},
        lambda h, w, b: h @ w.T + b,
    )
    for h in ((3, 4), (2, 3, 4))
] + [Example((X, numbers((2, 4), seed=16)), {}, lambda h, w: h @ w.T)]

# Reductions.
AXES: list[dict] = [
    {},
    {"axis": 0},
    {"axis": -1, "keepdims": True},
    {"axis": (0, 2)},
    {"axis": (-1, -3), "keepdims": True},
    {"keepdims": True},
]


def reduced(function: Callable, **more: Any) -> list[Example]:
    return [Example((CUBE,), options | more, function) for options in AXES]


def norm_of(x: np.ndarray, order: float = 2.0, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    if order == np.inf:
        return np.abs(x).max(axis=axis, keepdims=keepdims)
    return (np.abs(x) ** order).sum(axis=axis, keepdims=keepdims) ** (1 / order)


for _name in ("sum", "mean", "max", "min"):
    EXAMPLES[_name] = reduced(plain(_name))
# Of sizes about 1, or the product of all is too small to be told from 0; one entry is 0.
SIZES = np.sign(CUBE) * (0.7 + 0.5 * np.abs(np.tanh(CUBE)))
EXAMPLES["prod"] = [Example((SIZES,), options, np.prod) for options in AXES]
EXAMPLES["prod"].append(Example((np.where(SIZES[0, 1, 2] == SIZES, 0.0, SIZES),), {"axis": 1}, np.prod))
EXAMPLES["logsumexp"] = reduced(special.logsumexp)
EXAMPLES["variance"] = [
    one
    for ddof in (0, 1)
    for one in reduced(
        lambda x, correction, **options: np.var(x, ddof=correction, **options), correction=ddof
    )
]
EXAMPLES["norm"] = [one for order in (1.0, 2.0, 3.0, np.inf) for one in reduced(norm_of, order=order)]
EXAMPLES["softmax"] = [Example((CUBE,), {"axis": axis}, special.softmax) for axis in (-1, 0, 1)]
EXAMPLES["log_softmax"] = [Example((CUBE,), {"axis": axis}, special.log_softmax) for axis in (-1, 0, 1)]
EXAMPLES["cumsum"] = [Example((CUBE,), {"axis": axis}, np.cumsum) for axis in (-1, 0, 1)]

# Without a derivative.
for _name in (
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "floor_divide",
    "logical_and",
    "logical_or",
    "logical_xor",
):
    EXAMPLES[_name] = [Example((X, Y), {}, plain(_name))]
for _name in (
    "isfinite",
    "isnan",
    "isinf",
    "signbit",
    "logical_not",
    "argmax",
    "argmin",
    "argsort",
    "any",
    "all",
    "count_nonzero",
):
    EXAMPLES[_name] = [Example((X,), {}, plain(_name))]
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    EXAMPLES[_name] = [Example((TWICE, np.array([3, 1, 2, 1])), {}, plain(_name))]
EXAMPLES["invert"] = [Example((MASK,), {}, np.invert)]

# Records.
RECORDS: dict[str, tuple[Any, list[Example]]] = {}
for _name, _entry in ACTIVATION_PRIMITIVES.items():
    _alphas = {ACTIVATIONS[_name].default_alpha, 0.3} if ACTIVATIONS[_name].default_alpha else {0.0}
    RECORDS[_entry.name] = (
        _entry,
        [
            Example((2 * X,), {"alpha": alpha}, lambda z, alpha, _r=ACTIVATIONS[_name]: _r.value(z, alpha))
            for alpha in sorted(_alphas)
        ],
    )
TARGETS: dict[str, list[np.ndarray]] = {
    "softmax_cross_entropy": [np.array([0, 3, 1]), special.softmax(Y, axis=1)],
    "binary_cross_entropy": [special.expit(Y), (Y > 0).astype(float)],
    "poisson": [np.round(np.abs(3 * Y))],
}


def _losses(z, y, setting, value):
    return value(z, y, setting)


def _total_loss(z, y, setting, share, value):
    return sum(np.broadcast_to(share, len(z)) * value(z, y, setting))


for _name, _record in LOSSES.items():
    _targets, _setting = TARGETS.get(_name, [Y]), {"setting": _record.setting}
    _entry, _total = LOSS_PRIMITIVES[_name], TOTAL_LOSS_PRIMITIVES[_name]
    RECORDS[_entry.name] = (
        _entry,
        [Example((X, y), _setting, functools.partial(_losses, value=_record.value)) for y in _targets],
    )
    RECORDS[_total.name] = (
        _total,
        [
            Example((X, y), {**_setting, "share": share}, functools.partial(_total_loss, value=_record.value))
            for y in _targets
            for share in (0.25, np.array([0.5, 0.0, 2.0]))
        ],
    )


def all_entries() -> dict[str, tuple[Any, list[Example]]]:
    """Primitives of the table and of the records with their examples; none where one is missing."""
    return {name: (entry, EXAMPLES.get(name, [])) for name, entry in PRIMITIVES.items()} | RECORDS


def differentiable(entry: Any, example: Example) -> list[int]:
    """The inputs that have a derivative."""
    return [
        number
        for number, (x, vjp) in enumerate(zip(example.inputs, entry.vjps, strict=False))
        if vjp is not None and isinstance(x, np.ndarray) and x.dtype.kind == "f"
    ]
