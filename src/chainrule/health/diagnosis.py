"""From evidence to findings: which of the rules that hold is the cause, what follows, what is a note.

A cause is not argued but tried. The remedies of each rule that holds are run, and the rule whose remedy
brings most is the cause; what it is known to bring about is put under it. Without a remedy that helps, and
with every gate passed, what holds is a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chainrule.health.evidence import Clock, Evidence
from chainrule.health.proof import Proof, Trial
from chainrule.health.rules import RULES, Rule
from chainrule.health.symptoms import Candidate

__all__ = ["Finding", "candidates", "diagnose"]

# Remedies that bring this share of the best are as good.
AS_GOOD = 0.7
# A training that has come so far below the baseline's loss learns.
LEARNED = 0.3
# After fewer steps nothing is said of how far a training comes.
LEAST_STEPS = 200


@dataclass
class Finding:
    """What was found.

    Attributes
    ----------
    code : str
        Of the rule.
    symptom : str
    critical : bool
        Whether the network fails to learn because of it; else it is a note.
    candidate : Candidate
        The number, its limit, and where.
    equation, formula, source : str
        Of the rule.
    proofs : list of Proof
        The remedies that were tried, the best first.
    consequences : list of Finding
        What follows from it.
    """

    code: str
    symptom: str
    critical: bool
    candidate: Candidate
    equation: str
    formula: str
    source: str
    proofs: list[Proof] = field(default_factory=list)
    consequences: list[Finding] = field(default_factory=list)

    @property
    def gain(self) -> float:
        """What the best remedy brought; 0 where none did."""
        return max([0.0, *(proof.gain for proof in self.proofs)])


def candidates(evidence: Evidence) -> list[tuple[Rule, Candidate]]:
    """The rules that hold, in the order of cause and effect."""
    found = ((rule, rule.test(evidence)) for rule in RULES.values())
    return [(rule, candidate) for rule, candidate in found if candidate is not None]


def diagnose(
    evidence: Evidence, clock: Clock, seeds: Sequence[int] = (0,), n_steps: int | None = None
) -> list[Finding]:
    """Findings, the most probable cause first.

    Parameters
    ----------
    evidence : Evidence
    clock : Clock
        Remedies are tried as long as it has time.
    seeds : sequence of int
        That each is tried with.
    n_steps : int, optional
        Steps of a trial; by default the whole training.
    """
    held = candidates(evidence)
    trial = Trial(evidence, clock, seeds, n_steps)
    findings = [_finding(rule, candidate, trial) for rule, candidate in held]
    fails = is_failing(evidence)
    for finding in findings:
        proven = any(proof.helped for proof in finding.proofs)
        # Where nothing could be tried, or a mistake is one in itself, a network that fails is enough.
        rule = RULES[finding.code]
        finding.critical = proven or rule.alone or (fails and (not finding.proofs or rule.certain))
    return _with_consequences(_ranked(findings))


def is_failing(evidence: Evidence) -> bool:
    """Whether the network fails to learn: the training did not come far, and a gate says that it could not.

    Of a training that there was little time for nothing is said.
    """
    ran = evidence.ran
    seen = ran is None or evidence.whole or ran.n_steps >= LEAST_STEPS or not ran.is_finite
    return seen and evidence.progress < LEARNED and not evidence.gates_passed


def _ranked(findings: list[Finding]) -> list[Finding]:
    """Critical ones first; of those whose remedies bring about as much, the one that causes the others."""
    order = list(RULES)
    best = max((one.gain for one in findings if one.critical), default=0.0)

    def place(one: Finding) -> tuple[bool, bool, bool, int]:
        return (
            not one.critical,
            one.gain < AS_GOOD * best and not RULES[one.code].alone,
            one.candidate.late,
            order.index(one.code),
        )

    return sorted(findings, key=place)


def _finding(rule: Rule, candidate: Candidate, trial: Trial) -> Finding:
    proofs = [trial.of(code) for code in rule.prescriptions]
    tried = sorted((proof for proof in proofs if proof is not None), key=lambda proof: -proof.gain)
    return Finding(rule.code, rule.symptom, False, candidate, rule.equation, rule.formula, rule.source, tried)


def _with_consequences(findings: list[Finding]) -> list[Finding]:
    """Put under the first cause what it is known to bring about, and so on with those that are left."""
    left, causes = list(findings), []
    while left:
        cause = left.pop(0)
        follows = RULES[cause.code].consequences if cause.critical else ()
        cause.consequences = [one for one in left if one.code in follows]
        left = [one for one in left if one.code not in follows]
        causes.append(cause)
    return causes
