"""A checkup in words, for a terminal of 100 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chainrule.health.diagnosis import LEARNED, Finding
from chainrule.health.evidence import Evidence
from chainrule.health.gates import BLIND_MARGIN, LEAST_GAIN, MEMORISED_ROWS, MEMORISED_SHARE, Sweep
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.proof import WORST_SCORE, Proof
from chainrule.health.rules import RULES
from chainrule.health.words import curvature_rows, flow_words, number

if TYPE_CHECKING:
    from chainrule.health.examination import Checkup

__all__ = [
    "OF_FLOW", "Verdict", "against_limit", "before_and_after", "gate_rows", "judged", "place", "remedies_of",
    "remedy_words", "score_name", "score_text", "sweep_words", "to_text", "training_words", "untried",
    "verdict_of", "verdict_sentence", "with_consequences",
]  # fmt: skip

WIDTH = 100
# Words such as "measured" stand in a column of this width.
NAMES = 11
SPARKS = "▁▂▃▄▅▆▇█"
MOST_REMEDIES = 3
PLACES = {"": "the whole network", "X": "X, the inputs", "y": "y, the targets"}
# Rules of a signal that shrinks or grows from layer to layer, which the Jacobians explain.
OF_FLOW = ("vanishing", "exploding")

# What a rule cannot be judged without. Others need the data and the network alone.
NEEDS = {
    "non_finite": ("ran",), "frozen": ("start",), "symmetry": ("start",), "exploding": ("start",),
    "vanishing": ("start",), "saturation": ("start",), "output_scale": ("start",),
    "dead_relu": ("start", "end"), "rate_high": ("swept",), "rate_low": ("swept",),
    "no_signal": ("memorised", "blind"), "overfitting": ("ran", "whole"),
}  # fmt: skip


def to_text(checkup: Checkup, proofs: Sequence[Proof] = ()) -> str:
    """A checkup in words: the verdict, what was found, what passed, and what could not be measured.

    Parameters
    ----------
    checkup : Checkup
    proofs : sequence of Proof
        What ``checkup.prescribe()`` gave; their numbers take the place of the findings' own.

    Returns
    -------
    str
        Lines of 100 characters at most.
    """
    evidence = checkup.evidence
    lines = _wrapped(verdict_sentence(checkup), "")
    lines += _section("Training", training_words(evidence))
    notes = [one for one in checkup.findings if not one.critical]
    for count, finding in enumerate((one for one in checkup.findings if one.critical), 1):
        lines += ["", *_finding(finding, evidence, proofs, f"{count}. ")]
    if notes:
        critical = len(notes) < len(checkup.findings)
        lines += ["", "Notes, not the cause as far as could be seen" if critical else "Notes"]
    for note in notes:
        lines += _finding(note, evidence, proofs, " - ")
    lines += _proofs(proofs)
    if evidence.curvature is not None:
        rows = curvature_rows(evidence.curvature, evidence.training.learning_rate)
        lines += _section("Curvature", "; ".join(f"{name} {value}" for name, value in rows))
    lines += _passed(checkup)
    lines += _missing(checkup)
    return "\n".join(line.rstrip() for line in lines) + "\n"


# ------------------------------------------------------------------------------------- the verdict


class Verdict(NamedTuple):
    """Whether a network learns.

    Attributes
    ----------
    state : str
        ``"learns"``, ``"learns_less"`` (than with a remedy that was tried), ``"memorises"`` (its rows and no
        others), ``"does_not_learn"`` or ``"unknown"``.
    cause : Finding or None
        The first critical one.
    score, constant : float
        Of the training, on rows held out if it has any, and of the best constant. NaN where it did not run.
    held_out : bool
        Whether ``score`` is of rows held out.
    """

    state: str
    cause: Finding | None
    score: float
    constant: float
    held_out: bool


def verdict_of(checkup: Checkup) -> Verdict:
    """Whether the network learns, from what was found and from how far its training came."""
    evidence = checkup.evidence
    cause = next((one for one in checkup.findings if one.critical), None)
    constant = evidence.training.constant_score
    measured = None if evidence.ran is None else evidence.ran.validation or evidence.ran.after
    score = float("nan") if measured is None else measured.score
    held_out = evidence.ran is not None and evidence.ran.validation is not None
    # Five points above a constant, or a quarter of the way from one that is nearly always right.
    learned = score >= constant + min(BLIND_MARGIN, (1 - constant) / 4)
    if not checkup.ok:
        state = "learns_less" if learned and not checkup.fails else "does_not_learn"
    elif learned:
        state = "learns"
    else:
        state = "memorises" if evidence.progress >= LEARNED and held_out else "unknown"
    return Verdict(state, cause, score, constant, held_out)


def score_name(evidence: Evidence) -> str:
    """What scores are: the accuracy, its mean over the classes where one is rare, or R²."""
    if not evidence.training.classify:
        return "R²"
    return "mean accuracy of the classes" if evidence.training.is_imbalanced else "accuracy"


def with_consequences(findings: Sequence[Finding]) -> Iterator[Finding]:
    """All findings, each before what follows from it."""
    for finding in findings:
        yield finding
        yield from with_consequences(finding.consequences)


def judged(checkup: Checkup) -> tuple[list[str], list[str]]:
    """Codes of the rules that do not hold, and of those that could not be judged."""
    held = {one.code for one in with_consequences(checkup.findings)}
    passed: list[str] = []
    unknown: list[str] = []
    for code in RULES:
        if code not in held:
            needed = (getattr(checkup.evidence, name) for name in NEEDS.get(code, ()))
            missing = any(one is None or one is False for one in needed)
            (unknown if missing else passed).append(code)
    return passed, unknown


def remedies_of(finding: Finding, proofs: Sequence[Proof] = ()) -> list[Proof]:
    """The remedies tried of a finding, the best first; those in ``proofs`` take the place of their likes."""
    better = {proof.code: proof for proof in proofs if proof.after}
    found = [better.get(proof.code, proof) for proof in finding.proofs]
    tried = {proof.code for proof in found}
    of_rule = RULES[finding.code].prescriptions if finding.code in RULES else ()
    found += [better[code] for code in of_rule if code in better and code not in tried]
    return sorted(found, key=lambda proof: -gain_of(proof))


def gain_of(proof: Proof) -> float:
    """A proof's gain; 0 of one that was not run."""
    return proof.gain if proof.after else 0.0


