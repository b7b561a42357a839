"""One step of an optimizer's rule for rows of parameters, as functions that kernels of a module call.

A kernel gives a ``Step`` the slopes of a few rows at a time, of one group of columns. There is one function
for each kind of group. Whoever calls it, the same instructions change the parameters: a kernel that sums the
gradient itself gives the bits of one that reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from chainrule.engine.emit import DOUBLE, I64, POINTER, Emitter, Values, constant, internal
from chainrule.engine.trace import COEFFICIENTS, Program
from chainrule.engine.walks import Group, Panel, groups

__all__ = ["STATE", "VARIANTS", "Rule", "Step"]

VARIANTS = ("none", "l2", "l1")

# What a step changes: the fields of their addresses.
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


class Step:
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
        self.panel, self.rule, self.clips = panel, rule, clip is not None
        self.penalised = e.builder.icmp_unsigned("!=", panel.words["penalised"], constant(0))
        self.sums = e.room(_sums_bytes(panel, rule))
        for place in _sums(panel, rule, self.sums):
            e.store(e.splat(0.0), place)
        self.columns = e.builder.sub(panel.words["columns"], panel.first)
        self.constants = [
            e.from_step(panel.step, "coefficients"),
            panel.words["decays"],
            panel.words["penalised"],
            *(self._strength(name) for name in ("l2", "l1")[: rule.n_sums]),
            *([] if clip is None else [clip]),
        ]

    def _strength(self, name: str) -> ir.Value:
        """What the gradient of a penalty is multiplied by."""
        e, step = self.panel.e, self.panel.step
        return e.rounded(e.builder.fmul(e.double_from_step(step, "factor"), e.double_from_step(step, name)))

    def take(
        self,
        row: ir.Value,
        n_rows: ir.Value,
        slopes: ir.Value,
        slopes_stride: ir.Value,
        together: ir.Value | None = None,
    ) -> None:
        """Rows [row, row + n_rows), with their gradient at ``slopes``.

        Where ``together`` holds they are one long row, and their slopes are.
        """
        e, panel = self.panel.e, self.panel
        places = [*(panel.row(field, "stride", row) for field in STATE), slopes]
        if together is not None:
            n = e.builder.mul(n_rows, self.columns)
            one_row = _step_of_one_row(panel, self.rule, self.clips)
            e.when(together, lambda: e.call(one_row, [*places, n, *self.constants]))
            n_rows = e.builder.select(together, constant(0), n_rows)
        shape = [panel.words["stride"], slopes_stride, n_rows, self.columns, self.sums]
        function = _step_of_rows(panel, self.rule, panel.group, self.clips)
        e.call(function, [*places, *shape, *self.constants])

    def begin_together(self, n_rows: ir.Value) -> ir.Value:
        """Whether the rows are one long row: a matrix as narrow as this group, without gaps.

        A processor takes a vector that is stored in part for one that is stored whole, and would have each
        narrow row wait for the one before. The penalty is summed now, before anything is changed: in one
        long row, a lane is no column.
        """
        e, panel = self.panel.e, self.panel
        row_bytes = e.builder.mul(panel.words["columns"], constant(e.itemsize))
        together = e.builder.and_(
            e.builder.icmp_unsigned("==", panel.first, constant(0)),
            e.builder.icmp_unsigned("==", panel.words["stride"], row_bytes),
        )

        def turn(row: ir.Value, sums: Values) -> Values:
            return _added_penalties(e, panel.load(panel.row("weights", "stride", row)), sums)

        places = _sums(panel, self.rule, self.sums)
        if places:
            n_rows = e.builder.select(e.builder.and_(together, self.penalised), n_rows, constant(0))
            _, sums = e.loop(constant(0), n_rows, 1, turn, [e.splat(0.0)] * len(places))
            for value, place in zip(sums, places, strict=True):
                e.store(value, place)
        return together

    def report_penalties(self) -> None:
        """Add n_rows · factor · (½ l2 Σw² + l1 Σ|w|) to what has been reported of each column."""
        if not self.rule.n_sums:
            return
        e, panel = self.panel.e, self.panel
        n_rows = e.builder.sitofp(e.from_step(panel.step, "n_rows"), DOUBLE)
        share = e.builder.fmul(n_rows, e.double_from_step(panel.step, "factor"))
        l2 = e.builder.fmul(e.double_from_step(panel.step, "l2"), ir.Constant(DOUBLE, 0.5))
        weights = [l2, e.double_from_step(panel.step, "l1")][: self.rule.n_sums]
        reported = e.at(e.pointer(panel.words["penalties"]), e.builder.mul(panel.first, constant(8)))
        one_sum = _sums_bytes(panel, self.rule) // self.rule.n_sums

        def column(j: ir.Value, _: Values) -> None:
            place = e.at(self.sums, e.builder.mul(j, constant(e.itemsize)))
            total = e.word(reported, j, DOUBLE)
            for number, weight in enumerate(weights):
                value = e.widened(e.load_real(e.at(place, number * one_sum)))
                total = e.builder.fadd(total, e.builder.fmul(share, e.builder.fmul(weight, value)))
            e.builder.store(total, e.at(reported, e.builder.mul(j, constant(8))), align=8)

        most = constant(panel.group.vectors * e.lanes)
        columns = e.builder.select(e.builder.icmp_signed("<", self.columns, most), self.columns, most)
        e.loop(constant(0), e.builder.select(self.penalised, columns, constant(0)), 1, column)


def _sums_bytes(panel: Panel, rule: Rule) -> int:
    return rule.n_sums * panel.group.vectors * panel.e.unit.vector_bytes


def _sums(panel: Panel, rule: Rule, pointer: ir.Value) -> Values:
    """Where each vector of Σw² is kept, then each of Σ|w|."""
    vector_bytes = panel.e.unit.vector_bytes
    return [panel.e.at(pointer, place) for place in range(0, _sums_bytes(panel, rule), vector_bytes)]


# -- the functions ---------------------------------------------------------------------------------


def _step_of_one_row(outer: Panel, rule: Rule, clips: bool) -> ir.Function:
    """The step for numbers that lie one after the other, as many as there are, in all kinds of groups.

    ``f(weights, first, second, slopes, n, coefficients, decays, penalised, strengths ..., clip)``.
    """
    module, unit = outer.e.function.module, outer.e.unit
    name = f"step{'.clipped' if clips else ''}.together"
    if name in module.globals:
        return module.globals[name]
    kinds = [*[POINTER] * 4, *[I64] * 4, *[outer.e.real] * (rule.n_sums + clips)]
    e = internal(module, name, kinds, outer.e.dtype, unit)
    places, n, constants = e.function.args[:4], e.function.args[4], e.function.args[5:]
    sums = e.room(unit.tile[1] * _sums_bytes(outer, rule))  # which nobody reads
    first: ir.Value = constant(0)
    for group in groups(unit):
        function = _step_of_rows(outer, rule, group, clips)
        stride = constant(group.vectors * unit.vector_bytes)

        def rows(
            first: ir.Value,
            n_rows: ir.Value,
            function: ir.Function = function,
            stride: ir.Value = stride,
        ) -> None:
            there = [e.at(place, e.builder.mul(first, constant(e.itemsize))) for place in places]
            e.call(function, [*there, stride, stride, n_rows, e.builder.sub(n, first), sums, *constants])

        def one(first: ir.Value, _: Values, rows: Callable[[ir.Value, ir.Value], None] = rows) -> None:
            rows(first, constant(1))

        numbers = group.vectors * e.lanes
        if group == groups(unit)[0]:
            n_rows = e.builder.udiv(n, constant(numbers))
            rows(first, n_rows)
            first = e.builder.mul(n_rows, constant(numbers))
        else:
            first, _ = e.loop(first, e.builder.sub(n, constant(group.fewest(e.lanes) - 1)), numbers, one)
    e.builder.ret_void()
    return e.function


def _step_of_rows(outer: Panel, rule: Rule, group: Group, clips: bool) -> ir.Function:
    """The step for the numbers of one group of columns, row by row.

    ``f(weights, first, second, slopes, stride, stride of the slopes, n_rows, columns, sums, coefficients,
    decays, penalised, strengths ..., clip)``.

    Memory stands between a tile's sums and this function: a tile that went on in registers would be no
    faster, since the processor overlaps the two, and this machine code serves tiles of all heights.
    """
    module = outer.e.function.module
    name = f"step{'.clipped' if clips else ''}.{group.name}"
    if name in module.globals:
        return module.globals[name]
    kinds = [*[POINTER] * 4, *[I64] * 4, POINTER, *[I64] * 3, *[outer.e.real] * (rule.n_sums + clips)]
    e = internal(module, name, kinds, outer.e.dtype, outer.e.unit)
    places, (stride, slopes_stride, n_rows, columns, sums) = e.function.args[:4], e.function.args[4:9]
    panel = Panel(e, {}, places[0], group, constant(0), group.mask(e, columns))
    row = _Row(panel, rule, e.function.args[9:])

    def turn(_: ir.Value, carried: Values) -> Values:
        places, sums = carried[:4], carried[4:]
        new, sums = row.changed([panel.load(place) for place in places], sums)
        for field, values in new.items():
            panel.store(values, places[field])
        return [*(e.at(place, stride) for place in places[:3]), e.at(places[3], slopes_stride), *sums]

    sums_at = _sums(panel, rule, sums)
    _, carried = e.loop(constant(0), n_rows, 1, turn, [*places, *(e.load(place) for place in sums_at)])
    for value, place in zip(carried[4:], sums_at, strict=True):
        e.store(value, place)
    e.builder.ret_void()
    return e.function


class _Row:
    """What the rule makes of one row; ``constants`` are the last arguments of the function."""

    def __init__(self, panel: Panel, rule: Rule, constants: Values) -> None:
        e = panel.e
        self.e, self.rule = e, rule
        coefficients, decays, penalised, *factors = constants
        self.coefficients = _load_coefficients(e, e.pointer(coefficients), decays)
        self.settled = rule.program.settle(e, [None] * 4 + self.coefficients)
        self.penalised = e.builder.icmp_unsigned("!=", penalised, constant(0))
        factors = [e.broadcast(number) for number in factors]
        self.strengths, self.clip = factors[: rule.n_sums], factors[rule.n_sums :]

    def changed(self, row: list[Values], sums: Values) -> tuple[dict[int, Values], Values]:
        """What the rule changes of (weights, first, second, slopes), by place in ``STATE``; and the sums."""
        e, rule = self.e, self.rule
        weights, first, second, slopes = row
        if rule.n_sums:
            after = e.when(
                self.penalised,
                lambda: [*self._steeper(weights, slopes), *_added_penalties(e, weights, sums)],
                [*slopes, *sums],
            )
            slopes, sums = after[: len(slopes)], after[len(slopes) :]
        for clip in self.clip:
            slopes = [e.multiply(slope, clip) for slope in slopes]
        new = [
            rule.program.run(e, [*numbers, *self.coefficients], self.settled)
            for numbers in zip(weights, first, second, slopes, strict=True)
        ]
        return {field: [numbers[field] for numbers in new] for field in rule.written}, sums

    def _steeper(self, weights: Values, slopes: Values) -> Values:
        """The gradient of loss and penalty: g + factor·l2·w + factor·l1·sign(w)."""
        e, zero, l2 = self.e, self.e.splat(0.0), self.strengths[0]
        slopes = [e.multiply_add(l2, w, slope) for w, slope in zip(weights, slopes, strict=True)]
        for l1 in self.strengths[1:]:
            for q, w in enumerate(weights):
                downhill = e.select(e.less(w, zero), e.negate(l1), zero)
                slopes[q] = e.add(slopes[q], e.select(e.less(zero, w), l1, downhill))
        return slopes


def _added_penalties(e: Emitter, weights: Values, sums: Values) -> Values:
    """Σw², and Σ|w| where that is summed too, with these weights."""
    n = len(weights)
    squares = [e.multiply_add(w, w, total) for w, total in zip(weights, sums[:n], strict=True)]
    sizes = [e.add(e.absolute(w), total) for w, total in zip(weights, sums[n:], strict=False)]
    return [*squares, *sizes]


def _load_coefficients(e: Emitter, address: ir.Value, decays: ir.Value) -> Values:
    """The rule's eight numbers, everywhere in a vector; no decay where this layer has none."""
    numbers = [e.load_real(e.at(address, k * e.itemsize)) for k in range(COEFFICIENTS)]
    there = e.builder.icmp_unsigned("!=", decays, constant(0))
    numbers[0] = e.builder.select(there, numbers[0], ir.Constant(e.real, 0.0))
    return [e.broadcast(number) for number in numbers]
