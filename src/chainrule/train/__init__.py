"""Training: ``fit``, its options and history, and the loop beneath it."""

from chainrule.train.fitting import fit, predict
from chainrule.train.history import History
from chainrule.train.loop import Trainer, make_executor
from chainrule.train.options import EarlyStopping, EpochEvent, FitOptions

__all__ = [
    "EarlyStopping",
    "EpochEvent",
    "FitOptions",
    "History",
    "Trainer",
    "fit",
    "make_executor",
    "predict",
]
