"""Every emitted kernel against NumPy, for every vector unit that this processor can run."""

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from chainrule.engine import objects, tiles
from chainrule.engine.objects import FAMILIES, MAX_ROWS, MAX_VECTORS, UNITS, TileTable, vector_unit

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


@pytest.fixture(scope="module")
def tables():
    """Tables by unit and dtype, made once."""
    made = {}

    def table(unit, dtype):
        if (unit, dtype) not in made:
            made[unit, dtype] = TileTable(dtype, unit)
        return made[unit, dtype]

    return table


def kernel(table, family, rows, vectors):
    place = (FAMILIES.index(family) * (MAX_ROWS + 1) + rows) * (MAX_VECTORS + 1) + vectors
    address = int(table.addresses[place])
    assert address, f"no {family} kernel of {rows} rows and {vectors} vectors"
    i = ctypes.c_int64
    return ctypes.CFUNCTYPE(None, *[i] * 10)(address)


def surrounded(rng, shape, dtype):
    """A matrix inside a larger one whose every other number is a canary."""
    outer = np.full((shape[0] + 2, shape[1] + 40), CANARY, dtype)
    inner = outer[1:-1, 13 : 13 + shape[1]]
    inner[...] = rng.normal(size=shape)
    return outer, inner


def untouched(outer, inner):
    """Whether every canary lives."""
    mask = np.ones(outer.shape, bool)
    mask[1:-1, 13 : 13 + inner.shape[1]] = False
    return bool((outer[mask] == CANARY).all())


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tile_is_the_product_and_nothing_else_is_written(unit, dtype, family, tables):
    rng = np.random.default_rng(0)
    table = tables(unit, dtype)
    lanes = unit.lanes(dtype)
    tolerance = 3e-5 if dtype == np.float32 else 1e-13
    for rows in [rows for rows in (6, 4, 2, 1) if rows <= unit.tile[0]]:
        for vectors in range(unit.tile[1] + 1):
            columns = vectors * lanes if vectors else max(1, lanes - 1)
            for n_terms in (0, 1, 3, 4, 9):
                a = rng.normal(size=(rows, n_terms + 1) if family == "N" else (n_terms + 1, rows)).astype(
                    dtype
                )
                b = rng.normal(size=(n_terms + 1, columns + 3)).astype(dtype)
                row = rng.normal(size=columns).astype(dtype)
                left = a[:, :n_terms] if family == "N" else a[:n_terms].T
                exact = left @ b[:n_terms, :columns]
                for what in (tiles.SET, tiles.ADD_ROW, tiles.ACCUMULATE):
                    outer, c = surrounded(rng, (rows, columns), dtype)
                    added = {tiles.SET: 0.0, tiles.ADD_ROW: row, tiles.ACCUMULATE: c.copy()}[what]
                    kernel(table, family, rows, vectors)(
                        n_terms, a.ctypes.data, a.strides[0], b.ctypes.data, b.strides[0],
                        c.ctypes.data, c.strides[0], what, row.ctypes.data, columns,
                    )  # fmt: skip
                    np.testing.assert_allclose(c, exact + added, rtol=tolerance, atol=tolerance)
                    assert untouched(outer, c)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_number_does_not_depend_on_its_tile(unit, dtype, family, tables):
    """The order of summation is the same everywhere: the bits are, whatever the tile."""
    rng = np.random.default_rng(1)
    table = tables(unit, dtype)
    lanes, n_terms = unit.lanes(dtype), 11
    a = rng.normal(size=(1, n_terms) if family == "N" else (n_terms, 1)).astype(dtype)
    widest = unit.tile[1] * lanes
    b = rng.normal(size=(n_terms, widest)).astype(dtype)
    results = []
    for vectors in range(unit.tile[1] + 1):
        c = np.empty((1, widest), dtype)
        kernel(table, family, 1, vectors)(
            n_terms, a.ctypes.data, a.strides[0], b.ctypes.data, b.strides[0],
            c.ctypes.data, c.strides[0], tiles.SET, 0, 1,
        )  # fmt: skip
        results.append(c[0, 0])
    assert len(set(results)) == 1


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_transpose(unit, dtype, tables):
    rng = np.random.default_rng(2)
    n = unit.lanes(dtype)
    a = rng.normal(size=(n, n + 5)).astype(dtype)
    outer, c = surrounded(rng, (n, n), dtype)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(int(tables(unit, dtype).addresses[-1]))
    function(a.ctypes.data, a.strides[0], c.ctypes.data, c.strides[0])
    np.testing.assert_array_equal(c, a[:, :n].T)
    assert untouched(outer, c)


def test_the_unit_can_be_forced(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ISA", "baseline")
    assert vector_unit() is UNITS["baseline"]
    monkeypatch.setenv("CHAINRULE_ISA", "mmx")
    with pytest.raises(ValueError, match="CHAINRULE_ISA must be one of .* got 'mmx'"):
        vector_unit()


def test_neon_is_emitted_without_spills():
    """Cross-compiled to AArch64: no register goes to the stack inside a loop of products."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    unit = UNITS["neon"]
    module = objects.emit_module(np.float32, unit)
    module.triple = "aarch64-unknown-linux-gnu"
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="cortex-a76", opt=3)
    parsed = llvm.parse_assembly(str(module))
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(parsed, builder)
    text = machine.emit_assembly(parsed)
    name = tiles.kernel_name("N", *unit.tile, masked=False)
    body = text[text.index(f"{name}:") : text.index(f".size\t{name}")]
    assert "fmla" in body
    loops = [line for line in body.splitlines() if "[sp" in line and "q" in line.split(",")[0]]
    assert not loops, loops


def test_a_damaged_object_file_is_compiled_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(objects, "cache_directory", lambda: tmp_path)
    unit = vector_unit()
    good = objects._object_file(np.float32, unit)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (content[:1000], content[:-1], content[:40] + b"?" + content[41:], b""):
        path.write_bytes(damaged)
        assert len(objects._object_file(np.float32, unit)) == len(good)
        assert path.read_bytes() == content
