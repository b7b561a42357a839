"""Activation layers, equation (2): one class for each record of ``chainrule.functions.ACTIVATIONS``."""

from typing import Any, ClassVar

from chainrule.functions.activations import get_activation
from chainrule.nn._checks import check_number, check_only
from chainrule.nn.builder import Builder
from chainrule.nn.module import Module
from chainrule.tape import Tensor
from chainrule.tape.primitives import ACTIVATION_PRIMITIVES

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "ActivationModule",
    "Identity",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "activation_module",
]


class ActivationModule(Module):
    """h = σ(z) element by element; a subclass names the record of σ.

    Attributes
    ----------
    record_name : str
        A key of ``chainrule.functions.ACTIVATIONS``.
    record_alpha : float
        The parameter that is passed to the record; 0 for a function without one.
    """

    record_name: ClassVar[str]

    @property
    def record_alpha(self) -> float:
        """The parameter that is passed to the record."""
        return 0.0

    def forward(self, x: Tensor) -> Tensor:
        """σ(x), of the shape of x."""
        h: Tensor = ACTIVATION_PRIMITIVES[self.record_name](x, alpha=self.record_alpha)
        return h

    def lower(self, build: Builder, source: int, path: str) -> int:
        """One activation of the plan."""
        return build.activation(source, path, self.record_name, self.record_alpha)

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        return input_width


class Identity(ActivationModule):
    """h = z.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.]])
    """

    record_name = "identity"


class Sigmoid(ActivationModule):
    """1 / (1 + e^(−z)): in (0, 1); its slope is at most 1/4, so it saturates and gradients vanish.

    Examples
    --------
    >>> import numpy as np
    >>> Sigmoid()(np.array([[0.0]]))
    array([[0.5]])
    """

    record_name = "sigmoid"


class Tanh(ActivationModule):
    """tanh z: zero-centred, saturates as well.

    Examples
    --------
    >>> import numpy as np
    >>> Tanh()(np.array([[0.0]]))
    array([[0.]])
    """

    record_name = "tanh"


class ReLU(ActivationModule):
    """max(0, z): slope exactly 1 where active; a unit that is never active is dead.

    Examples
    --------
    >>> import numpy as np
    >>> ReLU()(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    record_name = "relu"


class LeakyReLU(ActivationModule):
    """max(α z, z) for α < 1: does not die.

    Parameters
    ----------
    negative_slope : float, default=0.01
        α, the slope for z < 0.

    Examples
    --------
    >>> import numpy as np
    >>> LeakyReLU(0.1)(np.array([[-1.0, 2.0]]))
    array([[-0.1,  2. ]])
    """

    record_name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = check_number("negative_slope", negative_slope)

    @property
    def record_alpha(self) -> float:
        """``negative_slope``."""
        return float(self.negative_slope)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"negative_slope={self.negative_slope}"


class ELU(ActivationModule):
    """z for z > 0, α (e^z − 1) otherwise.

    Parameters
    ----------
    alpha : float, default=1.0
        α: the value for z → −∞ is −α.

    Examples
    --------
    >>> import numpy as np
    >>> ELU()(np.array([[-50.0, 2.0]]))
    array([[-1.,  2.]])
    """

    record_name = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = check_number("alpha", alpha)

    @property
    def record_alpha(self) -> float:
        """``alpha``."""
        return float(self.alpha)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"alpha={self.alpha}"


class SELU(ActivationModule):
    """The ELU scaled so that layer after layer keeps mean 0 and variance 1.

    Examples
    --------
    >>> import numpy as np
    >>> SELU()(np.array([[0.0, 1.0]])).round(4)
    array([[0.    , 1.0507]])
    """

    record_name = "selu"


class Softplus(ActivationModule):
    """log(1 + e^z), a smooth ReLU. Only PyTorch's default ``beta`` and ``threshold`` are supported.

    Examples
    --------
    >>> import numpy as np
    >>> Softplus()(np.array([[0.0]])).round(4)
    array([[0.6931]])
    """

    record_name = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        check_only("beta", beta, 1.0)
        check_only("threshold", threshold, 20.0)
        self.beta, self.threshold = beta, threshold

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"beta={self.beta}, threshold={self.threshold}"


class GELU(ActivationModule):
    """z Φ(z), the exact form; ``approximate="none"`` is the only one supported.

    Examples
    --------
    >>> import numpy as np
    >>> GELU()(np.array([[-1.0, 1.0]])).round(4)
    array([[-0.1587,  0.8413]])
    """

    record_name = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        check_only("approximate", approximate, "none")
        self.approximate = approximate

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"approximate={self.approximate!r}"


class SiLU(ActivationModule):
    """z σ(z) with the sigmoid σ: self-gated, also called Swish.

    Examples
    --------
    >>> import numpy as np
    >>> SiLU()(np.array([[1.0]])).round(4)
    array([[0.7311]])
    """

    record_name = "silu"


class Mish(ActivationModule):
    """z tanh(log(1 + e^z)).

    Examples
    --------
    >>> import numpy as np
    >>> Mish()(np.array([[1.0]])).round(4)
    array([[0.8651]])
    """

    record_name = "mish"


_BY_RECORD = {
    layer.record_name: layer
    for layer in (Identity, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, SELU, Softplus, GELU, SiLU, Mish)
}


def activation_module(name: str, alpha: float | None = None) -> ActivationModule:
    """Make the layer of an activation record.

    Parameters
    ----------
    name : str
        A key of ``chainrule.functions.ACTIVATIONS`` or an alias, such as ``"swish"``.
    alpha : float or None
        Parameter of the leaky ReLU or the ELU; None is its default.

    Raises
    ------
    ValueError
        If there is no such record, or ``alpha`` is given for a function without a parameter.

    Examples
    --------
    >>> activation_module("leaky_relu", 0.2)
    LeakyReLU(negative_slope=0.2)
    """
    record = get_activation(name)
    layer: Any = _BY_RECORD[record.name]
    if alpha is None:
        return layer()
    if record.alpha is None:
        raise ValueError(f"alpha must be None for {record.name}, which has no parameter; got {alpha!r}")
    return layer(alpha)  # the first argument of LeakyReLU and of ELU
