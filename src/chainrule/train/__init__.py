"""Training: ``fit`` and ``fit_many``, their options and histories, and the loop beneath them."""

from chainrule.train.fitting import fit, predict
from chainrule.train.history import History
from chainrule.train.loop import Trainer, make_executor
from chainrule.train.many import Job, fit_many
from chainrule.train.options import EarlyStopping, EpochEvent, FitOptions
from chainrule.train.side_by_side import JobError
from chainrule.train.streams import Stream, stream

__all__ = [
    "EarlyStopping",
    "EpochEvent",
    "FitOptions",
    "History",
    "Job",
    "JobError",
    "Stream",
    "Trainer",
    "fit",
    "fit_many",
    "make_executor",
    "predict",
    "stream",
]
