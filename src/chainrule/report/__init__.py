"""How good a model is, and the page that says so.

Everything here takes plain data (arrays, names, numbers) and knows nothing of estimators, files or the
command line.
"""

from chainrule.report.evaluation import (
    CalibrationBin,
    ClassEvaluation,
    Evaluation,
    NumberEvaluation,
    UnknownClassError,
    evaluate_classes,
    evaluate_numbers,
    guess_classes,
    guess_numbers,
)
from chainrule.report.resampling import Estimate, bootstrap, wilson_interval

__all__ = [
    "CalibrationBin",
    "ClassEvaluation",
    "Estimate",
    "Evaluation",
    "NumberEvaluation",
    "UnknownClassError",
    "bootstrap",
    "evaluate_classes",
    "evaluate_numbers",
    "guess_classes",
    "guess_numbers",
    "wilson_interval",
]
