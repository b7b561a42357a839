"""The benchmark's pieces on a toy: they run, learn, take turns and make tables. No times are asserted."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture
def bench(monkeypatch):
    """Import one of the benchmark's modules, which are scripts beside each other and not a package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def toy(bench):
    return bench("problem").Network((6, 8, 3), 16, rows=512)


@pytest.mark.parametrize("name", ["chainrule", "chainrule-1", "sklearn", "torch", "torch-1", "jax", "jax-1"])
def test_a_peer_counts_its_steps_and_learns(bench, toy, name, monkeypatch):
    peer, problem = bench("peer"), bench("problem")
    if (module := peer.missing(name)) is not None:
        pytest.skip(f"{module} is not installed")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    one = peer.PEERS[name]
    if one[1] in ("torch", "jax"):
        # They set threads and flags for their whole process: have one that is theirs.
        with bench("session").Worker() as worker:
            worker("setup", name=name, sizes=toy.sizes, batch=toy.batch, rows=toy.rows)
            learned = worker("learns", epochs=20)
            assert worker("sample", epochs=1)["value"] > 0
        assert learned["loss"] < 0.9 * learned["guessing"]
        return
    X, y = problem.teacher_data(toy)
    trained = peer.make(name)
    trained.setup(toy.sizes, toy.batch, X, y)
    assert trained.epoch() == 32
    trained.reset()
    assert trained.epochs(20) == 640
    assert problem.mean_loss(trained.weights(), X, y) < 0.9 * problem.guessing_loss(y)
    assert all(trained.versions().values())


def test_chainrule_and_its_single_thread_learn_the_same(bench, toy):
    peer, problem = bench("peer"), bench("problem")
    X, y = problem.teacher_data(toy)
    weights = []
    for name in ("chainrule", "chainrule-1"):
        trained = peer.make(name)
        trained.setup(toy.sizes, toy.batch, X, y)
        trained.epochs(2)
        weights.append(trained.weights())
    for (W, b), (V, c) in zip(*weights, strict=True):
        np.testing.assert_array_equal(W, V)
        np.testing.assert_array_equal(b, c)


def test_the_loss_of_a_network_without_weights_is_that_of_equal_odds(bench):
    problem = bench("problem")
    X, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
    three = [(np.zeros((2, 3)), np.zeros(3))]
    assert problem.mean_loss(three, X, y) == pytest.approx(np.log(3))
    logistic = [(np.zeros((2, 1)), np.array([np.log(3.0)]))]  # P(class 1) = 3/4
    assert problem.mean_loss(logistic, X, y) == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)
    assert problem.guessing_loss(y) == pytest.approx(np.log(2))


def test_libraries_take_turns_and_disturbed_samples_are_repeated(bench, monkeypatch):
    session = bench("session")
    monkeypatch.setattr(session, "wait_until_quiet", lambda patience: None)
    asked = []

    def measure(name, values):
        answers = iter(values)

        def sample():
            asked.append(name)
            value = next(answers)
            if value == "broken":
                raise session.Failed("it broke")
            return {"value": abs(value), "contaminated": value < 0}

        return sample

    series = session.in_turns(
        {
            "a": measure("a", [1, -9, 3, 2]),
            "b": measure("b", [2, 4, 8]),
            "c": measure("c", [5, "broken"]),
            "d": measure("d", [-1] * 6),
        },
        session.Plan(rounds=3, attempts=2),
    )
    assert "".join(asked) == "abcdd" + "aabcdd" + "abdd"
    assert (series["a"].values, series["a"].discarded) == ([1, 3, 2], 1)
    assert (series["a"].median, series["a"].spread) == (2, (1, 1.5, 2.5))
    assert series["a"].times_faster_than(series["b"]) == 2  # of 2/1, 4/3, 8/2
    assert (series["c"].values, series["c"].failure) == ([5, None, None], "it broke")
    assert (series["d"].median, series["d"].spread, series["d"].discarded) == (None, None, 6)
    assert series["d"].times_faster_than(series["a"]) is None


