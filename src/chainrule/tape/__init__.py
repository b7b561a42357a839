"""The tape: define-by-run differentiation of NumPy code, with PyTorch's semantics (section 7).

Operations on a ``Tensor`` that requires a gradient are recorded; ``backward`` walks the record back.

Examples
--------
>>> import numpy as np
>>> from chainrule import tape
>>> x = tape.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> y = (np.sin(x) * x).sum()
>>> y.backward()
>>> np.allclose(x.grad, np.sin(x.data) + x.data * np.cos(x.data))
True
"""

from chainrule.tape.creation import (
    arange,
    as_tensor,
    eye,
    from_numpy,
    full,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from chainrule.tape.differentiate import grad, hessian, hvp, jacobian, jvp, vjp
from chainrule.tape.gradcheck import GradcheckError, finite_differences, gradcheck, gradgradcheck
from chainrule.tape.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from chainrule.tape.primitive import PRIMITIVES, Primitive
from chainrule.tape.tensor import Parameter, Tensor

__all__ = [
    "PRIMITIVES",
    "GradcheckError",
    "Parameter",
    "Primitive",
    "Tensor",
    "arange",
    "as_tensor",
    "enable_grad",
    "eye",
    "finite_differences",
    "from_numpy",
    "full",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "linspace",
    "no_grad",
    "ones",
    "ones_like",
    "set_grad_enabled",
    "tensor",
    "vjp",
    "zeros",
    "zeros_like",
]
