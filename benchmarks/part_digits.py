"""A whole fit: ``MLPClassifier`` with default settings on scikit-learn's digits."""

from collections.abc import Sequence
from typing import Any

from floor import Peak
from library import Library, chosen
from session import Worker
from table import NOTHING, Table, measured_table
from turns import Choice, Measured, Sampler, measure

__all__ = ["LIBRARIES", "measure_digits", "measure_part", "tables"]

REFERENCE = "sklearn"

LIBRARIES = {
    "chainrule": Library(
        "chainrule (float64, as scikit-learn)", "digits:DigitsFit",
        settings={"module": "chainrule.estimators"},
    ),
    "chainrule-float32": Library(
        'chainrule, dtype="float32"', "digits:DigitsFit",
        settings={"module": "chainrule.estimators", "dtype": "float32"},
    ),
    "sklearn": Library(
        "scikit-learn", "digits:DigitsFit", ("sklearn",), {"module": "sklearn.neural_network"}
    ),
}  # fmt: skip


def measure_digits(choice: Choice, **settings: Any) -> Measured:
    """Seconds of the fit; ``settings`` are the classifiers' own."""
    title = "MLPClassifier(random_state=0).fit on the digits"
    result = Measured(title, chosen(LIBRARIES, choice.families))

    def prepare(worker: Worker, name: str) -> Sampler:
        library = result.libraries[name]
        worker("setup", timer=library.where, **library.settings, **settings)
        worker("sample")  # warm-up
        return lambda: worker("sample")

    measure(result, prepare, choice.plan, choice.say)
    return result


def measure_part(choice: Choice) -> list[Measured]:
    """The one fit."""
    return [measure_digits(choice)]


def _last(key: str, places: int) -> Any:
    def written(result: Measured, name: str) -> str:
        value = result.series[name].last.get(key)
        return NOTHING if value is None else f"{value:.{places}f}"

    return written


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""
    extras = {
        "epochs": _last("epochs", 0),
        "training loss": _last("loss", 4),
        "test accuracy": _last("accuracy", 3),
    }
    title = "MLPClassifier(random_state=0).fit on the digits (seconds)"
    return [measured_table(title, ("", "library"), results, REFERENCE, extras)]
