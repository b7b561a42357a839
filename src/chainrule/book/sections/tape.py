"""The tape: what ``loss.backward()`` does, watched."""

from __future__ import annotations

from chainrule.book import diagrams
from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.tape import (
    GraphNode,
    Memory,
    Snippet,
    Walk,
    chapter_snippet,
    doubled,
    memory_of_a_walk,
    random_walk,
    small_graph,
    snippet_error,
)
from chainrule.book.experiments.tape_promises import (
    Accumulated,
    ChangedInPlace,
    SecondPass,
    accumulate,
    behind_the_tape,
    change_in_place,
    second_passes,
)
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.tape.graph import Node, changed_in_place, walk_back
from chainrule.tape.primitives import products

__all__ = ["section"]

# A walk that formed a Jacobian matrix would hold all of it; one that does not holds far less than a tenth.
_FAR_LESS = 0.1


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    import numpy as np

    single, double = chapter_snippet(), chapter_snippet(dtype=np.float64)
    walks = tuple(random_walk(seed) for seed in range(effort.choose(full=300, quick=30)))
    graph, memory = small_graph(), memory_of_a_walk()
    accumulated, second = accumulate(), second_passes()
    changes, unseen = change_in_place(), behind_the_tape()
    return Section(
        "tape",
        "The tape: what loss.backward() does",
        "7",
        (
            Words(
                "The chapter ends with a few lines of PyTorch: a network of widths 784, 128 and 10 with ReLU "
                "between, cross-entropy on its raw outputs, a batch of "
                f"{len(single.batch[1])}, `loss.backward()`, and the norm of each parameter's gradient. Here "
                "they are on chainrule's tape, which has the same names."
            ),
            Code(chapter_snippet, "The lines in the middle are the chapter's."),
            _snippet_table(single),
            Check("The tape's gradients against `chainrule.backprop`, float32", snippet_error(single), 1e-5),
            Check("The same in float64", snippet_error(double), 1e-12),
            Words(
                "A tensor that requires a gradient remembers which operation made it, and of what. That is "
                "the tape: a graph, which `backward` walks from the loss to the leaves, against the arrows."
            ),
            _graph_figure(graph),
            Code(walk_back, "The walk: of the nodes that wait, the one made last comes next."),
            _doubled_check(),
            _walk_check(walks),
            _walk_verdict(walks),
            Words(
                "A node is given the cotangent of its output, $g = \\partial\\mathcal{L}/\\partial y$, and "
                "hands each input a product with it. For a linear layer the products are equations (5) to "
                "(7)."
            ),
            Equation(
                r"\frac{\partial \mathcal{L}}{\partial x} = J^T g, \qquad J = \frac{\partial y}{\partial x}"
            ),
            Code(products._linear_below, "For its input: the product in (5)."),
            Code(products._linear_weight, "For its weights: (6)."),
            _memory_table(memory),
            _memory_verdict(memory),
            _accumulated_verdict(accumulated),
            Words(
                "Once a node has been walked, what it had kept for that is let go. So a second walk through "
                "the same graph cannot be made, unless the first is told to retain it."
            ),
            Code(Node.gradients, "Where a freed graph is refused."),
            _second_table(second),
            *_second_verdicts(second),
            Words(
                "What a node has kept must still be what it was. Every tensor counts its changes; a node "
                "notes the count, and looks again before it uses the value."
            ),
            Code(changed_in_place, "What is then said."),
            _changes_table(changes),
            _changes_verdict(changes),
            Words(
                "The count is kept by the tensor's own operations. Who writes to the NumPy array behind a "
                "tensor, `x.data += 1`, is not seen, as in PyTorch: for sin x the gradient was then "
                + (
                    f"off by {unseen.error:.2g}, without a word."
                    if not unseen.message
                    else "refused all the same."
                )
            ),
        ),
        {
            "snippet": single,
            "walks": walks,
            "graph": graph,
            "memory": memory,
            "accumulated": accumulated,
            "second": second,
            "changes": (*changes, unseen),
        },
    )


