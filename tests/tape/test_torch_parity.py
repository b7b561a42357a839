"""The parity suite as a whole: how many different programs it runs with both libraries."""

from tests.tape.test_torch_parity_autograd import AUTOGRAD
from tests.tape.test_torch_parity_elementwise import ELEMENTWISE
from tests.tape.test_torch_parity_higher import HIGHER
from tests.tape.test_torch_parity_hooks import HOOKS
from tests.tape.test_torch_parity_inplace import INPLACE
from tests.tape.test_torch_parity_reductions import REDUCTIONS
from tests.tape.test_torch_parity_training import TRAINING
from tests.tape.test_torch_parity_versions import VERSIONS
from tests.tape.test_torch_parity_views import VIEWS

SUBJECTS = (AUTOGRAD, ELEMENTWISE, HIGHER, HOOKS, INPLACE, REDUCTIONS, TRAINING, VERSIONS, VIEWS)


def test_there_are_at_least_200_distinct_programs():
    names = {name for programs in SUBJECTS for name in programs}
    assert len(names) == sum(map(len, SUBJECTS)), "two programs have one name"
    assert len(names) >= 200


def test_programs_of_one_function_differ_in_what_they_close_over_or_in_shapes():
    seen = set()
    for programs in SUBJECTS:
        for program in programs.values():
            code = program.function.__code__
            kept = tuple(cell.cell_contents for cell in program.function.__closure__ or ())
            defaults = repr((kept, program.function.__defaults__))
            key = (code, defaults, program.shapes, program.domain)
            assert key not in seen, program.name
            seen.add(key)
