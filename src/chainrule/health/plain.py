"""A checkup as plain types, for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.health.curvature import Curvature
from chainrule.health.diagnosis import Finding
from chainrule.health.evidence import Evidence
from chainrule.health.gates import (
    BLIND_MARGIN,
    LEAST_GAIN,
    MEMORISED_SHARE,
    InputBlind,
    Memorised,
    Sweep,
)
from chainrule.health.jacobians import JacobianSpectrum, Spectrum
from chainrule.health.proof import Proof
from chainrule.health.rules import RULES
from chainrule.health.telemetry import Snapshot
from chainrule.health.text import judged, remedies_of, score_name, verdict_of, verdict_sentence
from chainrule.health.trainings import Measured
from chainrule.version import __version__

if TYPE_CHECKING:
    from chainrule.health.examination import Checkup

__all__ = ["to_plain"]

# Of the dictionary's keys and what they mean; a reader may rely on it.
FORMAT_VERSION = 1


def to_plain(checkup: Checkup, proofs: Sequence[Proof] = ()) -> dict[str, Any]:
    """A checkup as dictionaries, lists, strings, booleans and finite numbers, ``None`` for other numbers.

    Parameters
    ----------
    checkup : Checkup
    proofs : sequence of Proof
        What ``checkup.prescribe()`` gave.

    Returns
    -------
    dict
        ``json.dumps(..., allow_nan=False)`` takes it.
    """
    evidence = checkup.evidence
    passed, unknown = judged(checkup)
    gates = _gates(evidence)
    verdict = verdict_of(checkup)
    plain: dict[str, Any] = _finite({
        "format": FORMAT_VERSION,
        "version": __version__,
        "verdict": {
            "ok": checkup.ok,
            "fails": checkup.fails,
            "state": verdict.state,
            "cause": None if verdict.cause is None else verdict.cause.code,
            "sentence": verdict_sentence(checkup),
            "score": verdict.score,
            "constant_score": verdict.constant,
            "score_name": score_name(evidence),
            "held_out": verdict.held_out,
        },
        "findings": [_finding(one, proofs) for one in checkup.findings],
        "gates": gates,
        "sweep": _sweep_curve(evidence.swept),
        "training": _training(evidence),
        "inputs": asdict(evidence.inputs),
        "targets": asdict(evidence.targets),
        "snapshots": {name: _snapshot(getattr(evidence, name)) for name in ("start", "early", "end")},
        "spectrum": None if evidence.spectrum is None else _spectrum(evidence.spectrum),
        "curvature": None if evidence.curvature is None else _curvature(evidence.curvature),
        "passed": {"gates": [name for name, one in gates.items() if one and one["passed"]], "rules": passed},
        "not_judged": unknown,
        "notes": list(evidence.notes),
        "proofs": [_proof(proof) for proof in proofs],
    })  # fmt: skip
    return plain


# ------------------------------------------------------------------------------------------------- pieces


def _finding(finding: Finding, proofs: Sequence[Proof]) -> dict[str, Any]:
    return {
        "code": finding.code,
        "symptom": finding.symptom,
        "critical": finding.critical,
        "measured": finding.candidate.measured,
        "limit": finding.candidate.limit,
        "where": finding.candidate.where,
        "detail": finding.candidate.detail,
        "late": finding.candidate.late,
        "equation": finding.equation,
        "formula": finding.formula,
        "source": finding.source,
        "prescriptions": list(RULES[finding.code].prescriptions) if finding.code in RULES else [],
        "remedies": [_proof(proof) for proof in remedies_of(finding, proofs)],
        "consequences": [_finding(one, proofs) for one in finding.consequences],
    }


def _proof(proof: Proof) -> dict[str, Any]:
    """Means over the seeds, and the scores of each; ``None`` and empty where a remedy was not run."""
    ran = bool(proof.after)
    return {
        "code": proof.code,
        "title": proof.title,
        "before": np.mean(proof.before) if ran else None,
        "after": np.mean(proof.after) if ran else None,
        "gain": proof.gain if ran else None,
        "helped": proof.helped if ran else None,
        "before_each": list(proof.before),
        "after_each": list(proof.after),
        "steps": proof.n_steps,
    }


def _gates(evidence: Evidence) -> dict[str, dict[str, Any] | None]:
    return {
        "memorise": _memorised(evidence.memorised),
        "sweep": _swept(evidence.swept),
        "input_blind": _blind(evidence.blind),
    }


def _memorised(gate: Memorised | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {**asdict(gate), "share": gate.share, "limit": MEMORISED_SHARE, "passed": gate.passed}


def _swept(gate: Sweep | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {
        "best_gain": gate.best_gain,
        "limit": LEAST_GAIN,
        "best_rate": gate.best_rate if np.isfinite(min(gate.losses)) else None,
        "good_rates": list(gate.good_rates) if gate.best_gain > 0 else [],
        "ratio": gate.ratio,
        "passed": gate.passed,
    }


def _blind(gate: InputBlind | None) -> dict[str, Any] | None:
    return None if gate is None else {**asdict(gate), "limit": BLIND_MARGIN, "passed": gate.passed}


def _sweep_curve(gate: Sweep | None) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {**asdict(gate), "reference": gate.reference}


def _training(evidence: Evidence) -> dict[str, Any]:
    training, ran = evidence.training, evidence.ran
    return {
        "loss": loss_name(training.loss),
        "optimizer": training.optimizer_name,
        "learning_rate": training.learning_rate,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
        "n_rows": len(training.X),
        "n_columns": training.X.shape[1],
        "n_steps": training.n_steps,
        "n_steps_run": 0 if ran is None else ran.n_steps,
        "whole": evidence.whole,
        "baseline_loss": evidence.baseline,
        "perfect_loss": evidence.perfect_loss,
        "constant_loss": evidence.constant_loss,
        "accumulates": evidence.accumulates,
        "progress": evidence.progress,
        "losses": [] if ran is None else list(ran.losses),
        "before": _measured(None if ran is None else ran.before),
        "after": _measured(None if ran is None else ran.after),
        "validation": _measured(None if ran is None else ran.validation),
    }


def loss_name(loss: Any) -> str:
    """What a loss is called: its name, its class, or a function's name."""
    if isinstance(loss, str):
        return loss
    name = str(getattr(loss, "__name__", type(loss).__name__))
    return "a function of the user's" if name == "<lambda>" else name


