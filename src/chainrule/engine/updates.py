"""The kernels that change parameters: one step of an optimizer's rule.

``gradient_update`` sums a tile of the weight gradient (6) and applies the rule to it while it is in the first
cache, so that no gradient is ever stored; ``update`` applies it to a gradient that was. In one module, both
call the same function for that: they give the same bits.

A kernel is made for a rule (``trace.py``) and for one of three ``VARIANTS``: without penalty, with ½ l2 Σw²,
and with l1 Σ|w| besides.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from chainrule.engine.emit import DOUBLE, I64, POINTER, Emitter, Values, VectorUnit, constant, internal
from chainrule.engine.tiles import columns_of, sum_of_products
from chainrule.engine.trace import COEFFICIENTS, Program
from chainrule.engine.walks import Panel, down_the_rows, emit_over_columns

__all__ = ["FIELDS", "VARIANTS", "emit_gradient_update", "emit_update"]

VARIANTS = ("none", "l2", "l1")

# The arguments of each kernel, in order: addresses, and strides and offsets in bytes.
FIELDS = {
    "gradient_update": (
        "left", "left_offset", "rows", "right", "right_stride", "columns", "weights", "first", "second",
        "stride", "decays", "penalised", "penalties",
    ),
    "update": (
        "rows", "columns", "weights", "first", "second", "gradient", "stride", "decays", "penalised",
        "penalties",
    ),
}  # fmt: skip

CACHE_LINE = 64

# Rows that are stored together where they are stored in part.
BLOCK = 8

STATE = ("weights", "first", "second")


@dataclass(frozen=True)
class Rule:
    """An optimizer's rule with a kind of penalty.

    Attributes
    ----------
    program : Program
    variant : str
        One of ``VARIANTS``.
    """

    program: Program
    variant: str

    @property
    def written(self) -> list[int]:
        """Which of ``STATE`` the rule changes; some rules have no second moment."""
        results = (self.program.instructions[place] for place in self.program.results)
        return [field for field, result in enumerate(results) if result != ("input", field)]

    @property
    def n_sums(self) -> int:
        """How many sums over the parameters the penalty consists of: Σw², and Σ|w|."""
        return VARIANTS.index(self.variant)


def emit_gradient_update(module: ir.Module, rule: Rule, dtype: Any, unit: VectorUnit) -> None:
    """The sum of ``gradient``, and instead of storing it one step of the rule."""

    def down(panel: Panel) -> None:
        e = panel.e
        step = _Step(panel, rule)
        n_rows = e.from_step(panel.step, "n_rows")
        row_bytes = panel.group.vectors * e.unit.vector_bytes
        tallest = panel.group.heights(e.unit)[0]
        slopes = e.room(tallest * row_bytes)

        def tile(row: ir.Value, height: int) -> None:
            def ahead(i: ir.Value) -> None:
                """Ask for what the step will change in row i: no processor foresees rows far apart."""
                for field in rule.written:
                    place = panel.row(STATE[field], "stride", e.builder.add(row, i))
                    for line in range(0, row_bytes, CACHE_LINE):
                        e.prefetch(e.at(place, line))

            left = columns_of(panel, row)
            tile = sum_of_products(panel, height, n_rows, left, ahead if height == tallest else None)
            for i, sums in enumerate(tile):
                e.store_row(sums, e.at(slopes, i * row_bytes))
            step.take(row, constant(height), slopes, constant(row_bytes))

        down_the_rows(panel, constant(0), panel.words["rows"], tile)
        step.report_penalties()

    emit_over_columns(module, "gradient_update", FIELDS["gradient_update"], dtype, unit, down)


def emit_update(module: ir.Module, rule: Rule, dtype: Any, unit: VectorUnit) -> None:
    """One step of the rule with a gradient that was stored, multiplied by the step's ``clip``."""

    def down(panel: Panel) -> None:
        step = _Step(panel, rule, clip=panel.e.rounded(panel.e.double_from_step(panel.step, "clip")))
        step.take(constant(0), panel.words["rows"], panel.column("gradient"), panel.words["stride"])
        step.report_penalties()

    emit_over_columns(module, "update", FIELDS["update"], dtype, unit, down)


