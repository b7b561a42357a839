"""Every emitted kernel against NumPy, for every vector unit that this processor can run."""

import ctypes
import re

import llvmlite.binding as llvm
import numpy as np
import pytest

from chainrule.engine import objects
from chainrule.engine.calls import STEP_REALS, WORDS, place_in_step, word
from chainrule.engine.objects import UNITS, product_kernels, vector_unit
from chainrule.engine.walks import groups

X86 = llvm.get_default_triple().startswith("x86_64")
FEATURES = llvm.get_host_cpu_features()
CANARY = -12345.0


def runs_here(unit):
    """Whether this processor has the instructions."""
    needs = {"avx512": ["avx512f", "avx512vl", "avx512dq"], "avx2": ["avx2", "fma"]}
    if unit.name == "neon":
        return not X86
    return all(FEATURES.get(name) for name in needs.get(unit.name, [])) and (X86 or unit.name == "baseline")


CASES = [
    pytest.param(unit, np.dtype(dtype), id=f"{unit.name}-{np.dtype(dtype).name}")
    for unit in UNITS.values()
    if runs_here(unit)
    for dtype in (np.float32, np.float64)
]


def step_record(**values):
    """A step's record with these fields."""
    record = np.zeros(2 * WORDS, np.int64)
    for name, value in values.items():
        record[place_in_step(name)] = word(float(value) if name in STEP_REALS else value)
    return record


def call(kernel, step, **arguments):
    """Run a kernel; arrays are given by their addresses."""
    words = kernel.pack(
        **{name: v.ctypes.data if isinstance(v, np.ndarray) else v for name, v in arguments.items()}
    )
    row = np.array(words, np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel.address)(row.ctypes.data, step.ctypes.data)


def surrounded(rng, shape, dtype, right=27):
    """A matrix inside a larger one whose every other number is a canary."""
    outer = np.full((shape[0] + 2, shape[1] + 13 + right), CANARY, dtype)
    inner = outer[1:-1, 13 : 13 + shape[1]]
    inner[...] = rng.normal(size=shape)
    return outer, inner


def untouched(outer, inner):
    """Whether every canary lives."""
    mask = np.ones(outer.shape, bool)
    mask[1:-1, 13 : 13 + inner.shape[1]] = False
    return bool((outer[mask] == CANARY).all())


def addresses(matrix):
    """The table of a matrix's rows."""
    return matrix.ctypes.data + np.arange(len(matrix), dtype=np.int64) * matrix.strides[0]


def product(kernels, a, b, c, row=None, *, adds=False, share=(0, 1), offset=0):
    """C = A B by the kernel, ``offset`` numbers into each row of A."""
    table, step = addresses(a), step_record(n_rows=len(a))
    call(
        kernels["product"], step, left=table, left_offset=offset * a.itemsize, n_terms=len(b), right=b,
        right_stride=b.strides[0], result=c, result_stride=c.strides[0], columns=c.shape[1],
        row=0 if row is None else row, adds=adds, share=share[0], shares=share[1],
    )  # fmt: skip


def gradient(kernels, a, b, g, *, offset=0):
    """G = Aᵀ B by the kernel, from column ``offset`` of A on."""
    table, step = addresses(a), step_record(n_rows=len(a))
    call(
        kernels["gradient"], step, left=table, left_offset=offset * a.itemsize, rows=len(g), right=b,
        right_stride=b.strides[0], result=g, result_stride=g.strides[0], columns=g.shape[1],
    )  # fmt: skip


def tolerance(dtype):
    return 1e-4 if dtype == np.float32 else 1e-12


