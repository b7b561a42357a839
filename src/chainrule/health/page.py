"""A checkup as one HTML file that asks for nothing else, needs no script, and prints well."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from chainrule.health import figures
from chainrule.health.diagnosis import Finding
from chainrule.health.evidence import Evidence
from chainrule.health.gates import Sweep
from chainrule.health.proof import Proof
from chainrule.health.rules import RULES
from chainrule.health.text import (
    OF_FLOW,
    against_limit,
    before_and_after,
    gate_rows,
    judged,
    place,
    remedies_of,
    score_name,
    score_text,
    sweep_words,
    untried,
    verdict_of,
    verdict_sentence,
    with_consequences,
)
from chainrule.health.words import curvature_rows, flow_words, number
from chainrule.report.pieces import figures_of, section, table_of
from chainrule.report.style import STYLE
from chainrule.version import __version__

if TYPE_CHECKING:
    from chainrule.health.examination import Checkup

__all__ = ["to_page"]

MORE_STYLE = """
.bad{border-left-color:var(--second)}
article{border:1px solid var(--grid);border-radius:8px;padding:.2em 1em .8em;margin:1em 0}
article article{margin:.6em 0;background:var(--cell)}
h3{font-size:1.05rem;margin:.6em 0 .3em;overflow-wrap:anywhere}
h4{font-size:.95rem;margin:.9em 0 .2em}
.tag{font-size:.75rem;font-weight:600;border:1px solid currentColor;border-radius:4px;padding:.05em .4em;
margin-left:.5em;white-space:nowrap;color:var(--muted)}
.tag.critical{color:var(--second)}
dl{display:grid;grid-template-columns:minmax(5.5em,auto) 1fr;gap:.15em .9em;margin:.5em 0;font-size:.92rem}
dt{color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere}
.words{color:var(--muted);font-size:.9rem}
.blue{color:var(--accent)}
.orange{color:var(--second)}
footer{color:var(--muted);font-size:.85rem;margin:2em 0 1em}
.short{columns:18em;font-size:.92rem}
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
svg .ink{fill:var(--ink)}
svg .cellnumber{font-size:10.5px}
svg .muted.stroke{fill:none;stroke:var(--muted)}
"""
MOST_BARS = 8


def to_page(checkup: Checkup, proofs: Sequence[Proof] = ()) -> str:
    """The page of a checkup.

    Parameters
    ----------
    checkup : Checkup
    proofs : sequence of Proof
        What ``checkup.prescribe()`` gave; their numbers take the place of the findings' own.

    Returns
    -------
    str
        A document that is complete in itself.
    """
    sections = [
        section("Findings", _findings(checkup, proofs)),
        section("Proofs", _proofs(checkup, proofs)),
        section("The training", _training(checkup.evidence)),
        section("Inside the network", _inside(checkup.evidence)),
        section("Curvature", _curvature(checkup.evidence)),
        section("The gates, and what was not found", _passed(checkup)),
        section("What could not be measured", _missing(checkup)),
    ]
    kind = "verdict" if verdict_of(checkup).state == "learns" else "verdict bad"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # Says to the browser, too, that the page asks for nothing.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Checkup</title><style>{STYLE}{MORE_STYLE}</style></head><body><main><h1>Checkup</h1>"
        f'<p class="{kind}">{escape(verdict_sentence(checkup))}</p>'
        + "\n".join(sections)
        + f"<footer>chainrule {escape(__version__)}</footer></main></body></html>\n"
    )


# ---------------------------------------------------------------------------------------- sections


def _findings(checkup: Checkup, proofs: Sequence[Proof]) -> str:
    if not checkup.findings:
        return "<p>None.</p>"
    return "".join(_finding(one, checkup.evidence, proofs) for one in checkup.findings)


def _finding(finding: Finding, evidence: Evidence, proofs: Sequence[Proof], under: bool = False) -> str:
    """A finding with its proofs, and in it what follows from it."""
    kind, said = ("critical", "cause") if finding.critical else ("", "note")
    said = "consequence" if under else said
    detail = f"<p>{_sentence(finding.candidate.detail)}.</p>" if finding.candidate.detail else ""
    rows = [("measured", against_limit(finding)), ("where", place(finding, evidence))]
    rows.append(("rule", finding.formula))
    if finding.equation:
        rows.append(("equation", finding.equation))
    if finding.code in OF_FLOW and (words := flow_words(evidence.spectrum)):
        rows.append(("factors", words))
    rows.append(("source", finding.source))
    follows = "".join(_finding(one, evidence, proofs, True) for one in finding.consequences)
    return (
        f'<article><h3>{_sentence(finding.symptom)}<span class="tag {kind}">{said}</span></h3>{detail}'
        f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(words)}</dd>' for name, words in rows)}</dl>"
        + ("" if under else _remedies(finding, evidence, proofs))
        + (f"<h4>What follows from it</h4>{follows}" if follows else "")
        + "</article>"
    )


def _remedies(finding: Finding, evidence: Evidence, proofs: Sequence[Proof]) -> str:
    found = remedies_of(finding, proofs)
    if not found:
        titles = untried(finding)
        listed = "; ".join(titles)
        return f'<p class="words">To try, not run: {escape(listed)}.</p>' if titles else ""
    header = ["remedy", "before", "after", "helps"]
    note = f'<p class="words">{escape(_sentence_text(score_name(evidence)))} on rows held out.</p>'
    return table_of(header, map(_proof_row, found), numeric=3) + note


def _proof_row(proof: Proof) -> list[str]:
    if not proof.after:
        return [proof.title, "", "", "not run"]
    return [proof.title, *before_and_after(proof), "yes" if proof.helped else "no"]


def _proofs(checkup: Checkup, proofs: Sequence[Proof]) -> str:
    """Bars of what was prescribed, or else of what was tried for the findings."""
    if not proofs:
        tried = {
            proof.code: proof for one in with_consequences(checkup.findings) for proof in remedies_of(one)
        }
        proofs = sorted((one for one in tried.values() if one.after), key=lambda one: -one.gain)
    evidence = checkup.evidence
    constant = verdict_of(checkup).constant
    figure = figures.proof_bars(proofs[:MOST_BARS], constant, score_name(evidence))
    if figure is None:
        return ""
    words = (
        "Each remedy was run from the same start as the training without it. The dashed line is the score of "
        "always the same answer."
    )
    if any(len(proof.after) > 1 for proof in proofs):
        words += " A bar is the mean over several starts, a point is one of them."
    return f"<p>{words}</p>" + figures_of([("Before and after", figure)])


def _training(evidence: Evidence) -> str:
    training, ran = evidence.training, evidence.ran
    shown = [("rows and columns to learn from", f"{training.X.shape[0]:,} × {training.X.shape[1]:,}")]
    shown.append(("optimizer", f"{training.optimizer_name}, rate {number(training.learning_rate)}"))
    shown.append(("loss of the best constant", number(evidence.baseline)))
    drawn = []
    if ran is not None:
        steps = f"{ran.n_steps:,}" if evidence.whole else f"{ran.n_steps:,} of {training.n_steps:,}"
        shown.append(("steps run", steps))
        shown.append(("loss", f"{number(ran.before.loss)} → {number(ran.after.loss)}"))
        name = f"{score_name(evidence)} on the rows to learn from"
        shown.append((name, f"{score_text(ran.before.score)} → {score_text(ran.after.score)}"))
        if ran.validation is not None:
            shown.append((f"{score_name(evidence)} on rows held out", score_text(ran.validation.score)))
        curve = figures.loss_curve(ran.losses, ran.before.loss, evidence.baseline)
        drawn.append(("Loss after each epoch", curve))
    swept = evidence.swept
    if swept is not None:
        drawn.append(("Loss after 40 steps with each learning rate", figures.sweep_curve(swept)))
    note = "" if swept is None else _sweep_note(swept)
    return table_of(["", ""], map(list, shown), numeric=1) + figures_of(drawn) + note


def _sweep_note(swept: Sweep) -> str:
    return (
        f'<p class="words">Learning rates: {escape(sweep_words(swept))}. In the figure the band is where '
        "rates are good, and × is off the scale or no number.</p>"
    )


def _inside(evidence: Evidence) -> str:
    moments = {"start": evidence.start, "early": evidence.early, "end": evidence.end}
    drawn = [
        ("Signal, error signal and gradient", figures.heat_map("Signals by layer", figures.SIGNAL, moments)),
        ("Units, in percent", figures.heat_map("Units by layer", figures.UNITS, moments)),
        ("How the error signal flows back", figures.gradient_flow(moments)),
    ]
    if evidence.spectrum is not None:
        drawn.append(("Jacobian spectrum", figures.spectra(evidence.spectrum)))
    shown = figures_of(drawn)
    if not shown:
        return ""
    steps = ", ".join(f"{name} is step {one.step:,}" for name, one in moments.items() if one is not None)
    return shown + (
        f'<p class="words">{escape(_sentence_text(steps))}. <span class="blue">Blue</span> is larger and '
        '<span class="orange">orange</span> smaller: h than 1, δ and gradients than '
        "the last layer's at the start. Of units, the more orange the worse. Dead: ReLUs that give 0 for "
        "every row. Saturated: values where the activation is flat. Spread: how much of z depends on the "
        "inputs.</p>"
    )


def _curvature(evidence: Evidence) -> str:
    if evidence.curvature is None:
        return ""
    rows = map(list, curvature_rows(evidence.curvature, evidence.training.learning_rate))
    note = '<p class="words">Of the loss where the training ended, in evaluation mode.</p>'
    return table_of(["", ""], rows, numeric=1) + note


def _passed(checkup: Checkup) -> str:
    rows = [[outcome, title, words] for title, outcome, words in gate_rows(checkup.evidence)]
    table = table_of(["gate", "", ""], rows, numeric=0) if rows else ""
    passed, _ = judged(checkup)
    listed = "".join(f"<li>{escape(RULES[code].symptom)}</li>" for code in passed)
    return table + (f'<h4>Looked for and not found</h4><ul class="short">{listed}</ul>' if listed else "")


def _missing(checkup: Checkup) -> str:
    _, unknown = judged(checkup)
    notes = [*checkup.evidence.notes]
    if unknown:
        symptoms = "; ".join(RULES[code].symptom for code in unknown)
        notes.append(f"not judged for that: {symptoms}")
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>" if notes else ""


# ------------------------------------------------------------------------------------------ pieces


def _sentence(words: str) -> str:
    return escape(_sentence_text(words))


def _sentence_text(words: str) -> str:
    return words[:1].upper() + words[1:] if words[:1].isascii() else words
