"""Inference: one row and many rows through a trained network, called from Python."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from floor import Peak, prediction_operations
from library import Library, chosen
from session import Worker
from table import NOTHING, Table, measured_table, number
from turns import Choice, Measured, Plan, Sampler, measure, ready

__all__ = ["LIBRARIES", "Calls", "measure_part", "tables"]

REFERENCE = "torch"
SECONDS = 0.3
# Widths, and rows a call.
CALLS = (
    ((20, 64, 64, 2), 1),
    ((784, 128, 10), 1),
    ((784, 128, 10), 4096),
    ((784, 512, 512, 10), 4096),
)

LIBRARIES = {
    "chainrule": Library("chainrule, executor", "peer_chainrule:ExecutorPredictor"),
    "chainrule-predictor": Library("chainrule, Predictor", "peer_chainrule:CompiledPredictor"),
    "chainrule-into": Library(
        "chainrule, Predictor.into", "peer_chainrule:CompiledPredictor", settings={"into": True}
    ),
    "sklearn": Library("scikit-learn, predict_proba", "peer_sklearn:SklearnPredictor", ("sklearn",)),
    "torch": Library("PyTorch, eager", "peer_torch:TorchPredictor", ("torch",)),
    "onnxruntime": Library("ONNX Runtime", "peer_onnxruntime:OnnxPredictor", ("onnxruntime", "onnx")),
    "jax": Library("JAX, jit", "peer_jax:JaxPredictor", ("jax",)),
}


@dataclass(kw_only=True)
class Calls(Measured):
    """Microseconds a call with so many rows."""

    sizes: tuple[int, ...]
    rows: int


def measure_calls(sizes: tuple[int, ...], rows: int, choice: Choice, plan: Plan) -> Calls:
    """One network, called with a number of rows."""
    title = f"{'-'.join(map(str, sizes))}, {rows:,} row{'s' if rows > 1 else ''}"
    result = Calls(title, chosen(LIBRARIES, choice.families), sizes=sizes, rows=rows)

    def prepare(worker: Worker, name: str) -> Sampler:
        library = result.libraries[name]
        return ready(
            result, worker, name, plan,
            timer="predictor:CallTimer", where=library.where, settings=dict(library.settings),
            sizes=sizes, rows=rows,
        )  # fmt: skip

    measure(result, prepare, plan, choice.say)
    return result


def measure_part(choice: Choice) -> list[Measured]:
    """All the calls."""
    plan = replace(choice.plan, seconds=min(SECONDS, choice.plan.seconds))
    return [measure_calls(sizes, rows, choice, plan) for sizes, rows in CALLS]


def _rows_a_second(result: Measured, name: str) -> str:
    median = result.median(name)
    return NOTHING if median is None or not isinstance(result, Calls) else number(result.rows / median * 1e6)


def _operations_a_second(result: Measured, name: str) -> str:
    """In GFLOP/s, where the call is long enough for that to mean something."""
    median = result.median(name)
    if median is None or not isinstance(result, Calls) or result.rows == 1:
        return NOTHING
    return number(prediction_operations(result.sizes, result.rows) / median / 1e3)


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""
    return [
        measured_table(
            "Inference from Python (microseconds a call)", ("network, rows a call", "library"),
            results, REFERENCE,
            {"rows a second": _rows_a_second, "GFLOP/s": _operations_a_second},
        )
    ]  # fmt: skip
