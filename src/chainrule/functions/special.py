"""SciPy's special functions as the ufuncs they are.

With ``SCIPY_ARRAY_API=1`` in the environment SciPy wraps them for other array libraries, and what it wraps no
longer takes the tensors of ``chainrule.tape``.
"""

import inspect

from scipy import special

__all__ = ["erf", "erfc", "expit", "log_expit", "logit", "ndtr", "xlogy"]

erf, erfc, expit, log_expit, logit, ndtr, xlogy = (
    inspect.unwrap(getattr(special, name))
    for name in ("erf", "erfc", "expit", "log_expit", "logit", "ndtr", "xlogy")
)
