"""exp, tanh and the like, written so that a loop over them becomes vector code.

The C library's functions are calls: a loop around one stays scalar, at 3 to 10 ns a number. These are
polynomials in straight-line code without branches, which LLVM vectorises: 0.2 to 1 ns. Each comes in single
and double precision, accurate to a few units in the last place (the tests say how many), keeps NaN, and
gives infinities and zeros at the extremes.

``math_for(dtype)`` is a stand-in for the module ``math`` in the functions that ``_jit.compilable`` compiles.

Sources: Cephes (Moshier 1989) for exp in single precision, the Taylor series on the reduced interval for exp
in double; fdlibm (Sun 1993) for log; Numerical Recipes, third edition, section 6.2.2, for erfc.
"""

import math
import types as python_types
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._intrinsics import bits_of, chebyshev, fused, nearest, real_of
from chainrule.engine._jit import embedded, inlined

__all__ = ["math_for"]

# The coefficients of erfc(x) = t exp(-x² + P(t)), t = 2 / (2 + x), as a Chebyshev series in t.
_ERFC = (
    -1.3026537197817094, 6.4196979235649026e-1, 1.9476473204185836e-2, -9.561514786808631e-3,
    -9.46595344482036e-4, 3.66839497852761e-4, 4.2523324806907e-5, -2.0278578112534e-5, -1.624290004647e-6,
    1.303655835580e-6, 1.5626441722e-8, -8.5238095915e-8, 6.529054439e-9, 5.059343495e-9, -9.91364156e-10,
    -2.27365122e-10, 9.6467911e-11, 2.394038e-12, -6.886027e-12, 8.94487e-13, 3.13092e-13, -1.12708e-13,
    3.81e-16, 7.106e-15, -1.523e-15, -9.4e-17, 1.21e-16, -2.8e-17,
)  # fmt: skip


