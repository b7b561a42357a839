"""bf16 kernels against NumPy: factors rounded to nearest even, sums in the order of the instructions."""

import ctypes
from functools import cache

import llvmlite.binding as llvm
import numpy as np
import pytest
from tests.engine.calling import call, empty, is_untouched, padded

from chainrule.engine import bfloat16, objects
from chainrule.engine.bfloat16 import PRECISIONS, PackedKernels, available, packed_kernels
from chainrule.engine.bfloat16_packing import BLOCK, PACKING
from chainrule.engine.bfloat16_products import PRODUCTS, UPDATES
from chainrule.engine.bfloat16_tiles import PARTS
from chainrule.engine.layout import PANEL
from chainrule.engine.objects import UNITS, TileKernel, vector_unit
from chainrule.engine.trace import trace
from chainrule.engine.updates import VARIANTS, Rule
from chainrule.optim import Adam

HERE = available()
# Rows, terms, columns.
SHAPES = [
    (1, 1, 1), (2, 3, 5), (5, 33, 16), (6, 64, 17), (8, 20, 64), (33, 10, 33), (35, 70, 100), (70, 9, 130),
]  # fmt: skip


# -- what NumPy says -------------------------------------------------------------------------------


def rounded(x):
    """To bf16, to nearest, ties to even; kept in single precision."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def parts(x, n_parts):
    high = rounded(x)
    return [high, rounded(x - high)][:n_parts]


def filled(x, axis):
    """Filled up with zeros to whole blocks of terms."""
    widths = [(0, 0), (0, 0)]
    widths[axis] = (0, -x.shape[axis] % BLOCK)
    return np.pad(x, widths)


def by_vectors(sums, a, b):
    """vdpbf16ps: of each pair the second product is added, then the first."""
    for k in range(0, a.shape[1], 2):
        for term in (k + 1, k):
            sums = sums + a[:, term, None] * b[term]
    return sums


def by_tiles(sums, a, b):
    """tdpbf16ps: first and second terms of 16 pairs are summed apart, from zero, and then added."""
    for k in range(0, a.shape[1], BLOCK):
        apart = [
            sum((a[:, t, None] * b[t] for t in range(k + odd, k + BLOCK, 2)), np.zeros_like(sums))
            for odd in (0, 1)
        ]
        sums = sums + (apart[0] + apart[1])
    return sums


def expected(a, b, kernels):
    """A B with the bits of the kernels."""
    n_parts = PRECISIONS[kernels.precision]
    left, right = parts(filled(a, 1), n_parts), parts(filled(b, 0), n_parts)
    sums = np.zeros((len(a), b.shape[1]), np.float32)
    add = {"avx512_bf16": by_vectors, "amx": by_tiles}[kernels.instructions]
    for i, j in PARTS[n_parts]:
        sums = add(sums, left[i], right[j])
    return sums


# -- kernels ---------------------------------------------------------------------------------------


class TileRegisters:
    """AMX as its manual describes it, for processors without: the functions in the place of instructions."""

    def __init__(self):
        self.registers = np.zeros((8, 16, 64), np.uint8)
        self.configuration = None
        byte, word = ctypes.c_int8, ctypes.c_int64
        self.functions = {
            "ldtilecfg": ctypes.CFUNCTYPE(None, word)(self.configure),
            "tilerelease": ctypes.CFUNCTYPE(None)(self.release),
            "tilezero": ctypes.CFUNCTYPE(None, byte)(self.zero),
            "tileloadd64": ctypes.CFUNCTYPE(None, byte, word, word)(self.load),
            "tilestored64": ctypes.CFUNCTYPE(None, byte, word, word)(self.store),
            "tdpbf16ps": ctypes.CFUNCTYPE(None, byte, byte, byte)(self.multiply),
        }

    def configure(self, address):
        self.configuration = bytes((ctypes.c_uint8 * 64).from_address(address))

    def release(self):
        self.configuration = None

    def zero(self, register):
        # Palette 1; 64 bytes in each row of the eight registers; 16 rows.
        assert self.configuration == b"\1" + bytes(15) + b"\x40\0" * 8 + bytes(16) + b"\x10" * 8 + bytes(8)
        self.registers[register] = 0

    def memory(self, address, stride):
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * (15 * stride + 64)).from_address(address))
        return np.lib.stride_tricks.as_strided(raw, (16, 64), (stride, 1))

    def load(self, register, address, stride):
        self.registers[register] = self.memory(address, stride)

    def store(self, register, address, stride):
        self.memory(address, stride)[...] = self.registers[register]

    def multiply(self, sums, left, right):
        a, b = (self.registers[n].view(np.uint16).astype(np.uint32) << 16 for n in (left, right))
        # Registers of the right factor hold a pair of terms in a row, the columns side by side.
        b = b.reshape(16, 16, 2).transpose(0, 2, 1).reshape(32, 16)
        total = self.registers[sums].view(np.float32)
        with np.errstate(all="ignore"):  # what lies in rows and columns that are not there
            total[...] = by_tiles(total.copy(), a.view(np.float32), np.ascontiguousarray(b).view(np.float32))


@pytest.fixture(scope="module")
def tile_registers():
    return TileRegisters()


def emulated(module, fields, tile_registers):
    """The kernels of a module for AMX, every tile instruction replaced by a call."""
    source = str(module)
    for name, function in tile_registers.functions.items():
        llvm.add_symbol(f"emulated_{name}", ctypes.cast(function, ctypes.c_void_p).value)
        source = source.replace(f"llvm.x86.{name}", f"emulated_{name}")
    machine = objects._target_machine(bfloat16.VECTORS)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source), machine)
    engine.finalize_object()
    return {
        name: TileKernel(name, names, engine.get_function_address(name), engine)
        for name, names in fields.items()
    }


@pytest.fixture(scope="module", params=["avx512_bf16", "amx", "emulated amx"])
def instructions(request):
    if request.param == "emulated amx":
        if vector_unit() is not UNITS["avx512"] or not llvm.get_host_cpu_features().get("avx512bf16"):
            pytest.skip("rounding and packing for AMX are done with AVX512_BF16, which this processor lacks")
    elif request.param not in HERE:
        pytest.skip(f"this processor has no {request.param.upper()}")
    return request.param


@pytest.fixture(scope="module", params=list(PRECISIONS))
def kernels(request, instructions, tile_registers):
    if instructions == "emulated amx":
        module = bfloat16.emit_module(request.param, "amx")
        return PackedKernels(request.param, "amx", emulated(module, PACKING | PRODUCTS, tile_registers))
    return bfloat16._packed_kernels(request.param, instructions)


@pytest.fixture(scope="module")
def update_of(kernels, instructions, tile_registers):
    """The kernel that applies Adam, by variant."""

    @cache
    def make(variant):
        rule = Rule(trace(Adam().rule), variant)
        if instructions == "emulated amx":
            module = bfloat16.emit_module(kernels.precision, "amx", rule)
            return emulated(module, UPDATES, tile_registers)["gradient_update"]
        return bfloat16._packed_update(kernels.precision, instructions, rule)

    return make


def matrix(rng, n_rows, n_columns):
    return padded(rng.normal(size=(n_rows, n_columns)).astype(np.float32), np.float32)


def table(x):
    return x.ctypes.data + np.arange(len(x), dtype=np.int64) * x.strides[0]


def room(n_bytes):
    """Memory full of NaN."""
    return np.full(n_bytes, 255, np.uint8)


class Factors:
    """Packed factors A and B, each from what it is or from its transpose."""

    def __init__(self, kernels, a, b, left="pack_rows", right="pack_pairs"):
        self.kernels, self.rows, self.columns, self.terms = kernels, len(a), b.shape[1], len(b)
        self.row_bytes, self.panel = kernels.row_bytes(self.terms), kernels.panel_bytes(self.terms)
        self.left = room(kernels.left_bytes(self.rows, self.terms))
        self.right = room(kernels.right_bytes(self.terms, self.columns))
        to = {"target": self.left, "target_stride": self.row_bytes}
        if left == "pack_rows":
            call(
                kernels[left], {"n_rows": self.rows}, left=table(a), left_offset=0, n_terms=self.terms,
                n_written=kernels.terms_written(self.terms), share=0, shares=1, **to,
            )  # fmt: skip
        else:
            lying = padded(a.T, np.float32)
            call(
                kernels[left], {"n_rows": self.terms}, left=table(lying), left_offset=0, rows=self.rows, **to
            )
        lying = padded(b if right == "pack_pairs" else b.T, np.float32)
        call(
            kernels[right], {"n_rows": self.terms}, source=lying, source_stride=lying.strides[0],
            n_terms=0 if left == "pack_columns" else self.terms, columns=self.columns, target=self.right,
            panel=self.panel,
        )  # fmt: skip

    def product(self, result, *, row=0, adds=0, share=(0, 1), of_batch="rows"):
        sizes = {"rows": self.rows, "n_terms": self.terms}
        call(
            self.kernels["product"], {"n_rows": sizes[of_batch]}, **(sizes | {of_batch: 0}), left=self.left,
            left_stride=self.row_bytes, right=self.right, panel=self.panel, columns=self.columns,
            result=result, result_stride=result.strides[0], row=row, adds=adds, share=share[0],
            shares=share[1],
        )  # fmt: skip
        return result


def agrees(kernels, value, exact):
    """Bit for bit, but for the real AMX, which has its own place to lose a denormal number."""
    if "amx" in HERE and kernels.instructions == "amx":
        np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(value, exact)


# -- tests -----------------------------------------------------------------------------------------


def words_of(x, n_parts):
    """Numbers of bf16 as their 16 bits, for each part."""
    return [part.view(np.uint32) >> 16 for part in parts(x, n_parts)]


def test_numbers_are_rounded_to_nearest_even(kernels, rng):
    x = matrix(rng, 3, 2 * BLOCK + 1) * np.float32(1e3)
    x[0, :8] = [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20, 0, -0.0, 3.4e38, -3.4e38]
    n_parts = PRECISIONS[kernels.precision]
    with np.errstate(invalid="ignore"):
        written = words_of(filled(x, 1), n_parts)
    packed = Factors(kernels, x, np.ones((x.shape[1], 1), np.float32)).left.view(np.uint16)
    packed = packed.reshape(-1, n_parts, kernels.row_bytes(x.shape[1]) // 2 // n_parts)
    overflown = np.isinf(rounded(x)).nonzero()
    for part, bits in enumerate(written):
        here = packed[: len(x), part, : bits.shape[1]].astype(np.uint32)
        if part == 1:  # what is left over of an infinity is not a number, or an infinity
            assert (here[overflown] & 0x7F80 == 0x7F80).all()
            here[overflown] = bits[overflown] = 0
        np.testing.assert_array_equal(here, bits)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_factors_are_packed_alike_from_either_side(kernels, rng, shape):
    n_rows, n_terms, columns = shape
    a, b = matrix(rng, n_rows, n_terms), matrix(rng, n_terms, columns)
    n_parts, written = PRECISIONS[kernels.precision], kernels.terms_written(n_terms)
    for left, right in (
        ("pack_rows", "pack_pairs"),
        ("pack_columns", "pack_pairs"),
        ("pack_rows", "pack_transpose"),
    ):
        packed = Factors(kernels, a, b, left, right)
        rows = packed.left.view(np.uint16).reshape(-1, n_parts, packed.row_bytes // 2 // n_parts)
        for part, bits in enumerate(words_of(filled(a, 1), n_parts)):
            np.testing.assert_array_equal(rows[:n_rows, part, :written], bits)
        panels = packed.right.view(np.uint16).reshape(-1, n_parts, written // 2, PANEL, 2)
        for part, bits in enumerate(words_of(filled(b, 0), n_parts)):
            here = panels[:, part].transpose(1, 3, 0, 2).reshape(written, -1)
            np.testing.assert_array_equal(here[:, :columns], bits)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_and_nothing_else_is_written(kernels, rng, shape):
    n_rows, n_terms, columns = shape
    a, b = matrix(rng, n_rows, n_terms), matrix(rng, n_terms, columns)
    row, before = matrix(rng, 1, columns), matrix(rng, n_rows, columns)
    exact = expected(a, b, kernels)
    packed = Factors(kernels, a, b)
    for with_row in (False, True):
        for adds in (0, 1):
            c = padded(before, np.float32)
            packed.product(c, row=row if with_row else 0, adds=adds)
            sums = exact + row if with_row else exact
            agrees(kernels, c, sums + before if adds else sums)
            assert is_untouched(c)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_gradient_is_a_sum_over_the_rows_of_the_batch(kernels, rng, shape):
    inputs, n_rows, columns = shape
    h, delta = matrix(rng, n_rows, inputs), matrix(rng, n_rows, columns)
    packed = Factors(kernels, h.T, delta, left="pack_columns")
    g = packed.product(empty((inputs, columns), np.float32), of_batch="n_terms")
    agrees(kernels, g, expected(h.T, delta, kernels))
    assert is_untouched(g)


class Weights:
    """A layer's weights and moments, what is reported of them, and the step they are changed in."""

    def __init__(self, shape, n_rows):
        rng = np.random.default_rng(1)
        self.w, self.first, self.second = (matrix(rng, *shape) for _ in range(3))
        self.second[...] = self.second**2
        self.penalties = np.ones(shape[1])
        adam = Adam(lr=0.01, weight_decay=0.01)
        self.coefficients = adam.coefficients(np.array([adam.lr]), 3)[0].astype(np.float32)
        self.step = {
            "n_rows": n_rows, "coefficients": self.coefficients, "factor": 0.5, "l2": 0.3, "l1": 0.2,
            "clip": 1.0,
        }  # fmt: skip

    def arguments(self):
        return {
            "weights": self.w, "first": self.first, "second": self.second, "stride": self.w.strides[0],
            "decays": 1, "penalised": 1, "penalties": self.penalties, "columns": self.w.shape[1],
            "rows": len(self.w),
        }  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES[-3:], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_update_has_the_bits_of_one_with_the_stored_gradient(kernels, update_of, rng, shape, variant):
    inputs, n_rows, columns = shape
    h, delta = matrix(rng, n_rows, inputs), matrix(rng, n_rows, columns)
    packed = Factors(kernels, h.T, delta, left="pack_columns")
    g = packed.product(empty((inputs, columns), np.float32), of_batch="n_terms")
    one, other = Weights((inputs, columns), n_rows), Weights((inputs, columns), n_rows)
    call(
        update_of(variant), one.step, left=packed.left, left_stride=packed.row_bytes, right=packed.right,
        panel=packed.panel, **one.arguments(),
    )  # fmt: skip
    stored = objects._update_kernels(Rule(trace(Adam().rule), variant), np.dtype(np.float32), UNITS["avx512"])
    call(stored["update"], other.step, gradient=g, **other.arguments())
    for name in ("w", "first", "second", "penalties"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert is_untouched(one.w, one.first, one.second)
    assert (one.w != Weights((inputs, columns), n_rows).w).any()


def test_a_number_does_not_depend_on_its_tile_or_thread(kernels, rng):
    """Each number of a product by itself, and shares of the rows, have the bits of the whole."""
    a, b = matrix(rng, 13, 50), matrix(rng, 50, 70)
    whole = Factors(kernels, a, b).product(empty((13, 70), np.float32))
    shared = empty((13, 70), np.float32)
    for share in range(4):
        Factors(kernels, a, b).product(shared, share=(share, 4))
    np.testing.assert_array_equal(shared, whole)
    for i, j in ((0, 0), (5, 16), (6, 31), (11, 32), (12, 63), (7, 69)):
        alone = Factors(kernels, a[i : i + 1], b[:, j : j + 1]).product(empty((1, 1), np.float32))
        assert alone[0, 0] == whole[i, j]


def test_owners_of_columns_pack_them_for_themselves(kernels, rng):
    """Numbers [16, 48) of each row, packed in two pieces, the last of which fills up the block."""
    a, b = matrix(rng, 5, 60), matrix(rng, 30, 3)
    packed = Factors(kernels, a[:, 16:46], b)
    pieces = room(packed.left.size)
    for first, n_terms in ((0, 16), (16, 14)):
        call(
            kernels["pack_rows"], {"n_rows": 5}, left=table(a), left_offset=4 * (16 + first), n_terms=n_terms,
            n_written=16, target=pieces.ctypes.data + 2 * first, target_stride=packed.row_bytes, share=0,
            shares=1,
        )  # fmt: skip
    np.testing.assert_array_equal(pieces, packed.left)


def test_how_far_a_product_is_from_single_precision(kernels, rng):
    a, b = matrix(rng, 32, 512), matrix(rng, 512, 64)
    exact = a.astype(float) @ b.astype(float)
    error = np.linalg.norm(Factors(kernels, a, b).product(empty(exact.shape, np.float32)) - exact)
    least, most = {"bf16": (1e-3, 4e-3), "bf16x3": (1e-7, 5e-6)}[kernels.precision]
    assert least < error / np.linalg.norm(exact) < most


def test_what_is_not_finite_stays_so(kernels, rng):
    a, b = matrix(rng, 7, 40), matrix(rng, 40, 20)
    a[1, 3], a[4, 39] = np.nan, np.inf
    c = Factors(kernels, a, b).product(empty((7, 20), np.float32))
    assert not np.isfinite(c[[1, 4]]).any()
    assert np.isfinite(c[[0, 2, 3, 5, 6]]).all()


def test_an_empty_batch(kernels):
    a, b = np.zeros((1, 8), np.float32)[:0], np.ones((8, 20), np.float32)
    c = empty((2, 20), np.float32)
    Factors(kernels, np.ones((2, 8), np.float32), b).product(c, share=(0, 3))
    assert np.isnan(c).all()  # a third of two rows, rounded down
    assert table(a).size == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_amx_is_emitted_whole(precision):
    """Cross-compiled to machine code, in which the instructions are."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = bfloat16.emit_module(precision, "amx")
    module.triple = "x86_64-unknown-linux-gnu"
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="sapphirerapids", opt=3)
    assert machine.emit_object(llvm.parse_assembly(str(module))).startswith(b"\x7fELF")
    text = machine.emit_assembly(llvm.parse_assembly(str(module)))
    for name in (
        "ldtilecfg",
        "tilezero",
        "tileloadd",
        "tdpbf16ps",
        "tilestored",
        "tilerelease",
        "vcvtneps2bf16",
    ):
        assert name in text


@pytest.mark.parametrize("precision", PRECISIONS)
def test_sums_by_vectors_stay_in_registers(precision):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = bfloat16.emit_module(precision, "avx512_bf16")
    module.triple = "x86_64-unknown-linux-gnu"
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="znver4", opt=3)
    text = machine.emit_assembly(llvm.parse_assembly(str(module)))
    body = text[text.index("\ntile:") : text.index(".size\ttile")]
    assert "vdpbf16ps" in body
    assert not [line for line in body.splitlines() if "zmm" in line and "(%rsp)" in line]


def test_what_the_processor_lacks_is_said(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ISA", "baseline")
    assert available() == ()
    for precision in PRECISIONS:
        with pytest.raises(
            ValueError, match=rf"precision='{precision}' needs a processor with AVX512_BF16, or .*AMX"
        ):
            packed_kernels(precision)


def test_an_unknown_precision():
    with pytest.raises(ValueError, match="precision must be one of bf16, bf16x3 here; got 'fp8'"):
        packed_kernels("fp8")


@pytest.mark.skipif(not HERE, reason="this processor has neither AMX nor AVX512_BF16")
def test_the_fastest_instructions_are_taken():
    assert packed_kernels("bf16").instructions == HERE[0]
    assert packed_kernels("bf16") is packed_kernels("bf16")