def verdict_sentence(checkup: Checkup) -> str:
    """Whether the network learns, in a sentence."""
    verdict, evidence = verdict_of(checkup), checkup.evidence
    cause = "" if verdict.cause is None else _cause(verdict.cause, evidence)
    rows = "rows held out" if verdict.held_out else "the rows to learn from"
    name = score_name(evidence)
    scored = "" if evidence.ran is None else f"{name} {score_text(verdict.score)} on {rows}"
    constant = f"always the same answer has {score_text(verdict.constant)}"
    if verdict.state == "learns":
        return f"It learns: {scored}{_so_far(evidence)}; {constant}."
    if verdict.state == "learns_less":
        return f"It learns, but less than it could: {cause}; {scored}."
    if verdict.state == "memorises" and evidence.ran is not None:
        own, other = score_text(evidence.ran.after.score), score_text(verdict.score)
        return f"It learns its rows by heart only: {name} {own} on them, {other} on {rows}; {constant}."
    if verdict.state == "does_not_learn":
        reason = cause or _no_cause(checkup)
        return f"It does not learn: {reason}; {scored}." if scored else f"It does not learn: {reason}."
    if evidence.ran is None:
        first = _cause(checkup.findings[0], evidence) if checkup.findings else "it was not trained"
        return f"Whether it learns is not known: {first}."
    return f"No fault was found, but it has not learned yet: {scored}{_so_far(evidence)}; {constant}."


