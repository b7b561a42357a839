"""The benchmark: its data, its twins, its two halves, and the measurement that is shipped with it."""

import json

import numpy as np
import pytest

from chainrule.health.suite import CASES, CONTROLS, FAMILIES, Case, admission, half_of, split
from chainrule.health.suite.data import NAMES, load
from chainrule.health.suite.faults import Softmax
from chainrule.tape import Tensor

EVERYTHING = (*CASES, *CONTROLS)
CODES = {*FAMILIES} - {"control"}


def by_name(name):
    return next(case for case in EVERYTHING if case.name == name)


# -------------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("name", NAMES)
def test_data_is_standardised_by_the_rows_to_learn_from(name):
    data = load(name)
    (X, y), (measured, targets) = data.train, data.validation
    assert X.dtype == measured.dtype == np.float32
    assert 90 <= len(X) <= 1200
    assert X.shape[1] == measured.shape[1] == data.n_inputs
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-4)
    assert np.all(np.isclose(X.std(axis=0), 1, atol=1e-3) | np.isclose(X.std(axis=0), 0, atol=1e-6))
    assert [len(one) for one in data.raw] == [len(X), len(measured)]
    if data.classify:
        assert y.dtype == targets.dtype == np.int64
        assert set(np.unique(y)) == set(np.unique(targets)) == set(range(data.n_outputs))
    else:
        assert y.dtype == targets.dtype == np.float32
        assert y.shape[1] == data.n_outputs
        if name != "counts":
            np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
            np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-3)


def test_data_cannot_be_changed():
    X, _ = load("wine").train
    with pytest.raises(ValueError, match="read-only"):
        X[0] = 0


def test_noise_is_in_the_labels_to_learn_from_alone():
    noisy, clean = load("digits_noisy"), load("digits")
    differing = (noisy.train[1] != clean.train[1]).mean()
    assert 0.15 < differing < 0.2  # one in ten of the labels drawn anew is right again
    np.testing.assert_array_equal(noisy.validation[1], clean.validation[1])


# ------------------------------------------------------------------------------------------------- cases


def test_there_are_enough_and_each_has_a_name():
    assert len(CASES) >= 40
    assert len(CONTROLS) >= 24
    assert len({case.family for case in CASES}) >= 15
    names = [case.name for case in EVERYTHING]
    assert len(set(names)) == len(names)


def test_causes_are_known_codes_and_the_first_is_the_family():
    assert {cause for case in CASES for cause in case.causes} == CODES
    assert all(case.family == case.causes[0] for case in CASES)
    assert all(case.family == "control" and not case.causes and case.edit is None for case in CONTROLS)


def test_the_data_of_a_case_is_what_it_says():
    for case in CASES:
        training = case.twin(0)
        n_train = len(load(case.data).train[0])
        assert len(training.X) == n_train, case.name


def test_the_halves_share_no_pair_of_family_and_data():
    halves = split(EVERYTHING)
    pairs = {half: {(case.family, case.data) for case in cases} for half, cases in halves.items()}
    assert not pairs["tuning"] & pairs["held_out"]
    assert sum(map(len, halves.values())) == len(EVERYTHING)
    assert {case.data for case in CONTROLS if half_of(case) == "tuning"}.isdisjoint(
        case.data for case in CONTROLS if half_of(case) == "held_out"
    )


@pytest.mark.parametrize("half", ["tuning", "held_out"])
def test_every_family_is_in_both_halves(half):
    assert {case.family for case in split(EVERYTHING)[half]} == set(FAMILIES)


def test_a_twin_depends_on_its_seed_alone():
    twin = by_name("zero-weights-digits").twin
    first, again, other = twin(3), twin(3), twin(4)
    same = first.module.state_dict()
    assert all((again.module.state_dict()[key] == array).all() for key, array in same.items())
    assert any((other.module.state_dict()[key] != array).any() for key, array in same.items())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_edit_changes_something_and_leaves_the_twin_alone(case):
    twin = case.twin(0)
    module, before = twin.module, twin.module.state_dict()
    described = repr(module), vars(twin).copy()
    edited = case.edit(twin)
    assert edited is not twin
    assert (repr(module), vars(twin)) == described
    assert all((module.state_dict()[key] == array).all() for key, array in before.items())
    assert all(one.requires_grad for one in module.parameters())
    fields = vars(twin).keys()
    assert any(getattr(edited, name) is not getattr(twin, name) for name in fields)


# --------------------------------------------------------------------------------------------- admission


def test_the_shipped_measurement_is_of_these_cases_and_admits_them():
    shipped = json.loads(admission.ADMITTED.read_text())
    for kind, cases in (("cases", CASES), ("controls", CONTROLS)):
        records = {record["case"]: record for record in shipped[kind]}
        assert list(records) == [case.name for case in cases]
        for case in cases:
            record = records[case.name]
            assert record["admitted"], record["why_not"]
            assert record["causes"] == list(case.causes)
            assert (record["family"], record["data"], record["half"]) == (
                case.family,
                case.data,
                half_of(case),
            )
            assert len(record["twin_scores"]) == 5
    assert admission.admitted_names() == {case.name for case in EVERYTHING}


@pytest.mark.parametrize("name", ["dead-relu-circles", "slow-sgd-wine", "tiny-data"])
def test_a_case_is_admitted_again(name):
    case = by_name(name)
    shipped = json.loads(admission.ADMITTED.read_text())
    record = next(one for kind in ("cases", "controls") for one in shipped[kind] if one["case"] == name)
    found = admission.admit(case, seeds=[0, 1])
    assert found.admitted
    np.testing.assert_allclose(found.twin_scores, record["twin_scores"][:2], atol=3)
    np.testing.assert_allclose(found.edited_scores, record["edited_scores"][:2], atol=3)


def test_a_fault_that_costs_nothing_is_not_admitted():
    harmless = by_name("linear-moons")
    found = admission.admit(
        type(harmless)("none", "no_activation", "moons", harmless.twin, lambda twin: twin), seeds=[0]
    )
    assert not found.admitted
    assert found.cost == 0
    assert "less than 5 points" in found.why_not


def test_a_training_that_learns_nothing_is_no_control():
    ill = by_name("dead-relu-circles").training
    found = admission.admit(Case("ill", "control", "circles", ill), seeds=[0])
    assert (found.admitted, found.why_not) == (False, "the healthy training does not learn")


def test_numbers_that_are_not_finite_are_worth_a_constant():
    for name in ("nan-cells-cancer", "log-of-zero-half"):
        case = by_name(name)
        training = case.training(0)
        assert admission.points(case, training, 0) == admission.constant_points(case, training)


def test_the_command_prints_a_table_and_writes_the_numbers(tmp_path, capsys):
    file = tmp_path / "numbers.json"
    admission.main(["--out", str(file), "--only", "slow-sgd-wine", "linear-on-wine"])
    shown = capsys.readouterr().out
    assert "slow-sgd-wine" in shown
    assert "cases: 1 of 1 admitted" in shown
    written = json.loads(file.read_text())
    assert [one["case"] for one in written["controls"]] == ["linear-on-wine"]


def test_softmax_is_on_the_tape():
    z = Tensor(np.array([[0.0, 1.0, -1.0]]), requires_grad=True)
    p = Softmax()(z)
    np.testing.assert_allclose(p.data.sum(), 1)
    p[0, 0].backward()
    chosen = p.data[0, 0]
    expected = chosen * ((np.arange(3) == 0) - p.data[0])  # ∂p₀/∂z_j = p₀ (1[j = 0] − p_j)
    np.testing.assert_allclose(z.grad.data[0], expected)
