"""Operations entry by entry. Broadcasting is undone by the walk (``graph.sum_to_shape``), not here."""

import math

import numpy as np

from chainrule.functions import special
from chainrule.tape.primitive import primitive

__all__ = ["astype", "clip", "copy", "where"]

LOG_2, LOG_10 = math.log(2.0), math.log(10.0)
INVERSE_ROOT_TWO_PI = 1 / math.sqrt(2 * math.pi)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)

# -- arithmetic ------------------------------------------------------------------------------------

add = primitive("add", np.add, lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: g, formula="x + y")
subtract = primitive(
    "subtract", np.subtract, lambda g, _out, _x, _y: g, lambda g, _out, _x, _y: -g, formula="x - y"
)
multiply = primitive(
    "multiply", np.multiply, lambda g, _out, _x, y: g * y, lambda g, _out, x, _y: g * x, formula="x y"
)
divide = primitive(
    "divide", np.divide,
    lambda g, _out, _x, y: g / y,
    lambda g, _out, x, y: -g * ((x / y) / y),
    formula="x / y",
)  # fmt: skip


def _power_by_base(g, _out, x, y):
    if isinstance(y, int | float):
        return g * (y * x ** (y - 1)) if y else 0 * g
    # x^(y-1) has no value at 0 for y = 0, where the derivative y x^(y-1) is 0.
    return g * np.where(y == 0, 0.0, y * np.power(x, np.where(y == 0, 1.0, y - 1)))


def _power_by_exponent(g, out, x, y):
    # 0^y is constant in y > 0, though log 0 has no value.
    vanishes = (x == 0) & (y >= 0)
    return g * np.where(vanishes, 0.0, out * np.log(np.where(vanishes, 1.0, x)))


power = primitive("power", np.power, _power_by_base, _power_by_exponent, formula="x^y")
float_power = primitive("float_power", np.float_power, _power_by_base, _power_by_exponent, formula="x^y")
negative = primitive("negative", np.negative, lambda g, _out, _x: -g, formula="-x")
positive = primitive("positive", np.positive, lambda g, _out, _x: g, formula="x")
reciprocal = primitive("reciprocal", np.reciprocal, lambda g, out, _x: -g * (out * out), formula="1 / x")
square = primitive("square", np.square, lambda g, _out, x: 2 * g * x, formula="x^2")
absolute = primitive("absolute", np.absolute, lambda g, _out, x: g * np.sign(x), formula="|x|")
fabs = primitive("fabs", np.fabs, lambda g, _out, x: g * np.sign(x), formula="|x|")
remainder = primitive(
    "remainder", np.remainder,
    lambda g, _out, _x, _y: g,
    lambda g, _out, x, y: -g * np.floor(x / y),
    formula="x - y floor(x / y)",
)  # fmt: skip
fmod = primitive(
    "fmod", np.fmod, lambda g, _out, _x, _y: g, lambda g, _out, x, y: -g * np.trunc(x / y),
    formula="x - y trunc(x / y)",
)  # fmt: skip

# -- powers, exponentials, logarithms --------------------------------------------------------------

exp = primitive("exp", np.exp, lambda g, out, _x: g * out, formula="e^x")
exp2 = primitive("exp2", np.exp2, lambda g, out, _x: LOG_2 * g * out, formula="2^x")
expm1 = primitive("expm1", np.expm1, lambda g, out, _x: g * (out + 1), formula="e^x - 1")
log = primitive("log", np.log, lambda g, _out, x: g / x, formula="log x")
log2 = primitive("log2", np.log2, lambda g, _out, x: g / (LOG_2 * x), formula="log x / log 2")
log10 = primitive("log10", np.log10, lambda g, _out, x: g / (LOG_10 * x), formula="log x / log 10")
log1p = primitive("log1p", np.log1p, lambda g, _out, x: g / (1 + x), formula="log(1 + x)")
sqrt = primitive("sqrt", np.sqrt, lambda g, out, _x: g / (2 * out), formula="x^(1/2)")
cbrt = primitive("cbrt", np.cbrt, lambda g, out, _x: g / (3 * out * out), formula="x^(1/3)")
logaddexp = primitive(
    "logaddexp", np.logaddexp,
    lambda g, _out, x, y: g * special.expit(x - y),
    lambda g, _out, x, y: g * special.expit(y - x),
    formula="log(e^x + e^y)",
)  # fmt: skip
xlogy = primitive(
    "xlogy", special.xlogy,
    lambda g, _out, x, y: g * special.xlogy(x != 0, y),
    lambda g, _out, x, y: g * x / y,
    formula="x log y, 0 where x = 0",
)  # fmt: skip

# -- trigonometric and hyperbolic ------------------------------------------------------------------

