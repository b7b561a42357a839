"""A checkup in words: the verdict first, every number, no line too long."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.health.checkups import MAKERS, altered, case, finding, nothing_is_a_number, proof

from chainrule.health.gates import Sweep
from chainrule.health.text import (
    before_and_after,
    number,
    score_text,
    sparkline,
    sweep_words,
    to_text,
    verdict_of,
    verdict_sentence,
    with_consequences,
)
from chainrule.health.trainings import Measured


def joined(text):
    """The text without its line breaks."""
    return re.sub(r"\s+", " ", text)


def measured(validation, after=None, **ran):
    """The healthy checkup's run with other scores."""
    one = case("healthy").evidence.ran
    return replace(one, validation=validation, after=after or one.after, **ran)


@pytest.mark.parametrize("name", MAKERS)
def test_every_finding_is_in_the_text_with_its_number(name):
    checkup = case(name)
    text = to_text(checkup)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    words = joined(text)
    assert words.startswith(verdict_sentence(checkup))
    for one in with_consequences(checkup.findings):
        assert f"[{one.code}]" in text
        limit = f"{number(one.candidate.measured)} . {re.escape(number(one.candidate.limit))} \\(limit\\)"
        assert re.search(limit.replace("+", r"\+"), words)
    for note in checkup.evidence.notes:
        assert joined(note) in words


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("healthy", r"It learns: accuracy (0\.9\d|1\.00) on rows held out; always the same answer has 0\.3"),
        ("one layer", r"It learns: accuracy"),
        (
            "deep sigmoid",
            r"It does not learn: an error signal that vanishes \(layer 0\); accuracy 0\.\d\d on",
        ),
        ("rate x 1000", r"It .*learns?.*: a learning rate that is too high; accuracy 0\."),
        ("flipped", r"It does not learn: the loss is turned round; accuracy 0\."),
        ("not finite", r".*: numbers that are not finite"),
        ("no budget", r"(It learns|No fault was found).* after \d+ of [\d,]+ steps; always"),
    ],
)
def test_the_verdict_names_the_cause(name, begins):
    assert re.match(begins, joined(to_text(case(name))))


def test_the_fix_comes_with_its_proof():
    text = to_text(case("deep sigmoid"))
    assert re.search(r"fix +.*: 0\.\d\d -> (0\.[89]\d|1\.00) on rows held out", text)
    assert "RMS(δ^(1)) < RMS(δ^(L))/100 (section 4)" in text
    assert "equation   (5)" in text
    assert "where      layer 0" in text


def test_proofs_are_listed_and_take_the_place_of_a_findings_own():
    one = finding()
    one.proofs = [proof(before=(0.2,), after=(0.3,))]
    text = to_text(altered([one]), [proof(), proof(code="rate", title="a rate", before=(), after=())])
    assert "0.20 -> 0.30" not in text
    assert joined(text).count("ReLU & <He>'s rule: 0.12 -> 0.97 on rows held out, mean of 2 starts") == 2
    assert "2. A rate (not run)" in text


def test_consequences_are_under_their_cause_and_notes_after_it():
    cause, result = finding("unscaled_inputs", where="X"), finding("saturation", measured=0.75, limit=0.5)
    result.consequences = [finding("vanishing")]
    cause.consequences = [result]
    text = to_text(altered([cause, finding("dead_relu", False)]))
    assert "\n     so also: saturated units (layer 0), 0.75 > 0.5 (limit) [saturation]\n" in text
    assert "\n       so also: an error signal that vanishes (layer 0), 250 > 100" in text
    order = [text.index(f"[{code}]") for code in ("unscaled_inputs", "saturation", "vanishing", "dead_relu")]
    assert order == sorted(order)
    assert "Notes, not the cause" in text
    assert "to try     standardise the inputs, gaps filled (not run)" in text