def widths(unit, dtype):
    """Numbers of columns that reach every kind of group, alone and after a whole one."""
    lanes = unit.lanes(dtype)
    fewest = {group.fewest(lanes) for group in groups(unit)}
    most = {group.vectors * lanes for group in groups(unit)}
    return sorted(fewest | most | {max(most) + n for n in (1, lanes, lanes + 1)} | {3 * max(most) - 1})


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("what", ["set", "row", "adds", "both"])
def test_a_product_and_nothing_else_is_written(unit, dtype, what):
    rng = np.random.default_rng(0)
    kernels = objects._product_kernels(dtype, unit)
    for n_rows in (0, 1, 2, 3, 6, 8, 13, 25):
        for columns in widths(unit, dtype):
            for n_terms in (0, 1, 3, 4, 9):
                a = rng.normal(size=(n_rows, n_terms + 3)).astype(dtype)
                _, b = surrounded(rng, (n_terms, columns), dtype)
                row = rng.normal(size=columns).astype(dtype)
                outer, c = surrounded(rng, (n_rows, columns), dtype)
                expected = a[:, 2 : 2 + n_terms] @ b
                expected = expected + (row if what in ("row", "both") else 0)
                expected = expected + (c if what in ("adds", "both") else 0)
                product(
                    kernels, a, b, c, row if what in ("row", "both") else None,
                    adds=what in ("adds", "both"), offset=2,
                )  # fmt: skip
                np.testing.assert_allclose(c, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
                assert untouched(outer, c)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_a_gradient_and_nothing_else_is_written(unit, dtype):
    rng = np.random.default_rng(0)
    kernels = objects._product_kernels(dtype, unit)
    for n_inputs in (0, 1, 2, 3, 6, 8, 13, 25, 4 * unit.lanes(dtype) + 1, 15 * unit.lanes(dtype) + 3):
        for columns in widths(unit, dtype):
            for n_rows in (0, 1, 3, 4, 9):
                a = rng.normal(size=(n_rows, n_inputs + 3)).astype(dtype)
                _, b = surrounded(rng, (n_rows, columns), dtype)
                outer, g = surrounded(rng, (n_inputs, columns), dtype)
                gradient(kernels, a, b, g, offset=2)
                expected = a[:, 2 : 2 + n_inputs].T @ b
                np.testing.assert_allclose(g, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
                assert untouched(outer, g)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_a_number_does_not_depend_on_its_tile(unit, dtype):
    """The order of summation is the same everywhere: the bits are, whatever the tile."""
    rng = np.random.default_rng(1)
    kernels = objects._product_kernels(dtype, unit)
    lanes, n_terms = unit.lanes(dtype), 11
    a = rng.normal(size=(1, n_terms)).astype(dtype).repeat(13, axis=0)
    left = np.ascontiguousarray(a.T)
    for columns in widths(unit, dtype):
        b = rng.normal(size=(n_terms, 1)).astype(dtype).repeat(columns, axis=1)
        c, g = np.empty((13, columns), dtype), np.empty((13, columns), dtype)
        product(kernels, a, b, c)
        gradient(kernels, left, b, g)
        assert len({*c.ravel().tolist(), *g.ravel().tolist()}) == 1, (columns, lanes)
        one = dtype.type(0)
        if not unit.fuses:
            for k in range(n_terms):
                one += a[0, k] * b[k, 0]
            assert c[0, 0] == one


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_transpose(unit, dtype):
    rng = np.random.default_rng(2)
    kernels = objects._product_kernels(dtype, unit)
    n = unit.lanes(dtype)
    sizes = sorted({0, 1, n - 1, n, n + 1, 2 * n, 3 * n - 1})
    for rows in sizes:
        for columns in sizes:
            _, source = surrounded(rng, (rows, columns), dtype)
            outer, target = surrounded(rng, (columns, rows), dtype)
            call(
                kernels["transpose"], step_record(), source=source, source_stride=source.strides[0],
                rows=rows, columns=columns, target=target, target_stride=target.strides[0],
            )  # fmt: skip
            np.testing.assert_array_equal(target, source.T)
            assert untouched(outer, target)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_copy(unit, dtype):
    rng = np.random.default_rng(3)
    kernels = objects._product_kernels(dtype, unit)
    n = unit.lanes(dtype)
    for rows in (0, 1, 3):
        for columns in (0, 1, n - 1, n, n + 1, 4 * n, 7 * n - 1):
            _, source = surrounded(rng, (4, columns), dtype)
            outer, target = surrounded(rng, (4, columns), dtype)
            before = target.copy()
            call(
                kernels["copy"], step_record(n_rows=2), source=source, source_stride=source.strides[0],
                rows=rows, columns=columns, target=target, target_stride=target.strides[0],
            )  # fmt: skip
            copied = rows or 2
            np.testing.assert_array_equal(target[:copied], source[:copied])
            np.testing.assert_array_equal(target[copied:], before[copied:])
            assert untouched(outer, target)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_nan_and_infinity_come_through(unit, dtype):
    kernels = objects._product_kernels(dtype, unit)
    columns = unit.lanes(dtype) + 1
    a, b, c = np.ones((7, 5), dtype), np.ones((5, columns), dtype), np.empty((7, columns), dtype)
    a[3, 2], b[1, -1] = np.nan, np.inf
    product(kernels, a, b, c)
    assert np.isnan(c[3]).all()
    assert np.isfinite(np.delete(c, 3, axis=0)[:, :-1]).all()
    assert (np.delete(c, 3, axis=0)[:, -1] == np.inf).all()


def test_the_unit_can_be_forced(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ISA", "baseline")
    assert vector_unit() is UNITS["baseline"]
    monkeypatch.setenv("CHAINRULE_ISA", "mmx")
    with pytest.raises(ValueError, match="CHAINRULE_ISA must be one of .* got 'mmx'"):
        vector_unit()


def test_kernels_are_made_once_and_know_their_arguments():
    kernels = product_kernels("float32")
    assert product_kernels(np.float32) is kernels
    assert set(kernels) == {"product", "gradient", "transpose", "copy"}
    assert all(kernel.reals == frozenset() for kernel in kernels.values())
    assert max(len(kernel.fields) for kernel in kernels.values()) < WORDS
    with pytest.raises(TypeError, match="arguments must be source, source_stride, .*; got source"):
        kernels["copy"].pack(source=0)


def test_a_damaged_object_file_is_compiled_again(monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "cache_directory", lambda: tmp_path)
    unit = vector_unit()

    def code():
        return objects._object_file(("test",), lambda: objects.emit_products(np.dtype("float32"), unit), unit)

    good = code()
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (content[:1000], content[:40] + b"?" + content[41:], b""):
        path.write_bytes(damaged)
        assert len(code()) == len(good)
        assert path.read_bytes() == content


# -- machine code, also of processors that are not here ----------------------------------------------

TARGETS = {
    "avx512": ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    "avx2": ("x86_64-unknown-linux-gnu", "haswell"),
    "neon": ("aarch64-unknown-linux-gnu", "cortex-a76"),
    "baseline": ("x86_64-unknown-linux-gnu", "x86-64"),
}
MULTIPLIES = re.compile(r"\s(vfn?m(add|sub)\w*p[sd]|v?mulp[sd]|fmla)\s")
# A vector is stored on the stack; one that never changes, a mask, may be read from there.
SPILLS = re.compile(r"[xyz]mm\d+, \S*\(%rsp\)|\s(str|stp)\s+q.*\[sp")


def assembly(module, unit):
    """The module compiled for a processor with the unit's vectors, whether it is this one or not."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module.triple, cpu = TARGETS[unit.name]
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu=cpu, opt=3)
    return machine.emit_assembly(llvm.parse_assembly(str(module)))


def loops_of_products(text):
    """The instructions of each innermost loop that multiplies vectors."""
    lines, labels = text.splitlines(), {}
    for n, line in enumerate(lines):
        label = re.match(r"(\.LBB\w+):", line)
        if label:
            labels[label[1]] = n
        jump = re.match(r"\s+[bjct]\S*\s.*?(\.LBB\w+)$", line)
        if jump and jump[1] in labels:
            loop = lines[labels[jump[1]] : n]
            if sum(line.startswith(".LBB") for line in loop) == 1 and any(map(MULTIPLIES.search, loop)):
                yield loop


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_no_accumulator_leaves_the_registers(unit, dtype):
    """No vector goes to the stack inside a loop of products."""
    loops = list(loops_of_products(assembly(objects.emit_products(np.dtype(dtype), unit), unit)))
    products = {sum(map(bool, map(MULTIPLIES.search, loop))) for loop in loops}
    assert products >= {
        4 * rows * group.vectors for group in groups(unit) for rows in group.heights(unit) if not group.masked
    }
    assert not [line for loop in loops for line in loop if SPILLS.search(line)]
