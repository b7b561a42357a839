"""What can be saved: for each class, how it is taken apart and put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.estimators import (
    MLPClassifier,
    MLPRegressor,
    OneVsOneMLPClassifier,
    Perceptron,
    TabularClassifier,
    TabularRegressor,
)
from chainrule.estimators.state import (
    from_committee_state,
    from_perceptron_state,
    from_state,
    to_committee_state,
    to_perceptron_state,
    to_state,
)
from chainrule.estimators.tabular import from_tabular_state, to_tabular_state
from chainrule.io.modules import from_module_state, to_module_state

__all__ = ["FORMS", "Form", "form_of"]

State = tuple[dict[str, Any], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Form:
    """How objects of a class are written.

    Attributes
    ----------
    kind : type
    take_apart : callable
        Of an object: what JSON can hold, and arrays.
    put_together : callable
        Of the class and both: an object that predicts the same bits. Whatever does not fit raises.
    """

    kind: type
    take_apart: Callable[[Any], State]
    put_together: Callable[[type, dict[str, Any], dict[str, np.ndarray]], Any]


FORMS: dict[str, Form] = {
    "MLPClassifier": Form(MLPClassifier, to_state, from_state),
    "MLPRegressor": Form(MLPRegressor, to_state, from_state),
    "OneVsOneMLPClassifier": Form(OneVsOneMLPClassifier, to_committee_state, from_committee_state),
    "Perceptron": Form(Perceptron, to_perceptron_state, from_perceptron_state),
    "TabularClassifier": Form(TabularClassifier, to_tabular_state, from_tabular_state),
    "TabularRegressor": Form(TabularRegressor, to_tabular_state, from_tabular_state),
    "Module": Form(nn.Module, to_module_state, from_module_state),
}


def form_of(model: Any) -> tuple[str, Form]:
    """The form of an object, and its name in a file.

    Raises
    ------
    TypeError
        If there is none.
    """
    name = "Module" if isinstance(model, nn.Module) else type(model).__name__
    form = FORMS.get(name)
    if form is None or not isinstance(model, form.kind):
        known = ", ".join(name for name in FORMS if name != "Module")
        raise TypeError(f"can save a module of chainrule.nn, {known}; got {type(model).__name__}")
    return name, form