def test_the_gates_show_their_numbers():
    checkup = case("healthy")
    text = joined(to_text(checkup))
    evidence = checkup.evidence
    assert f"passed it can memorise 32 examples: loss {number(evidence.memorised.loss)}," in text
    assert f"accuracy {evidence.blind.real:.2f}, with shuffled inputs {evidence.blind.shuffled:.2f}" in text
    assert f"best {number(evidence.swept.best_rate)}, good" in text
    assert "failed" in to_text(case("deep sigmoid"))
    assert "Gates" not in to_text(case("no budget"))


def test_what_could_not_be_measured_is_said():
    text = joined(to_text(case("no budget")))
    assert "Could not be measured G1, memorising 32 examples: no time left" in text
    assert "not judged for that: rate high, rate low, no signal, overfitting" in text
    assert "Could not be measured" not in to_text(altered(notes=[]))


@pytest.mark.parametrize(
    ("changes", "findings", "state"),
    [
        ({}, [], "learns"),
        ({}, [finding()], "learns_less"),
        ({"ran": measured(Measured(2.0, 0.3))}, [], "memorises"),
        ({"ran": measured(Measured(2.0, 0.3), Measured(2.0, 0.3))}, [], "unknown"),
        ({"ran": measured(Measured(2.0, 0.3), Measured(2.0, 0.3))}, [finding()], "does_not_learn"),
        ({"ran": measured(None)}, [], "learns"),
        ({"ran": None, "whole": False}, [], "unknown"),
    ],
)
def test_the_verdict_has_five_states(changes, findings, state):
    checkup = altered(findings, **changes)
    assert verdict_of(checkup).state == state
    assert len(verdict_sentence(checkup)) < 200
    begins = {
        "learns": "It learns: ", "learns_less": "It learns, but less than it could: ",
        "memorises": "It learns its rows by heart only: ", "does_not_learn": "It does not learn: ",
        "unknown": ("Whether it learns is not known", "No fault was found, but it has not learned yet"),
    }  # fmt: skip
    assert verdict_sentence(checkup).startswith(begins[state])


def test_a_failing_network_without_a_cause():
    assert case("deep sigmoid").fails
    bare = altered(name="deep sigmoid")
    assert verdict_sentence(bare).startswith("It does not learn: the cause was not found; accuracy 0.")
    tried = finding("saturation", False)
    tried.proofs = [proof(after=(0.12, 0.12))]
    words = to_text(altered([tried], name="deep sigmoid"))
    assert words.startswith("It does not learn: no remedy that was tried helps;")
    assert "no help    ReLU & <He>'s rule: 0.12 -> 0.12" in words


def test_numbers_that_are_not_finite_have_words():
    text = to_text(nothing_is_a_number())
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert "no number = infinite" in text
    assert max(map(len, text.splitlines())) <= 100


def test_long_names_are_wrapped():
    name = "backbone." * 30 + "linear"
    text = to_text(altered([finding(where=name, detail=name)], notes=["why " * 60]))
    assert max(map(len, text.splitlines())) <= 100


def test_scores_in_words():
    assert [score_text(one) for one in (0.5, -0.001, -1.0, -3.0, float("nan"))] == [
        "0.50", "0.00", "-1 or less", "-1 or less", "no number",
    ]  # fmt: skip
    # No accuracy is below 0; of R² it is the floor.
    assert before_and_after(proof(before=(-1.0,), after=(0.5,))) == ("no number", "0.50")


def test_the_sparkline_has_what_is_to_be_beaten_in_its_middle():
    swept = Sweep((0.1, 1.0, 10.0, 100.0), (2.0, 1.0, 3.0, np.inf), 2.0, 2.0, 1.0)
    assert sparkline(swept) == "▄▁█×"
    assert sweep_words(swept) == "best 1, good 1; own 1"
    assert sparkline(Sweep((1.0,), (np.inf,), np.nan, 1.0, 1.0)) == "×"
    flat = Sweep((0.1, 1.0), (2.0, 2.0), 2.0, 2.0, 1.0)
    assert len(sparkline(flat)) == 2
    assert sweep_words(flat) == "none makes the loss fall; own 1"