def _snippet_table(found: Snippet) -> Table:
    return Table(
        ("parameter", "shape", "gradient's norm"),
        tuple((name, str(found.shapes[name]), f"{found.norms[name]:.4f}") for name in found.shapes),
        numeric=2,
        caption=f"After one backward pass on random inputs; the loss is {found.loss:.4f}. The numbers before "
        "the dot are places in the `Sequential`; at 1 is the ReLU, which has no parameters.",
    )


def _graph_figure(graph: tuple[GraphNode, ...]) -> Figure:
    nodes = [
        diagrams.Recorded(
            one.name, f"{one.value:.2f} | {one.gradient:.2f}".replace("-", "−"), one.inputs, one.is_leaf
        )
        for one in graph
    ]
    w, b = graph[0], graph[1]
    return Figure(
        "recorded-graph",
        "The record of ½ (σ(w x + b) − y)² + ½ w²",
        diagrams.record("The operations of a small expression as the tape recorded them", nodes),
        "Each box has its value, and behind it the gradient that came back to it. Constants are not "
        f"recorded. Two arrows leave w, so two gradients arrive there and are added: {w.gradient:.3f}; "
        f"b has one: {b.gradient:.3f}.".replace("-", "−"),
    )


def _doubled_check(times: int = 50) -> Check:
    y, (x, *_) = doubled(times)
    y.backward()
    found = x.grad.item() if x.grad is not None else float("nan")
    return Check(
        f"y ← y + y, {times} times: 2 to the power {times} paths over {times} operations; the gradient "
        "against that power",
        abs(found / 2.0**times - 1),
        0.0,
    )


def _walk_check(walks: tuple[Walk, ...]) -> Check:
    return Check(
        f"The gradients of {len(walks)} random expressions of {walks[0].nodes} operations, in which results "
        "are used again and again, against derivatives by complex steps",
        max(one.error for one in walks),
        1e-12,
    )


def _walk_verdict(walks: tuple[Walk, ...]) -> Verdict:
    once = [one for one in walks if one.visits == one.visited == one.nodes and one.early == 0]
    paths = [one.paths for one in walks]
    return Verdict(
        claim="Backward visits every recorded operation once, after all that used its result",
        section="7",
        expected="as many visits as operations, none before a visit to an operation that read the result",
        measured=f"so in {len(once)} of {len(walks)} random expressions; "
        f"{sum(one.visits for one in walks):,} visits to {sum(one.nodes for one in walks):,} operations, "
        f"{sum(one.early for one in walks)} of them early",
        spread=f"{min(paths):,} to {max(paths):,} paths from a loss to its leaves",
        verdict=Judgement.holds if len(once) == len(walks) else Judgement.fails,
    )


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.2f} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"


def _memory_table(memory: tuple[Memory, ...]) -> Table:
    return Table(
        ("walk back through", "its Jacobian", "the walk"),
        tuple((one.name, _megabytes(one.jacobian), _megabytes(one.peak)) for one in memory),
        numeric=2,
        caption="Bytes of the Jacobian matrix, had it been formed, and the most that the walk had allocated "
        "at once, its results included.",
    )


def _memory_verdict(memory: tuple[Memory, ...]) -> Verdict:
    shares = [one.peak / one.jacobian for one in memory]
    return Verdict(
        claim="Every step back is a vector–Jacobian product, and no Jacobian is formed",
        section="7",
        expected=f"less than {_FAR_LESS:.0%} of the Jacobian's memory",
        measured=f"{max(shares):.2%} of it at most",
        spread=f"{min(shares):.1e} to {max(shares):.1e} over {len(memory)} operations",
        verdict=Judgement.holds if max(shares) < _FAR_LESS else Judgement.fails,
    )