def _cause(finding: Finding, evidence: Evidence) -> str:
    """The symptom, and in which layer; that a rate is the learning rate's need not be said."""
    where = place(finding, evidence)
    return f"{finding.symptom} ({where})" if where.startswith(("layer ", "parameter ")) else finding.symptom


def _no_cause(checkup: Checkup) -> str:
    tried = any(finding.proofs for finding in checkup.findings)
    return "no remedy that was tried helps" if tried else "the cause was not found"


def _so_far(evidence: Evidence) -> str:
    """How much of the training that is, if it is not all."""
    if evidence.ran is None or evidence.whole:
        return ""
    return f" after {evidence.ran.n_steps:,} of {evidence.training.n_steps:,} steps"


def training_words(evidence: Evidence) -> str:
    """How far the training came, in a line."""
    ran = evidence.ran
    if ran is None:
        return "not run"
    name, training = score_name(evidence), evidence.training
    of = "" if evidence.whole else f" of {training.n_steps:,}"
    words = (
        f"{training.optimizer_name}, rate {number(training.learning_rate)}, "
        f"{ran.n_steps:,}{of} steps: loss {number(ran.before.loss)} -> {number(ran.after.loss)} "
        f"(the best constant {number(evidence.baseline)})"
    )
    return f"{words}, {name} {score_text(ran.before.score)} -> {score_text(ran.after.score)}"


# ------------------------------------------------------------------------------------------------- findings


def _finding(finding: Finding, evidence: Evidence, proofs: Sequence[Proof], mark: str) -> list[str]:
    """The cause, its number, where, the equation, the fixes, and what follows from it."""
    indent = " " * len(mark)
    rows = [("measured", against_limit(finding)), ("where", place(finding, evidence))]
    rows.append(("rule", f"{finding.formula} ({finding.source})"))
    if finding.equation not in ("", finding.source):
        rows.append(("equation", finding.equation))
    if finding.code in OF_FLOW and (words := flow_words(evidence.spectrum)):
        rows.append(("factors", words))
    remedies = remedies_of(finding, proofs)
    helped = [one for one in remedies if one.after and one.helped]
    others = [one for one in remedies if one not in helped]
    rows += [("fix", remedy_words(one)) for one in helped[:MOST_REMEDIES]]
    if others and not helped:
        rows.append(("no help", remedy_words(others[0])))
    more = len(helped[MOST_REMEDIES:]) + len(others) - (not helped and bool(others))
    if more:
        rows.append(("tried", f"{more} more, {'that gain less' if helped else 'and none of them helps'}"))
    if not remedies:
        rows += [("to try", f"{title} (not run)") for title in untried(finding)[:1]]
    lines = _wrapped(f"{mark}{_sentence(finding.symptom)} [{finding.code}]", "", indent)
    lines += _wrapped(_sentence(finding.candidate.detail) + ".", indent) if finding.candidate.detail else []
    lines += _table(rows, indent)
    return lines + _consequences(finding, evidence, indent)


def _consequences(finding: Finding, evidence: Evidence, indent: str) -> list[str]:
    """What follows from a finding, one line each, deeper what follows from that."""
    lines: list[str] = []
    for one in finding.consequences:
        words = f"so also: {one.symptom} ({place(one, evidence)}), {against_limit(one)} [{one.code}]"
        lines += _wrapped(words, indent + "  ", indent + "    ")
        lines += _consequences(one, evidence, indent + "  ")
    return lines


def against_limit(finding: Finding) -> str:
    """The number and its limit.

    Examples
    --------
    >>> from chainrule.health.rules import Candidate
    >>> against_limit(Finding("vanishing", "", True, Candidate(14100662.3, 100), "", "", ""))
    '1.41e+07 > 100 (limit)'
    """
    measured, limit = finding.candidate.measured, finding.candidate.limit
    sign = ">" if measured > limit else "<" if measured < limit else "="
    return f"{number(measured)} {sign} {number(limit)} (limit)"


