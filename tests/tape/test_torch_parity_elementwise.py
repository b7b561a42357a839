"""Parity with PyTorch: operators and methods entry by entry, with broadcasting of random shapes."""

import operator

import numpy as np
import pytest
from tests.tape.parity import Programs, check

ELEMENTWISE = Programs()
_rng = np.random.default_rng(7)

UNARY = {
    "exp": "any", "log": "positive", "sqrt": "positive", "abs": "any", "square": "any", "expm1": "any",
    "log1p": "positive", "log2": "positive", "log10": "positive", "exp2": "any", "sin": "any", "cos": "any",
    "tan": "unit", "sinh": "any", "cosh": "any", "tanh": "any", "asin": "unit", "acos": "unit", "atan": "any",
    "asinh": "any", "acosh": "above one", "atanh": "unit", "neg": "any", "reciprocal": "positive", "sign":
    "any", "floor": "any", "ceil": "any", "trunc": "any", "erf": "any", "erfc": "any", "sigmoid": "any",
    "relu": "any", "clone": "any", "contiguous": "any", "double": "any",
}  # fmt: skip
UNARY_IN_PLACE = {
    "exp_": "any", "log_": "positive", "sqrt_": "positive", "neg_": "any", "tanh_": "any", "sigmoid_": "any",
    "abs_": "any", "relu_": "any", "zero_": "any",
}  # fmt: skip
BINARY = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "pow": operator.pow, "mod": operator.mod,
}  # fmt: skip
BINARY_IN_PLACE = {
    "iadd": operator.iadd, "isub": operator.isub, "imul": operator.imul, "itruediv": operator.itruediv,
    "ipow": operator.ipow,
}  # fmt: skip
COMPARISONS = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne":
    operator.ne,
}  # fmt: skip


def random_shape(rng):
    return tuple(int(n) for n in rng.integers(1, 5, rng.integers(0, 4)))


def broadcast_pair(rng):
    """Two shapes that broadcast: axes of length 1, and axes missing in front."""
    full = tuple(int(n) for n in rng.integers(2, 5, rng.integers(1, 4)))

    def thinned():
        shape = tuple(1 if rng.random() < 0.4 else n for n in full)
        return shape[rng.integers(0, len(full) + 1) :] if rng.random() < 0.5 else shape

    return thinned(), thinned()


for _name, _domain in UNARY.items():
    ELEMENTWISE.add(_name, lambda xp, x, _n=_name: getattr(x, _n)(), random_shape(_rng), domain=_domain)
    if _domain == "any":
        continue
    ELEMENTWISE.add(
        f"{_name} of a transposed square", lambda xp, x, _n=_name: getattr((x * x).sqrt().T, _n)(), (3, 2),
        domain=_domain,
    )  # fmt: skip
for _name, _domain in UNARY_IN_PLACE.items():
    ELEMENTWISE.add(
        f"{_name} in place",
        lambda xp, x, _n=_name: getattr(x * 1.5, _n)(),
        random_shape(_rng),
        domain=_domain,
    )
for _name, _operator in BINARY.items():
    for _number in range(3):
        _first, _second = broadcast_pair(_rng)
        ELEMENTWISE.add(
            f"{_name} of {_first} and {_second}, {_number}",
            lambda xp, x, y, _o=_operator, _n=_number: _o(x, y), _first, _second, domain="positive",
        )  # fmt: skip
    ELEMENTWISE.add(
        f"{_name} with a number",
        lambda xp, x, _o=_operator: _o(x, 2.5),
        random_shape(_rng),
        domain="positive",
    )
    if _name == "mod":  # of a number PyTorch has no derivative
        continue
    ELEMENTWISE.add(
        f"{_name} of a number", lambda xp, x, _o=_operator: _o(2.5, x), random_shape(_rng), domain="positive"
    )
for _name, _operator in BINARY_IN_PLACE.items():
    ELEMENTWISE.add(
        f"{_name} broadcasting",
        lambda xp, x, y, _o=_operator: _o(x + 1.0, y),
        (3, 4),
        (1, 4),
        domain="positive",
    )
    ELEMENTWISE.add(
        f"{_name} with a number", lambda xp, x, _o=_operator: _o(x * 2.0, 1.5), (2, 3), domain="positive"
    )