def _accumulated_verdict(found: Accumulated) -> Verdict:
    expected = tuple(float(number) for number in range(1, len(found.passes) + 1))
    right = max(abs(one - two) for one, two in zip(found.passes, expected, strict=True)) < 1e-12
    anew = abs(found.after_zero_grad - 1) < 1e-12
    return Verdict(
        claim="Gradients accumulate over backward passes until zero_grad",
        section="7",
        expected=f"{', '.join(f'{one:g}' for one in expected)} times the gradient after as many passes, and "
        "1 time after `zero_grad` and one more",
        measured=f"{', '.join(f'{one:g}' for one in found.passes)} times; then {found.after_zero_grad:g}",
        spread="exact",
        verdict=Judgement.holds if right and anew else Judgement.fails,
    )


def _second_table(second: tuple[SecondPass, ...]) -> Table:
    return Table(
        ("expression", "second pass", "retained"),
        tuple(
            (
                one.name,
                "RuntimeError" if one.message else f"{one.times:g} times",
                f"{one.retained_times:g} times",
            )
            for one in second
        ),
        numeric=2,
        caption="The gradient after two passes, as a multiple of that after one; 2 where the second was "
        "right. The gradient of a sum needs no value, so nothing was kept, and nothing was freed.",
    )


def _second_verdicts(second: tuple[SecondPass, ...]) -> list[Verdict]:
    refused = [one for one in second if "retain_graph=True" in one.message]
    silent = [one for one in second if not one.message]
    if len(refused) == len(second):
        freed = Judgement.holds
    elif refused and all(abs(one.times - 2) < 1e-12 for one in silent):
        freed = Judgement.depends
    else:
        freed = Judgement.fails
    kept = [one for one in second if abs(one.retained_times - 2) < 1e-12]
    return [
        Verdict(
            claim="A second backward through the same graph raises RuntimeError and says how to keep it",
            section="7",
            expected="a RuntimeError that names `retain_graph`, for every expression",
            measured=f"so for {len(refused)} of {len(second)}; not for "
            f"{', '.join(one.name for one in silent) or 'none'}, for which no value was kept and the second "
            "gradient is right",
            spread="exact",
            verdict=freed,
        ),
        Verdict(
            claim="With retain_graph the graph can be walked again",
            section="7",
            expected="twice the gradient after two passes",
            measured=f"so for {len(kept)} of {len(second)} expressions",
            spread="exact",
            verdict=Judgement.holds if len(kept) == len(second) else Judgement.fails,
        ),
    ]


def _changes_table(changes: tuple[ChangedInPlace, ...]) -> Table:
    def became(one: ChangedInPlace) -> str:
        if one.message:
            return "refused" if one.is_named else "refused, without its name"
        return "right" if one.is_safe else f"wrong by {one.error:.1g}"

    rows: dict[str, dict[str, str]] = {}
    for one in changes:
        rows.setdefault(one.name, {})[one.changed] = became(one)
    return Table(
        ("operation", "input changed", "output changed"),
        tuple((name, row["input"], row["output"]) for name, row in rows.items()),
        caption="What became of the gradient when the input of an operation, or its output, was changed in "
        "place before `backward`. Refused, by name, are changes to a value that the way back reads: the "
        "input of sin, of which it takes the cosine; the output of exp, which is its own derivative.",
    )


def _changes_verdict(changes: tuple[ChangedInPlace, ...]) -> Verdict:
    refused = [one for one in changes if one.message]
    unsafe = [one for one in changes if not one.is_safe]
    return Verdict(
        claim="An in-place operation on a value that backward needs is detected and the operation named",
        section="7",
        expected="a RuntimeError with the operation's name, or a gradient that the change leaves right",
        measured=f"{len(refused)} of {len(changes)} changes refused, {sum(one.is_named for one in refused)} "
        f"of them by name; of the others {len(unsafe)} gradients wrong",
        spread="exact",
        verdict=Judgement.holds if refused and not unsafe else Judgement.fails,
    )