sin = primitive("sin", np.sin, lambda g, _out, x: g * np.cos(x), formula="sin x")
cos = primitive("cos", np.cos, lambda g, _out, x: -g * np.sin(x), formula="cos x")
tan = primitive("tan", np.tan, lambda g, out, _x: g * (1 + out * out), formula="tan x")
arcsin = primitive("arcsin", np.arcsin, lambda g, _out, x: g / np.sqrt(1 - x * x), formula="arcsin x")
arccos = primitive("arccos", np.arccos, lambda g, _out, x: -g / np.sqrt(1 - x * x), formula="arccos x")
arctan = primitive("arctan", np.arctan, lambda g, _out, x: g / (1 + x * x), formula="arctan x")
arctan2 = primitive(
    "arctan2", np.arctan2,
    lambda g, _out, x, y: g * y / (x * x + y * y),
    lambda g, _out, x, y: -g * x / (x * x + y * y),
    formula="the angle of (y, x)",
)  # fmt: skip
hypot = primitive(
    "hypot", np.hypot, lambda g, out, x, _y: g * x / out, lambda g, out, _x, y: g * y / out,
    formula="(x^2 + y^2)^(1/2)",
)  # fmt: skip
sinh = primitive("sinh", np.sinh, lambda g, _out, x: g * np.cosh(x), formula="sinh x")
cosh = primitive("cosh", np.cosh, lambda g, _out, x: g * np.sinh(x), formula="cosh x")
tanh = primitive("tanh", np.tanh, lambda g, out, _x: g * (1 - out * out), formula="tanh x")
arcsinh = primitive("arcsinh", np.arcsinh, lambda g, _out, x: g / np.sqrt(1 + x * x), formula="arsinh x")
arccosh = primitive("arccosh", np.arccosh, lambda g, _out, x: g / np.sqrt(x * x - 1), formula="arcosh x")
arctanh = primitive("arctanh", np.arctanh, lambda g, _out, x: g / (1 - x * x), formula="artanh x")

# -- special functions -----------------------------------------------------------------------------

expit = primitive("expit", special.expit, lambda g, out, _x: g * out * (1 - out), formula="1 / (1 + e^-x)")
logit = primitive("logit", special.logit, lambda g, _out, x: g / (x * (1 - x)), formula="log(x / (1 - x))")
log_expit = primitive(
    "log_expit", special.log_expit, lambda g, _out, x: g * special.expit(-x), formula="-log(1 + e^-x)"
)
ndtr = primitive(
    "ndtr", special.ndtr,
    lambda g, _out, x: g * (INVERSE_ROOT_TWO_PI * np.exp(-0.5 * np.clip(x, -1e4, 1e4) ** 2)),
    formula="Phi(x)",
)  # fmt: skip
erf = primitive(
    "erf", special.erf, lambda g, _out, x: g * (TWO_OVER_ROOT_PI * np.exp(-x * x)), formula="erf x"
)
erfc = primitive(
    "erfc", special.erfc, lambda g, _out, x: -g * (TWO_OVER_ROOT_PI * np.exp(-x * x)), formula="1 - erf x"
)

# -- choices ---------------------------------------------------------------------------------------


def _share_of_first(x, y):
    """1 where x is chosen, ½ where both are: PyTorch's subgradient at a tie."""
    return np.where(x == y, 0.5, (x > y).astype(np.float64))


maximum = primitive(
    "maximum", np.maximum,
    lambda g, _out, x, y: g * _share_of_first(x, y),
    lambda g, _out, x, y: g * _share_of_first(y, x),
    formula="max(x, y)",
)  # fmt: skip
minimum = primitive(
    "minimum", np.minimum,
    lambda g, _out, x, y: g * _share_of_first(y, x),
    lambda g, _out, x, y: g * _share_of_first(x, y),
    formula="min(x, y)",
)  # fmt: skip
where = primitive(
    "where", np.where,
    None,
    lambda g, _out, condition, _x, _y: np.where(condition, g, 0.0),
    lambda g, _out, condition, _x, _y: np.where(condition, 0.0, g),
    formula="x where the condition holds, y elsewhere",
)  # fmt: skip


def _clip(x, low, high):
    return np.clip(x, low, high)


def _not_below(x, low):
    return True if low is None else x >= low


def _not_above(x, high):
    return True if high is None else x <= high


clip = primitive(
    "clip", _clip,
    lambda g, _out, x, low, high: np.where(_not_below(x, low) & _not_above(x, high), g, 0.0),
    lambda g, _out, x, low, _high: np.where(x < low, g, 0.0),
    lambda g, _out, x, _low, high: np.where(x > high, g, 0.0),
    formula="min(max(x, low), high)",
)  # fmt: skip

# -- steps: their derivative is 0 wherever they have one ---------------------------------------------

for _name, _ufunc in (
    ("sign", np.sign), ("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("rint", np.rint),
):  # fmt: skip
    primitive(_name, _ufunc, lambda g, _out, _x: 0 * g, formula=f"{_name}(x)")

# -- what has no derivative: the results require no gradient -------------------------------------------

for _comparison in (
    np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite, np.isnan,
    np.isinf, np.signbit, np.floor_divide, np.logical_and, np.logical_or, np.logical_not, np.logical_xor,
    np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert,
):  # fmt: skip
    primitive(_comparison.__name__, _comparison, formula=f"{_comparison.__name__}, without a derivative")

# -- copies and conversions ------------------------------------------------------------------------


def _astype(x, *, dtype):
    return x.astype(dtype)


astype = primitive("astype", _astype, lambda g, _out, _x, dtype: g, formula="x in another precision")
copy = primitive("copy", np.copy, lambda g, _out, _x: g, formula="x")
primitive("contiguous", np.ascontiguousarray, lambda g, _out, _x: g, formula="x, its entries in order")