class _Step:
    """How a kernel takes the rule's step for the rows of one group of columns.

    Parameters
    ----------
    panel : Panel
    rule : Rule
    clip : ir.Value, optional
        What the gradient is multiplied by.
    """

    def __init__(self, panel: Panel, rule: Rule, clip: ir.Value | None = None) -> None:
        e = panel.e
        self.panel, self.rule = panel, rule
        self.sums = e.room(rule.n_sums * panel.group.vectors * e.unit.vector_bytes)
        for place in _sums(panel, rule, self.sums):
            e.store(e.splat(0.0), place)
        self.constants = [
            e.from_step(panel.step, "coefficients"),
            panel.words["decays"],
            panel.words["penalised"],
            e.builder.sub(panel.words["columns"], panel.first),
            self.sums,
            *(self._strength(name) for name in ("l2", "l1")[: rule.n_sums]),
            *([] if clip is None else [clip]),
        ]
        self.function = _emit_step(panel, rule, clips=clip is not None)

    def _strength(self, name: str) -> ir.Value:
        """What the gradient of a penalty is multiplied by; 0 where this layer has none."""
        e, step = self.panel.e, self.panel.step
        return e.rounded(e.builder.fmul(e.double_from_step(step, "factor"), e.double_from_step(step, name)))

    def take(self, row: ir.Value, n_rows: ir.Value, slopes: ir.Value, slopes_stride: ir.Value) -> None:
        """Rows [row, row + n_rows), with their gradient at ``slopes``."""
        panel = self.panel
        places = [panel.row(field, "stride", row) for field in STATE]
        strides = [panel.words["stride"], slopes_stride]
        panel.e.call(self.function, [*places, slopes, *strides, n_rows, *self.constants])

    def report_penalties(self) -> None:
        """Add n_rows · factor · (½ l2 Σw² + l1 Σ|w|) to what has been reported of each column."""
        if not self.rule.n_sums:
            return
        e, panel = self.panel.e, self.panel
        n_rows = e.builder.sitofp(e.from_step(panel.step, "n_rows"), DOUBLE)
        share = e.builder.fmul(n_rows, e.double_from_step(panel.step, "factor"))
        l2 = e.builder.fmul(e.double_from_step(panel.step, "l2"), ir.Constant(DOUBLE, 0.5))
        weights = [l2, e.double_from_step(panel.step, "l1")][: self.rule.n_sums]
        group_bytes = panel.group.vectors * e.unit.vector_bytes
        reported = e.at(e.pointer(panel.words["penalties"]), e.builder.mul(panel.first, constant(8)))

        def column(j: ir.Value, _: Values) -> None:
            place = e.at(self.sums, e.builder.mul(j, constant(e.itemsize)))
            total = e.word(reported, j, DOUBLE)
            for number, weight in enumerate(weights):
                value = e.widened(e.load_real(e.at(place, number * group_bytes)))
                total = e.builder.fadd(total, e.builder.fmul(share, e.builder.fmul(weight, value)))
            e.builder.store(total, e.at(reported, e.builder.mul(j, constant(8))), align=8)

        columns = e.builder.sub(panel.words["columns"], panel.first)
        most = constant(panel.group.vectors * e.lanes)
        columns = e.builder.select(e.builder.icmp_signed("<", columns, most), columns, most)
        none = e.builder.icmp_unsigned("==", panel.words["penalised"], constant(0))
        e.loop(constant(0), e.builder.select(none, constant(0), columns), 1, column)


def _sums(panel: Panel, rule: Rule, pointer: ir.Value) -> Values:
    """Where each vector of Σw² is kept, then each of Σ|w|."""
    n_vectors = rule.n_sums * panel.group.vectors
    return [panel.e.at(pointer, q * panel.e.unit.vector_bytes) for q in range(n_vectors)]


def _emit_step(outer: Panel, rule: Rule, clips: bool) -> ir.Function:
    """The rule's step for the numbers of one group of columns, row by row.

    Memory stands between a tile's sums and this function: a tile that went on in registers would be no
    faster, since the processor overlaps the two, and this machine code serves tiles of all heights.
    """
    reals = [outer.e.real] * (rule.n_sums + clips)
    kinds = [*[POINTER] * 4, *[I64] * 7, POINTER, *reals]
    name = f"{outer.e.function.name}.step"
    e = internal(outer.e.function.module, name, kinds, outer.e.dtype, outer.e.unit)
    panel = Panel(e, {}, e.function.args[0], outer.group, constant(0), None)
    rows = _Rows(panel, rule, clips)
    sums = _sums(panel, rule, e.function.args[11])
    before = [*e.function.args[:4], *(e.load(place) for place in sums)]
    after = rows.in_blocks(before) if outer.group.masked else rows.one_by_one(before)
    for value, place in zip(after[4:], sums, strict=True):
        e.store(value, place)
    e.builder.ret_void()
    return e.function