def test_a_busy_machine_ends_the_waiting(bench, monkeypatch):
    machine = bench("machine")
    readings = iter([(0.0, 0.0), (0.1, 0.2), (0.1, 0.2), (0.1, 0.4)])
    monkeypatch.setattr(machine, "can_check", lambda: True)
    monkeypatch.setattr(machine, "_busy_and_total", lambda: next(readings))
    with pytest.raises(machine.MachineBusy, match="50% idle"):
        machine.wait_until_quiet(patience=-1.0, window=0.0)
    machine.wait_until_quiet(patience=-1.0, window=0.0)  # the second pair of readings is idle


def test_others_processor_time_contaminates_a_sample(bench):
    machine = bench("machine")
    assert machine.Stopwatch(seconds=1.0, foreign=0.05).contaminated
    assert not machine.Stopwatch(seconds=1.0, foreign=0.03).contaminated


def test_settings_of_numerical_libraries_are_left_out(bench, monkeypatch):
    machine = bench("machine")
    for name in ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "XLA_FLAGS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("UNRELATED", "1")
    environment = machine.clean_environment(CHAINRULE_CACHE_DIR="here")
    assert environment["UNRELATED"] == "1"
    assert environment["CHAINRULE_CACHE_DIR"] == "here"
    assert {"OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "XLA_FLAGS"} <= set(machine.removed_variables())
    assert not {"OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "XLA_FLAGS"} & set(environment)


def test_a_request_that_raises_is_told_and_the_process_goes_on(bench, toy):
    session = bench("session")
    with session.Worker() as worker:
        with pytest.raises(session.Failed, match="KeyError: 'nobody'"):
            worker("setup", name="nobody", sizes=toy.sizes, batch=toy.batch, rows=toy.rows)
        with pytest.raises(session.Failed, match="setup has to come first"):
            worker("sample", epochs=1)


def test_a_toy_run_makes_tables(bench, toy, monkeypatch):
    parts, session, report = bench("parts"), bench("session"), bench("report")
    monkeypatch.setattr(parts, "PROGRAMS", {"import": "", "sklearn": "1", "warm": "2"})
    plan = session.Plan(rounds=2, seconds=0.01, checked=False)
    said = []
    steps = parts.measure_steps(["chainrule", "sklearn"], plan, [toy], check_epochs=20, say=said.append)
    assert all(one.learned for one in steps[0].learning.values())
    results = report.Results(
        plan, "python benchmarks/bench.py", steps, parts.measure_start_up(plan, said.append),
        parts.measure_digits(["sklearn"], plan, said.append, max_iter=2), ["JAX: not measured"],
    )  # fmt: skip
    page = report.markdown(results)
    assert "NOT VALID" in page
    assert "- JAX: not measured" in page
    for start in (
        "| 6-8-3, batch 16 | chainrule | ", "| 6-8-3, batch 16 | scikit-learn | ",
        "| import sklearn.neural_network | ", "| scikit-learn | ",
    ):  # fmt: skip
        assert start in page
    widths = {table.title: {len(row) for row in table.rows} for table in report.tables(results)}
    assert len(widths) == 4
    assert all(widths[table.title] == {len(table.columns)} for table in report.tables(results))
    assert not bench("bench").failed(results)


def test_the_command_line(bench):
    script = bench("bench")
    complete = script.parse([])
    assert (complete.libraries, complete.parts) == (
        list(bench("peer").DEFAULT),
        ["steps", "startup", "digits"],
    )
    assert complete.out == script.PAGE
    some = script.parse(["--only", "torch,chainrule"])
    assert (some.libraries, some.parts, some.out) == (["chainrule", "torch"], ["steps"], None)
    assert script.parse(["--only", "digits"]).parts == ["digits"]
    assert script.parse(["--quick"]).out is None
    for wrong in (["--only", "caffe"], ["--only", ","], ["--rounds", "0"]):
        with pytest.raises(SystemExit, match="2"):
            script.parse(wrong)
