"""The compiled executor of a plan: kernels, schedules of calls, and the threads that play them."""

from chainrule.engine.executor import EngineExecutor
from chainrule.engine.predictor import Predictor

__all__ = ["EngineExecutor", "Predictor"]