class _Rows:
    """The body of that function.

    What goes from row to row, ``carried``, is where its parameters, moments and slopes are, and the sums.
    """

    def __init__(self, panel: Panel, rule: Rule, clips: bool) -> None:
        e = panel.e
        self.panel, self.rule, self.clips = panel, rule, clips
        self.stride, self.slopes_stride, self.n_rows, coefficients, decays, penalised, columns = (
            e.function.args[4:11]
        )
        panel.mask = panel.group.mask(e, columns)
        self.factors = [e.broadcast(number) for number in e.function.args[12:]]
        self.penalised = e.builder.icmp_unsigned("!=", penalised, constant(0))
        self.coefficients = _load_coefficients(e, e.pointer(coefficients), decays)
        self.settled = rule.program.settle(e, [None] * 4 + self.coefficients)

    def one_by_one(self, carried: Values) -> Values:
        """Each row is stored when it is done."""
        e = self.panel.e

        def turn(_: ir.Value, carried: Values) -> Values:
            new, sums = self._changed(carried)
            for field, values in new.items():
                self.panel.store(values, carried[field])
            return [*self._next(carried[:4]), *sums]

        return e.loop(constant(0), self.n_rows, 1, turn, carried)[1]

    def in_blocks(self, carried: Values) -> Values:
        """Some rows are stored together once all of them are done.

        A processor takes a vector that is stored in part for one that is stored whole; where rows lie closer
        together than that, it would have each row wait for the one before.
        """
        e, panel = self.panel.e, self.panel
        row_bytes = panel.group.vectors * e.unit.vector_bytes
        rooms = {field: e.room(BLOCK * row_bytes) for field in self.rule.written}

        def block(first: ir.Value, carried: Values) -> Values:
            left = e.builder.sub(self.n_rows, first)
            full = e.builder.icmp_signed("<", constant(BLOCK), left)
            n = e.builder.select(full, constant(BLOCK), left)

            def turn(row: ir.Value, carried: Values) -> Values:
                new, sums = self._changed(carried)
                for field, values in new.items():
                    e.store_row(values, e.at_row(rooms[field], constant(row_bytes), row))
                return [*self._next(carried[:4]), *sums]

            def store(row: ir.Value, _: Values) -> None:
                for field, room in rooms.items():
                    values = e.load_row(e.at_row(room, constant(row_bytes), row), panel.group.vectors)
                    panel.store(values, e.at_row(carried[field], self.stride, row))

            _, following = e.loop(constant(0), n, 1, turn, carried)
            e.loop(constant(0), n, 1, store)
            return following

        return e.loop(constant(0), self.n_rows, BLOCK, block, carried)[1]

    def _next(self, places: Values) -> Values:
        e = self.panel.e
        return [*(e.at(place, self.stride) for place in places[:3]), e.at(places[3], self.slopes_stride)]

    def _changed(self, carried: Values) -> tuple[dict[int, Values], Values]:
        """What the rule changes of a row, by its place in ``STATE``; and the sums."""
        e, rule = self.panel.e, self.rule
        weights, first, second, slopes = (self.panel.load(place) for place in carried[:4])
        sums = carried[4:]
        if rule.n_sums:
            strengths = self.factors[: rule.n_sums]
            changed = e.when(
                self.penalised, lambda: _penalise(e, weights, slopes, strengths, sums), [*slopes, *sums]
            )
            slopes, sums = changed[: len(slopes)], changed[len(slopes) :]
        if self.clips:
            slopes = [e.multiply(slope, self.factors[-1]) for slope in slopes]
        new = [
            rule.program.run(e, [*numbers, *self.coefficients], self.settled)
            for numbers in zip(weights, first, second, slopes, strict=True)
        ]
        return {field: [numbers[field] for numbers in new] for field in rule.written}, sums


def _penalise(e: Emitter, weights: Values, slopes: Values, strengths: Values, sums: Values) -> Values:
    """The gradient of loss and penalty, g + factor·l2·w + factor·l1·sign(w); the penalty is summed."""
    n, zero = len(weights), e.splat(0.0)
    squares, sizes = sums[:n], sums[n:]
    slopes = [e.multiply_add(strengths[0], w, slope) for w, slope in zip(weights, slopes, strict=True)]
    squares = [e.multiply_add(w, w, total) for w, total in zip(weights, squares, strict=True)]
    if sizes:
        sizes = [e.add(e.absolute(w), total) for w, total in zip(weights, sizes, strict=True)]
        for q, w in enumerate(weights):
            downhill = e.select(e.less(w, zero), e.negate(strengths[1]), zero)
            slopes[q] = e.add(slopes[q], e.select(e.less(zero, w), strengths[1], downhill))
    return [*slopes, *squares, *sizes]


def _load_coefficients(e: Emitter, address: ir.Value, decays: ir.Value) -> Values:
    """The rule's eight numbers, everywhere in a vector; no decay where this layer has none."""
    numbers = [e.load_real(e.at(address, k * e.itemsize)) for k in range(COEFFICIENTS)]
    there = e.builder.icmp_unsigned("!=", decays, constant(0))
    numbers[0] = e.builder.select(there, numbers[0], ir.Constant(e.real, 0.0))
    return [e.broadcast(number) for number in numbers]