for _name, _operator in COMPARISONS.items():
    ELEMENTWISE.add(
        f"{_name} as a mask", lambda xp, x, y, _o=_operator: (_o(x, y).double() * x + _o(x, 0.0).double()),
        (3, 4), (4,),
    )  # fmt: skip
for _exponent in (0, 1, 2, 3, -1, 0.5, -1.5):
    ELEMENTWISE.add(
        f"power {_exponent}", lambda xp, x, _e=_exponent: x**_e, random_shape(_rng), domain="positive"
    )
for _low, _high in ((-0.5, 0.5), (None, 0.3), (-0.3, None)):
    ELEMENTWISE.add(
        f"clamp {_low} {_high}", lambda xp, x, _l=_low, _h=_high: x.clamp(min=_l, max=_h), random_shape(_rng)
    )


@ELEMENTWISE.loss((3, 4), (4,))
def where_broadcasting(xp, x, y):
    return xp.where(x > 0, x * 2, y)


@ELEMENTWISE.loss((3, 4), (3, 1))
def maximum_broadcasting(xp, x, y):
    return xp.maximum(x, y)


@ELEMENTWISE.loss((3, 4))
def minimum_at_ties(xp, x):
    return xp.minimum(x, x.detach() * 1.0)


@ELEMENTWISE.loss((3, 4))
def masked_fill(xp, x):
    return x.masked_fill(x > 0, -2.0)


@ELEMENTWISE.loss((3,))
def logic_of_masks(xp, x):
    mask = ((x > 0) & (x < 1)) | ((x < -1) ^ ~(x > 0.5))
    return x * mask.double()


@ELEMENTWISE.loss((2, 3))
def numbers_and_signs(xp, x):
    return -x + (+x) * 3 - abs(x) / 2 + 1


@ELEMENTWISE.loss((2, 3, 4), (4, 5))
def matmul_of_a_stack(xp, x, y):
    return x @ y


@ELEMENTWISE.loss((4, 1, 2, 3), (5, 3, 2))
def matmul_broadcasting_stacks(xp, x, y):
    return x.matmul(y)


@ELEMENTWISE.loss((3, 4), (4,))
def matmul_with_a_vector(xp, x, y):
    return x @ y


@ELEMENTWISE.loss((4,), (4, 3))
def matmul_of_a_vector(xp, x, y):
    return x @ y


@ELEMENTWISE.loss((4,), (4,))
def dot(xp, x, y):
    return x.dot(y)


@ELEMENTWISE.loss((3, 4), (4, 2))
def mm(xp, x, y):
    return x.mm(y)


@ELEMENTWISE.loss((2, 3, 4), (2, 4, 2))
def bmm(xp, x, y):
    return x.bmm(y)


@ELEMENTWISE.loss((2, 3), (3, 4), (4,))
def einsum_of_three(xp, x, y, z):
    return xp.einsum("ij,jk,k->ik", x, y, z)


@ELEMENTWISE.loss((3, 3))
def einsum_diagonal(xp, x):
    return xp.einsum("ii->i", x)


@ELEMENTWISE.loss((2, 3))
def float32_in_the_middle(xp, x):
    return (x.float() * 2).double() + x


@ELEMENTWISE.loss((2, 3))
def to_the_same_precision(xp, x):
    return x.to(xp.float64) * x


@ELEMENTWISE.loss((3,))
def integers_times_floats(xp, x):
    return x * xp.tensor(np.array([1, 2, 3]))


@ELEMENTWISE.loss((0, 3), (3,))
def no_entries(xp, x, y):
    return x * y + 1


@ELEMENTWISE.loss((3,), raises=True)
def comparisons_have_no_gradient(xp, x):
    (x > 0).double().sum().backward()


@ELEMENTWISE.cases()
def test_elementwise(program):
    check(program)


def test_the_harness_notices_a_difference():
    wrong = Programs()
    wrong.add(
        "differs", lambda xp, x: x * (1.0 if hasattr(xp.tensor([1.0]), "storage") else 1.0 + 1e-9), (3,)
    )
    with pytest.raises(AssertionError):
        check(wrong["differs"])
