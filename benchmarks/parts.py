"""The parts of the benchmark by their names, in the order of the report.

Each is a module with ``measure_part(choice) -> results`` and ``tables(results, peak) -> tables``.
"""

from types import ModuleType

import part_digits
import part_gemm
import part_inference
import part_many
import part_startup
import part_steps
import part_tape
import part_telemetry
import part_two

__all__ = ["PARTS"]

PARTS: dict[str, ModuleType] = {
    "steps": part_steps,
    "many": part_many,
    "gemm": part_gemm,
    "inference": part_inference,
    "digits": part_digits,
    "startup": part_startup,
    "two": part_two,
    "telemetry": part_telemetry,
    "tape": part_tape,
}