def place(finding: Finding, evidence: Evidence) -> str:
    """Where a finding is, in words."""
    where = finding.candidate.where
    layers = {layer.name for one in (evidence.start, evidence.end) if one is not None for layer in one.layers}
    if where and where in layers:
        return f"layer {where}"
    parameters = {name for name, _ in evidence.training.module.named_parameters()}
    return f"parameter {where}" if where in parameters else PLACES.get(where, where)


def untried(finding: Finding) -> list[str]:
    """What might help, of a finding that nothing was tried of."""
    codes = RULES[finding.code].prescriptions if finding.code in RULES else ()
    return [PRESCRIPTIONS[code].title for code in codes]


def remedy_words(proof: Proof) -> str:
    """A remedy with its proof: what it makes of the score."""
    if not proof.after:
        return f"{proof.title} (not run)"
    before, after = before_and_after(proof)
    seeds = f", mean of {len(proof.after)} starts" if len(proof.after) > 1 else ""
    return f"{proof.title}: {before} -> {after} on rows held out{seeds}"


def before_and_after(proof: Proof) -> tuple[str, str]:
    """The mean scores of a proof that was run; a negative accuracy stands for no number."""
    floor = 0.0 if proof.training.classify else -math.inf
    before, after = (float(np.mean(scores)) for scores in (proof.before, proof.after))
    return score_text(before if before >= floor else math.nan), score_text(
        after if after >= floor else math.nan
    )


def _proofs(proofs: Sequence[Proof]) -> list[str]:
    if not proofs:
        return []
    ran = any(proof.after for proof in proofs)
    lines = ["", "Remedies, each run beside the training as it is" if ran else "Remedies"]
    for count, proof in enumerate(proofs, 1):
        mark = f"{count:2d}. "
        lines += _wrapped(f"{mark}{_sentence(remedy_words(proof))}", "", " " * len(mark))
    return lines


# ------------------------------------------------------------------------------------- what passed


def _passed(checkup: Checkup) -> list[str]:
    evidence = checkup.evidence
    rows = gate_rows(evidence)
    lines = ["", "Gates"] if rows else []
    for title, outcome, words in rows:
        lines += _wrapped(f"   {outcome:<8} {title}: {words}", "", " " * 12)
    if evidence.swept is not None:
        swept = evidence.swept
        ends = f"{number(swept.rates[0])} {sparkline(swept)} {number(swept.rates[-1])}"
        lines += _section("Learning rates", f"{ends}: {sweep_words(swept)}")
    passed, _ = judged(checkup)
    if passed:
        lines += _section(
            f"Not found ({len(passed)} rules)", ", ".join(code.replace("_", " ") for code in passed)
        )
    return lines


def gate_rows(evidence: Evidence) -> list[tuple[str, str, str]]:
    """Each gate that was tried: what it asks, "passed" or "failed", and its numbers."""
    rows = []
    if evidence.memorised is not None:
        one = evidence.memorised
        share, most = _percent(one.share), _percent(MEMORISED_SHARE)
        words = f"loss {number(one.loss)}, {share} of a constant's; at most {most}"
        rows.append((f"it can memorise {MEMORISED_ROWS} examples", _outcome(one.passed), words))
    if evidence.swept is not None:
        swept, least = evidence.swept, _percent(LEAST_GAIN)
        words = f"{number(swept.best_rate)} takes off {_percent(swept.best_gain)}; at least {least}"
        if not np.isfinite(swept.best_gain):
            words = "none ends in a number"
        elif not swept.best_gain > 0:
            words = f"none does; at least {least} off"
        rows.append(("some learning rate makes the loss fall", _outcome(swept.passed), words))
    if evidence.blind is not None:
        blind = evidence.blind
        least = score_text(max(blind.shuffled, blind.constant) + BLIND_MARGIN)
        words = (
            f"{score_name(evidence)} {score_text(blind.real)}, with shuffled inputs "
            f"{score_text(blind.shuffled)}; at least {least}"
        )
        rows.append(("it looks at its inputs", _outcome(blind.passed), words))
    return rows


