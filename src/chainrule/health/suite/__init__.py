"""A benchmark of faulty trainings and healthy ones: detection, cause and fix of a checkup are scored on it.

Examples
--------
>>> from chainrule.health import suite
>>> case = suite.CASES[0]
>>> case.name, case.causes, suite.half_of(case)
('zero-weights-digits', ('symmetry',), 'held_out')
>>> bool(case.training(0).module[0].weight.data.any()), bool(case.twin(0).module[0].weight.data.any())
(False, True)
"""

from chainrule.health.suite.cases import CASES, FAMILIES, Case, half_of, split
from chainrule.health.suite.controls import CONTROLS

__all__ = ["CASES", "CONTROLS", "FAMILIES", "Case", "half_of", "split"]
