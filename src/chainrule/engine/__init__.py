"""The compiled executor of a plan: every kernel, the BLAS binding and the threads."""

from chainrule.engine.executor import EngineExecutor

__all__ = ["EngineExecutor"]
