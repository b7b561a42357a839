"""How each activation is written in NumPy: a closed table, with the helper functions that some need."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.functions.activations import SELU_ALPHA, SELU_SCALE

__all__ = ["EXPRESSIONS", "HELPERS", "Expression"]


@dataclass(frozen=True)
class Expression:
    """An activation as text: ``{z}`` stands for its argument and ``{alpha}`` for its parameter.

    Attributes
    ----------
    text : str
        What stands to the right of ``h =``.
    helpers : tuple of str
        Keys of ``HELPERS``: the functions that ``text`` calls, each after those that it calls itself.
    """

    text: str
    helpers: tuple[str, ...] = ()


HELPERS = {
    "sigmoid": '''
def sigmoid(z):
    """1 / (1 + exp(-z)), written so that nothing overflows."""
    decay = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, decay) / (1 + decay)
''',
    "softplus": '''
def softplus(z):
    """log(1 + exp(z)), written so that nothing overflows."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
''',
    "elu": '''
def elu(z, alpha):
    """z if z > 0 else alpha (exp(z) - 1)."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
''',
    "erfc": '''
def erfc(z):
    """The complementary error function, number by number: NumPy has none of its own."""
    return np.vectorize(math.erfc, otypes=[z.dtype])(z)
''',
    "softmax": '''
def softmax(z):
    """exp(z) / sum(exp(z)) for each row, written so that nothing overflows."""
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
''',
    "text": '''
def text(value):
    """What a category is called: None is a gap, and 7.0 the same as 7."""
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
''',
    "one_hot": '''
def one_hot(values, categories, others_share):
    """A column for each category, 1 where a value is that one; perhaps one more for all others."""
    places = {category: place for place, category in enumerate(categories)}
    found = [places.get(text(value), len(categories)) for value in values]
    return np.eye(len(categories) + 1)[found, : len(categories) + others_share]
''',
}

EXPRESSIONS = {
    "identity": Expression("{z}"),
    "sigmoid": Expression("sigmoid({z})", ("sigmoid",)),
    "tanh": Expression("np.tanh({z})"),
    "relu": Expression("np.maximum({z}, 0)"),
    "leaky_relu": Expression("np.where({z} > 0, {z}, {alpha} * {z})"),
    "elu": Expression("elu({z}, {alpha})", ("elu",)),
    "selu": Expression(f"{SELU_SCALE!r} * elu({{z}}, {SELU_ALPHA!r})", ("elu",)),
    "softplus": Expression("softplus({z})", ("softplus",)),
    # Half of erfc(−z/√2) is Φ(z), and keeps its digits where Φ is small.
    "gelu": Expression("0.5 * {z} * erfc(-{z} / math.sqrt(2))", ("erfc",)),
    "silu": Expression("{z} * sigmoid({z})", ("sigmoid",)),
    "mish": Expression("{z} * np.tanh(softplus({z}))", ("softplus",)),
}