def _outcome(passed: bool) -> str:
    return "passed" if passed else "failed"


def sweep_words(swept: Sweep) -> str:
    """What the sweep says: the best rate, the good ones, and the training's own."""
    own = f"own {number(swept.rate)}"
    if not np.isfinite(min(swept.losses)):
        return f"none ends in a number; {own}"
    if not swept.best_gain > 0:
        return f"none makes the loss fall; {own}"
    low, high = number(min(swept.good_rates)), number(max(swept.good_rates))
    good = low if low == high else f"{low} to {high}"
    return f"best {number(swept.best_rate)}, good {good}; {own}"


def sparkline(swept: Sweep) -> str:
    """The losses as bars, half as high where a loss is what has to be beaten; × where there is none.

    Examples
    --------
    >>> sparkline(Sweep((0.1, 1.0, 10.0), (1.0, 0.0, float("inf")), 1.0, 1.0, 0.1))
    '▄▁×'
    """
    losses = np.array(swept.losses, np.float64)
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        return "×" * len(losses)
    reference = swept.reference if np.isfinite(swept.reference) else swept.baseline
    low = max(float(finite.min()), reference - 2 * abs(reference))
    # What has to be beaten is in the middle.
    high = reference + (reference - low) if reference > low else float(finite.max())
    steps = np.clip((losses - low) / ((high - low) or 1.0), 0, 1)
    return "".join(
        SPARKS[int(step * (len(SPARKS) - 1))] if np.isfinite(loss) else "×"
        for step, loss in zip(np.nan_to_num(steps), losses, strict=True)
    )


def _missing(checkup: Checkup) -> list[str]:
    notes = list(checkup.evidence.notes)
    _, unknown = judged(checkup)
    if unknown:
        notes.append(f"not judged for that: {', '.join(unknown).replace('_', ' ')}")
    if not notes:
        return []
    lines = ["", "Could not be measured"]
    for note in notes:
        lines += _wrapped(f"   {note}", "", "     ")
    return lines


# ------------------------------------------------------------------------------------------------- words


def score_text(score: float) -> str:
    """A score to two decimals; what is as bad as can be told is said so.

    Examples
    --------
    >>> score_text(0.9666), score_text(-1.0), score_text(float("nan"))
    ('0.97', '-1 or less', 'no number')
    """
    if math.isnan(score) or score == -math.inf:
        return "no number"
    return f"{WORST_SCORE:g} or less" if score <= WORST_SCORE else f"{round(score, 2) + 0.0:.2f}"


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return number(share)
    if abs(share) > 10:
        return "more than 1,000 %" if share > 0 else "less than -1,000 %"
    return f"{100 * share:.3g} %"


def _sentence(words: str) -> str:
    """The words with a capital letter, if they begin with a Latin one."""
    return words[:1].upper() + words[1:] if words[:1].isascii() else words


def _section(title: str, words: str) -> list[str]:
    return ["", *_wrapped(f"{title}: {words}", "", "   ")]


def _table(rows: Iterable[tuple[str, str]], indent: str) -> list[str]:
    lines: list[str] = []
    last = ""
    for name, words in rows:
        head = indent + f"{'' if name == last else name:<{NAMES}}"
        lines += _wrapped(head + words, "", " " * len(head))
        last = name
    return lines


def _wrapped(words: str, indent: str, more: str | None = None) -> list[str]:
    """Lines of 100 characters at most."""
    kept = len(words) - len(words.lstrip())
    return textwrap.wrap(
        words[kept:], WIDTH, initial_indent=indent + words[:kept], break_on_hyphens=False,
        subsequent_indent=indent if more is None else more,
    )  # fmt: skip
