"""A checkup as plain types: nothing but JSON, whatever was measured, and all that was found."""

import json
import math

import numpy as np
import pytest
from tests.health.checkups import MAKERS, altered, case, finding, nothing_is_a_number, proof

from chainrule.health.gates import LEAST_GAIN, MEMORISED_SHARE
from chainrule.health.plain import to_plain
from chainrule.health.rules import RULES
from chainrule.health.text import with_consequences

KEYS = {
    "format", "version", "verdict", "findings", "gates", "sweep", "training", "inputs", "targets",
    "snapshots", "passed", "not_judged", "notes", "proofs", "spectrum", "curvature",
}  # fmt: skip


def read(checkup, proofs=()):
    plain = to_plain(checkup, proofs)
    again = json.loads(json.dumps(plain, allow_nan=False))
    assert again == plain
    assert set(again) == KEYS
    return again


def flat(findings):
    for one in findings:
        yield one
        yield from flat(one["consequences"])


@pytest.mark.parametrize("name", MAKERS)
def test_every_checkup_makes_the_round_trip(name):
    checkup = case(name)
    plain = read(checkup)
    assert plain["verdict"]["ok"] == checkup.ok
    assert plain["verdict"]["fails"] == checkup.fails
    assert plain["notes"] == checkup.evidence.notes
    found = list(with_consequences(checkup.findings))
    assert [one["code"] for one in flat(plain["findings"])] == [one.code for one in found]
    for given, one in zip(flat(plain["findings"]), found, strict=True):
        for key in ("symptom", "critical", "equation", "formula", "source"):
            assert given[key] == getattr(one, key)
        for key in ("measured", "limit"):
            number = getattr(one.candidate, key)
            assert given[key] == (number if math.isfinite(number) else None)
        assert given["where"] == one.candidate.where
        assert given["detail"] == one.candidate.detail
        assert sorted(remedy["code"] for remedy in given["remedies"]) == sorted(p.code for p in one.proofs)


@pytest.mark.parametrize("name", MAKERS)
def test_every_rule_is_found_or_passed_or_not_judged(name):
    plain = read(case(name))
    found = [one["code"] for one in flat(plain["findings"])]
    assert sorted([*found, *plain["passed"]["rules"], *plain["not_judged"]]) == sorted(RULES)


def test_the_gates_and_the_sweep_keep_their_numbers():
    evidence = case("healthy").evidence
    plain = read(case("healthy"))
    assert plain["gates"]["memorise"]["loss"] == evidence.memorised.loss
    assert plain["gates"]["memorise"]["share"] == evidence.memorised.share
    assert plain["gates"]["memorise"]["limit"] == MEMORISED_SHARE
    assert plain["gates"]["sweep"]["best_rate"] == evidence.swept.best_rate
    assert plain["gates"]["sweep"]["limit"] == LEAST_GAIN
    assert plain["gates"]["input_blind"]["real"] == evidence.blind.real
    assert plain["passed"]["gates"] == ["memorise", "sweep", "input_blind"]
    assert plain["sweep"]["rates"] == list(evidence.swept.rates)
    assert plain["sweep"]["losses"] == [x if math.isfinite(x) else None for x in evidence.swept.losses]


def test_the_snapshots_are_layer_by_layer():
    evidence = case("deep sigmoid").evidence
    plain = read(case("deep sigmoid"))["snapshots"]
    for name in ("start", "early", "end"):
        layers = getattr(evidence, name).layers
        assert [one["name"] for one in plain[name]["layers"]] == [one.name for one in layers]
        assert [one["delta_rms"] for one in plain[name]["layers"]] == [one.delta_rms for one in layers]
    assert plain["early"]["step"] > 0


def test_a_budget_too_small_leaves_its_gates_empty_and_says_so():
    plain = read(case("no budget"))
    assert plain["gates"] == {"memorise": None, "sweep": None, "input_blind": None}
    assert plain["sweep"] is None
    assert {"rate_high", "rate_low", "no_signal"} <= set(plain["not_judged"])
    assert len(plain["notes"]) >= 3
    assert not plain["training"]["whole"]


def test_numbers_that_are_not_finite_are_null():
    plain = read(nothing_is_a_number())
    assert plain["findings"][0]["measured"] is None
    assert plain["gates"]["sweep"]["best_rate"] is None
    assert plain["training"]["losses"] == [None, None]
    assert plain["snapshots"]["start"]["layers"][0]["h_rms"] is None


def test_proofs_take_the_place_of_a_findings_own():
    one = finding()
    one.proofs = [proof(before=(0.2,), after=(0.3,)), proof(code="residual", before=(0.2,), after=(0.9,))]
    plain = read(altered([one]), [proof(), proof(code="batch_norm", before=(), after=())])
    remedies = plain["findings"][0]["remedies"]
    assert [remedy["code"] for remedy in remedies] == ["relu_he", "residual"]
    assert remedies[0]["before"] == pytest.approx(0.12)
    assert remedies[0]["after"] == pytest.approx(0.97)
    assert remedies[0]["gain"] == pytest.approx(0.85)
    assert remedies[0]["after_each"] == [0.96, 0.98]
    assert plain["proofs"][1]["gain"] is None
    assert plain["findings"][0]["prescriptions"] == list(RULES["vanishing"].prescriptions)


def test_numpys_numbers_become_pythons():
    plain = read(altered([finding(measured=np.float32(0.5), limit=np.int64(3))]))
    assert plain["findings"][0]["measured"] == 0.5
    assert plain["findings"][0]["limit"] == 3
