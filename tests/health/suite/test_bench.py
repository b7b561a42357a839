"""The benchmark as a whole: which causes are equivalent, what is counted, and what is shown."""

import dataclasses
import json

import pytest

from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.suite import CASES, bench, equivalence
from chainrule.health.suite.admission import admitted_names, healthy_points
from chainrule.health.suite.bench import Verdict
from chainrule.health.suite.score import Outcome, line, summary

# No remedy on the menu restores these: there is nothing to learn, too little, or no row of a rare class; the
# logarithm of zero is in the network itself; and two that a remedy brings nearly, not wholly, back.
RESTORED_BY_NOTHING = {
    *("shuffled-labels-digits", "shuffled-labels-cancer", "shuffled-targets-friedman"),
    *("noise-inputs-wine", "noise-inputs-plane"),
    *("few-rows-digits", "few-rows-odd", "few-rows-friedman"),
    *("rare-class-moons", "rare-class-odd", "rare-class-cancer"),
    *("log-of-zero-digits", "log-of-zero-half"),
    *("no-shortcuts-half", "linear-product"),
}


# ------------------------------------------------------------------------------------------- equivalence


def test_the_whole_menu_was_run_on_every_admitted_case():
    shipped = json.loads(equivalence.EQUIVALENCE.read_text())
    assert [one["case"] for one in shipped["cases"]] == [
        case.name for case in CASES if case.name in admitted_names()
    ]
    assert set(shipped["remedies"]) <= set(PRESCRIPTIONS)
    for one in shipped["cases"]:
        least = healthy_points(one["case"], equivalence.SEEDS) - equivalence.RESTORED_WITHIN
        assert all(least - 0.01 < reached <= 100 for reached in one["restoring"].values())


def test_the_planted_cause_is_among_those_whose_remedies_restore():
    for case in CASES:
        restoring = set(equivalence.equivalent_causes(case.name))
        if case.name in RESTORED_BY_NOTHING:
            assert not restoring, case.name
        else:
            assert restoring & set(case.causes), case.name


def test_a_case_is_restored_again(tmp_path, capsys):
    """By the remedy that undoes the fault, and by no other on the menu."""
    file = tmp_path / "restoring.json"
    equivalence.main(["--out", str(file), "--only", "slow-sgd-wine"])
    assert capsys.readouterr().out.startswith("slow-sgd-wine")
    written = json.loads(file.read_text())
    assert written["remedies"] == list(PRESCRIPTIONS)
    (found,) = (one["restoring"] for one in written["cases"])
    shipped = json.loads(equivalence.EQUIVALENCE.read_text())
    expected = next(one["restoring"] for one in shipped["cases"] if one["case"] == "slow-sgd-wine")
    assert set(found) == set(expected) == {"rate"}
    assert found["rate"] == pytest.approx(expected["rate"], abs=2)


# ------------------------------------------------------------------------------------------------ counts


def outcome(**changes):
    usual = Outcome(
        "one", "vanishing", "tuning", True, ["init_small", "vanishing"], ["vanishing"],
        ["init_small"], "batch_norm", 95.0, 10.0, 94.0, 1.0,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def test_strict_and_equivalent_causes_are_counted_apart():
    one = outcome()
    assert not one.names_within(1)
    assert one.names_within(2)
    assert one.names_within(1, or_equivalent=True)
    assert not outcome(named=["rate_low"]).names_within(2, or_equivalent=True)


def test_restored_is_within_two_points_of_the_twin():
    assert outcome(after=93.0).restored
    assert not outcome(after=92.9).restored
    assert not outcome(remedy="", after=95.0).restored


def test_the_summary_counts_each_half():
    healthy = outcome(family="control", alarmed=False, named=[], right=[], equivalent=[], remedy="")
    found = summary([outcome(), outcome(named=["vanishing"]), outcome(alarmed=False, named=[]), healthy])
    tuning = found["tuning"]
    assert (tuning["faults"], tuning["controls"]) == (3, 1)
    assert tuning["detected"] == pytest.approx(2 / 3)
    assert tuning["first cause right"] == pytest.approx(1 / 3)
    assert tuning["first cause equivalent"] == pytest.approx(2 / 3)
    assert tuning["controls alarmed"] == 0
    assert found["held_out"]["faults"] == 0
    assert line(outcome(named=["rate_low"])).endswith("named ['rate_low']")
    assert line(healthy).endswith("silent")


def test_the_tools_are_counted_by_half():
    verdicts = [
        Verdict("chainrule", "a", "tuning", True, ["vanishing"], True),
        Verdict("sagemaker", "a", "tuning", True, ["dead_relu"], False),
        Verdict("chainrule", "b", "held_out", False, [], False),
        Verdict("sagemaker", "b", "held_out", False, ["overfit"], False),
    ]
    found = bench.comparison(verdicts)
    assert found["sagemaker"]["tuning"] == {
        "faults": 1, "detected": 1, "named": 0, "controls": 0, "alarmed": 0,
    }  # fmt: skip
    assert found["sagemaker"]["held_out"]["alarmed"] == found["sagemaker"]["held_out"]["controls"] == 1
    rows = bench.compared(found).splitlines()
    assert " ".join(rows[2].split()) == "chainrule 1 of 1 0 of 0 1 of 1 0 of 0 0 of 0 0 of 1"
    assert rows[-1].split() == ["torchmortem", "not", "installed"]
    assert "torchmortem" not in bench.compared(bench.comparison(verdicts[:1]))


# ---------------------------------------------------------------------------------------------- the whole


def test_a_run_of_the_benchmark(monkeypatch):
    monkeypatch.setattr(bench.torchmortem_peer, "is_installed", lambda: False)
    said = []
    told = bench.run(parts=["slow-sgd-wine", "linear-on-wine"], say=said.append)
    assert [one["case"] for one in told["outcomes"]] == ["slow-sgd-wine", "linear-on-wine"]
    assert told["outcomes"][0]["equivalent"][-1] == "rate_low"
    assert told["comparison"]["chainrule"]["tuning"]["named"] == 1
    assert told["comparison"]["chainrule"]["tuning"]["alarmed"] == 0
    by_tool = {one["tool"]: one for one in told["verdicts"] if one["case"] == "slow-sgd-wine"}
    assert "slow_convergence" in by_tool["autotrainer"]["rules"]
    assert by_tool["autotrainer"]["named"]
    assert said[0].startswith("slow-sgd-wine")
    assert "AutoTrainer" in said[-1]
    json.dumps(told, allow_nan=False)