def _measured(measured: Measured | None) -> dict[str, Any] | None:
    return None if measured is None else asdict(measured)


def _snapshot(snapshot: Snapshot | None) -> dict[str, Any] | None:
    return None if snapshot is None else asdict(snapshot)


def _spectrum(spectrum: JacobianSpectrum) -> dict[str, Any]:
    """Singular values, means over the examples, and the factors of δ from layer to layer."""

    def one(found: Spectrum) -> dict[str, Any]:
        values = found.singular_values.mean(axis=0)
        return {
            "name": found.name,
            "shape": found.shape,
            "exact": found.exact,
            "singular_values": list(values),
        }

    flow = spectrum.flow
    names = ("rms", "ratio", "weight_factor", "derivative_factor", "gain")
    return {
        "layers": [one(layer) for layer in spectrum.layers],
        "end_to_end": one(spectrum.end_to_end),
        "flow": None if flow is None else {name: list(getattr(flow, name)) for name in names},
    }


def _curvature(found: Curvature) -> dict[str, Any]:
    return {
        "n_parameters": found.n_parameters,
        "loss": found.loss,
        "gradient_norm_squared": found.gradient_norm_squared,
        "top": list(found.top),
        "lowest": list(found.lowest),
        "trace": found.trace,
        "trace_standard_error": found.trace_standard_error,
        "index": found.index,
        "is_exact": found.is_exact,
        "largest_stable_learning_rate": found.largest_stable_learning_rate,
    }


def _finite(value: Any) -> Any:
    """Plain types all the way down, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return number + 0.0 if np.isfinite(number) else None