class _Precision:
    """The constants of one precision."""

    def __init__(self, dtype: Any) -> None:
        self.real = np.dtype(dtype).type
        single = self.real is np.float32
        self.integer = np.int32 if single else np.int64
        self.mantissa_bits = self.integer(23 if single else 52)
        self.exponent_bias = self.integer(127 if single else 1023)
        # Beyond these e^x is 0 or infinity.
        self.smallest = self.real(-103.97 if single else -745.2)
        self.largest = self.real(88.73 if single else 709.79)
        # ln 2 in two parts: n times the first is exact for every n that occurs.
        self.ln2_high = self.real(0.693145751953125 if single else 6.93147180369123816490e-01)
        self.ln2_low = self.real(1.42860682030941723212e-6 if single else 1.90821492927058770002e-10)
        # e^r - 1 - r = r² P(r) on |r| <= ln 2 / 2.
        self.exp_terms = tuple(
            self.real(c)
            for c in (
                (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
                if single
                else tuple(1.0 / math.factorial(k) for k in range(14, 1, -1))
            )
        )
        # log(1 + f) = f - f²/2 + f (…) with s = f / (2 + f): fdlibm's series in s².
        self.log_terms = tuple(
            self.real(c)
            for c in (
                1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                6.666666666666735130e-01,
            )
        )  # fmt: skip
        self.erfc_terms = tuple(self.real(c) for c in (_ERFC[:12] if single else _ERFC)[:0:-1])
        self.erfc_first = self.real(_ERFC[0])


@cache
def math_for(dtype: Any) -> python_types.ModuleType:
    """A module with ``exp``, ``expm1``, ``log``, ``log1p``, ``tanh``, ``erfc`` and ``sqrt`` for one dtype."""
    p = _Precision(dtype)
    real = p.real
    zero, half, one, two = real(0), real(0.5), real(1), real(2)
    infinity, not_a_number = real(math.inf), real(math.nan)
    inverse_ln2, square_root_half = real(1 / math.log(2)), real(math.sqrt(0.5))
    root_two_less_one, less_root_half = real(math.sqrt(2) - 1), real(1 - math.sqrt(0.5))
    mantissa_bits, bias = p.mantissa_bits, p.exponent_bias
    smallest, largest, ln2_high, ln2_low = p.smallest, p.largest, p.ln2_high, p.ln2_low
    exp_terms, log_terms, erfc_first = p.exp_terms, p.log_terms, p.erfc_first
    clenshaw = chebyshev(p.erfc_terms)
    integer_one = p.integer(1)
    mantissa_mask = p.integer((1 << int(mantissa_bits)) - 1)
    half_exponent = (bias - integer_one) << mantissa_bits

    @inlined
    def polynomial(x, terms):
        result = terms[0]
        for k in range(1, len(terms)):
            result = fused(result, x, terms[k])
        return result

    @inlined
    def power_of_two(n):
        return real_of((n + bias) << mantissa_bits, zero)

    @inlined
    def reduced(x):
        """n and e^r - 1 for x = n ln 2 + r, |r| <= ln 2 / 2; x within the range of exponents."""
        n = nearest(x * inverse_ln2)
        r = fused(n, -ln2_high, x)
        r = fused(n, -ln2_low, r)
        return n, fused(polynomial(r, exp_terms), r * r, r)

    @inlined
    def clamped(x):
        # Comparisons with NaN are false, so that NaN passes; min and max would drop it.
        x = largest if x > largest else x
        return smallest if x < smallest else x

    @inlined
    def scaled(x, n):
        """x 2ⁿ, in two factors: for the largest and the denormal results one alone is out of range."""
        whole = type(bias)(n)
        first = whole >> integer_one
        return x * power_of_two(first) * power_of_two(whole - first)

    @embedded
    def exp(x):
        n, e = reduced(clamped(x))
        result = scaled(e + one, n)
        result = infinity if x > largest else result
        return zero if x < smallest else result

    @embedded
    def expm1(x):
        n, e = reduced(clamped(x))
        whole = type(bias)(n)
        first = whole >> integer_one
        high, low = power_of_two(first), power_of_two(whole - first)
        scale = high * low
        result = fused(e, scale, scale - one)
        return infinity if x > largest else result

    @inlined
    def log_series(f, k):
        """k ln 2 + log(1 + f) for √½ <= 1 + f <= √2."""
        s = f / (two + f)
        z = s * s
        series = z * polynomial(z, log_terms)
        square = half * f * f
        return k * ln2_high - ((square - (s * (square + series) + k * ln2_low)) - f)

    @inlined
    def log_of_normal(x):
        """log x for positive, normal x."""
        bits = bits_of(x)
        n = (bits >> mantissa_bits) - bias + integer_one
        fraction = real_of((bits & mantissa_mask) | half_exponent, zero)  # in [1/2, 1)
        small = fraction < square_root_half
        f = (fraction + fraction if small else fraction) - one
        return log_series(f, type(zero)(n - integer_one if small else n))

    @embedded
    def log(x):
        result = log_of_normal(x)
        result = infinity if x == infinity else result
        result = -infinity if x == zero else result
        return result if x >= zero else not_a_number

    @embedded
    def log1p(x):
        u = one + x
        # For small x the series takes x itself: what rounding 1 + x loses would be all that matters.
        near = (x < root_two_less_one) and (x > -less_root_half)
        result = log_series(x if near else zero, zero) if near else log_of_normal(u)
        result = infinity if x == infinity else result
        result = -infinity if u == zero else result
        return result if u >= zero else not_a_number

    @embedded
    def tanh(x):
        size = abs(x)
        # tanh is 1 in either precision beyond 20; expm1 keeps its relative accuracy near zero.
        e = expm1(two * (real(20.0) if size > real(20.0) else size))
        return math.copysign(e / (e + two), x)

    @embedded
    def erfc(x):
        size = real(30.0) if abs(x) > real(30.0) else abs(x)
        t = two / (two + size)
        y = two * (t + t) - two
        d, before = clenshaw(y)
        # e^(-x²) with the rounding error of x² taken out, or the tail would lose half its digits.
        square = size * size
        rest = fused(half, fused(y, d, erfc_first), -before) - fused(size, size, -square)
        n, e = reduced(clamped(-square))
        n_rest, e_rest = reduced(rest)
        result = scaled(t * (e + one) * (e_rest + one), n + n_rest)
        return result if x >= zero else two - result

    @embedded
    def sqrt(x):
        return math.sqrt(x)

    module = python_types.ModuleType(f"chainrule_math_{np.dtype(dtype).name}")
    functions: dict[str, Any] = {
        "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh, "erfc": erfc, "sqrt": sqrt
    }  # fmt: skip
    for name, function in functions.items():
        setattr(module, name, function)
    return module
