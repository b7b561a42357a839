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
    return bench("problem").Network((6, 8, 3), 16, rows=256)


def setup_of(library, toy):
    """What a process is told to set up, to train the toy network, or three of them where it is many."""
    settings = {key: 3 if key == "networks" else value for key, value in library.settings.items()}
    network = {"sizes": toy.sizes, "batch": toy.batch, "rows": toy.rows}
    return {
        "timer": "timer:StepTimer",
        "where": library.where,
        "settings": settings,
        "network": network,
    }


def library_of(bench, name):
    """By name, from the lists of the training steps, of the many networks and of telemetry."""
    lists = (bench("peer").PEERS, bench("part_many").LIBRARIES, bench("part_telemetry").LIBRARIES)
    return next(libraries[name] for libraries in lists if name in libraries)


# torch-compile is left out: it compiles for a quarter of a minute.
TRAINED = (
    "chainrule", "chainrule-float64", "chainrule-bf16", "10", "sklearn", "torch", "torch-autocast",
    "torch-bmm", "torch-loop", "jax", "jax-1", "jax-vmap",
)  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_a_peer_counts_its_steps_and_learns(bench, toy, name):
    library = library_of(bench, name)
    if (module := bench("library").missing(library)) is not None:
        pytest.skip(f"{module} is not installed")
    # Libraries set threads and flags for their whole process: each has one that is its own.
    session = bench("session")
    with session.Worker() as worker:
        try:
            about = worker("setup", **setup_of(library, toy))
        except session.Unavailable as reason:
            pytest.skip(str(reason))
        assert about["versions"]
        assert all(about["versions"].values())
        learned = worker("learns", epochs=20)
        sample = worker("sample", repeats=1)
    assert learned["loss"] < 0.9 * learned["guessing"]
    assert sample["value"] > 0
    assert sample["processor_seconds"] > 0


def trained(bench, toy, where, epochs, **settings):
    """A peer of this process after some epochs."""
    X, y = bench("problem").teacher_data(toy)
    peer = bench("library").make(where, settings)
    peer.setup(toy.sizes, toy.batch, X, y)
    steps = peer.epochs(epochs)
    return peer, steps


def test_chainrule_and_its_single_thread_learn_the_same(bench, toy):
    where = "peer_chainrule:ChainrulePeer"
    weights = [trained(bench, toy, where, 2, **settings)[0].weights() for settings in ({}, {"n_threads": 1})]
    for (W, b), (V, c) in zip(*weights, strict=True):
        np.testing.assert_array_equal(W, V)
        np.testing.assert_array_equal(b, c)


def test_many_networks_count_the_steps_of_all_and_the_first_is_trained_as_alone(bench, toy):
    alone, steps = trained(bench, toy, "peer_chainrule:ChainrulePeer", 2)
    many, steps_of_all = trained(bench, toy, "peer_chainrule:ChainruleMany", 2, networks=3)
    assert (steps, steps_of_all) == (32, 96)
    for (W, b), (V, c) in zip(alone.weights(), many.weights(), strict=True):
        np.testing.assert_array_equal(W, V)
        np.testing.assert_array_equal(b, c)
    many.reset()
    for (W, _), (V, _) in zip(many.weights(), bench("problem").initial_weights(toy.sizes), strict=True):
        np.testing.assert_array_equal(W, V)


def test_what_does_not_exist_is_unavailable_and_no_failure(bench, toy, monkeypatch):
    peer = bench("peer_chainrule")
    monkeypatch.setitem(sys.modules, "chainrule.engine.bfloat16", None)
    monkeypatch.delattr("chainrule.engine.bfloat16", raising=False)
    with pytest.raises(bench("session").Unavailable, match="no bfloat16 kernels"):
        trained(bench, toy, "peer_chainrule:ChainrulePeer", 1, precision="bf16")
    monkeypatch.setattr(peer, "chainrule", object())
    with pytest.raises(bench("session").Unavailable, match="no Predictor"):
        peer.CompiledPredictor().setup(
            bench("problem").initial_weights(toy.sizes), np.ones((1, 6), np.float32)
        )


@pytest.mark.parametrize(
    "name", ["chainrule", "chainrule-predictor", "chainrule-into", "sklearn", "torch", "onnxruntime", "jax"]
)
@pytest.mark.parametrize(("classes", "rows"), [(3, 1), (2, 5)])
def test_a_predictor_predicts_what_the_formula_does(bench, name, classes, rows):
    library, session = bench("part_inference").LIBRARIES[name], bench("session")
    if (module := bench("library").missing(library)) is not None:
        pytest.skip(f"{module} is not installed")
    setup = {
        "where": library.where,
        "settings": dict(library.settings),
        "sizes": [6, 8, classes],
        "rows": rows,
    }
    with session.Worker() as worker:
        try:
            worker("setup", timer="predictor:CallTimer", **setup)  # raises if it predicts something else
        except session.Unavailable as reason:
            pytest.skip(str(reason))
        assert worker("sample", repeats=3)["value"] > 0


@pytest.mark.parametrize("name", ["chainrule", "scipy", "mkl"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_is_right(bench, name, transposed):
    products, library = bench("products"), bench("part_gemm").LIBRARIES[name]
    shape = {"rows": 13, "terms": 7, "columns": 40, "transposed": transposed}
    session = bench("session")
    with session.Worker() as worker:
        setup = {"timer": "products:ProductTimer", "where": library.where, "settings": {}, "product": shape}
        try:
            worker("setup", **setup)  # raises if the product is wrong
        except session.Unavailable as reason:
            pytest.skip(str(reason))
        assert worker("sample", repeats=3)["value"] > 0
    product = products.Product(**shape)
    A, B, C = product.matrices()
    assert product.operations == 2 * 13 * 7 * 40
    assert C.shape == product.textbook(A, B).shape == (13, 40)


def test_padded_rows_lie_at_no_bad_distance(bench):
    products = bench("products")
    values = np.arange(3 * 256.0).reshape(3, 256)
    padded, dense = products.laid_out(values, padded=True), products.laid_out(values, padded=False)
    assert (padded.strides, dense.strides) == ((1088, 4), (1024, 4))
    for matrix in (padded, dense):
        assert matrix.ctypes.data % 64 == 0
        np.testing.assert_array_equal(matrix, values)


def test_the_floor_counts_three_products_a_layer_but_the_first_inputs_gradient(bench):
    floor = bench("floor")
    # Forward 2·(2·3 + 3·4) = 36, weights' gradients the same, inputs' gradient of the second layer 2·12 = 24.
    assert floor.step_operations((2, 3, 4), batch=1) == 36 + 36 + 24
    assert floor.step_operations((2, 3, 4), batch=5) == 5 * 96
    assert floor.prediction_operations((2, 3, 4), rows=5) == 5 * 36


def test_the_peak_of_the_processors_that_were_at_work(bench):
    peak = bench("floor").Peak(one=100.0, all=360.0, processors=4)
    assert [peak.of(used) for used in (0.9, 1.2, 2.1, 3.9, 7.0, None)] == [100, 100, 180, 360, 360, 360]
    assert peak.of(1.0, double=True) == 50


def test_the_peak_is_measured(bench):
    said = []
    peak = bench("floor").measure_peak(bench("turns").Plan(checked=False), said.append)
    assert 1e8 < peak.one < 1e13
    assert peak.all > 0.3 * peak.one
    assert "GFLOP/s" in said[0]


def test_the_loss_of_a_network_without_weights_is_that_of_equal_odds(bench):
    problem = bench("problem")
    X, y = np.ones((4, 2)), np.array([0, 1, 1, 0])
    three = [(np.zeros((2, 3)), np.zeros(3))]
    assert problem.mean_loss(three, X, y) == pytest.approx(np.log(3))
    logistic = [(np.zeros((2, 1)), np.array([np.log(3.0)]))]  # P(class 1) = 3/4
    assert problem.mean_loss(logistic, X, y) == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)
    assert problem.guessing_loss(y) == pytest.approx(np.log(2))


def test_libraries_take_turns_and_disturbed_samples_are_repeated(bench, monkeypatch):
    session, turns = bench("session"), bench("turns")
    monkeypatch.setattr(turns, "wait_until_quiet", lambda patience: None)
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

    series = turns.in_turns(
        {
            "a": measure("a", [1, -9, 3, 2]),
            "b": measure("b", [2, 4, 8]),
            "c": measure("c", [5, "broken"]),
            "d": measure("d", [-1] * 6),
        },
        turns.Plan(rounds=3, attempts=2),
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
    nobody = bench("library").Library("nobody", "peer:Nobody")
    with session.Worker() as worker:
        with pytest.raises(session.Failed, match="AttributeError: .*'Nobody'"):
            worker("setup", **setup_of(nobody, toy))
        with pytest.raises(session.Failed, match="setup has to come first"):
            worker("sample", repeats=1)


def test_short_things_are_repeated_as_often_as_a_sample_needs(bench):
    class Counter(bench("timer").Timer):
        done = 0

        def repeat(self, n):
            for _ in range(n):
                self.done += 1
            return n

    counter = Counter()
    repeats = counter.calibrate(seconds=0.02)["repeats"]
    assert repeats > 1000  # counting takes much less than 20 microseconds
    before = counter.done
    assert counter.sample(repeats)["value"] < 20
    assert counter.done == before + repeats


def test_what_cannot_be_measured_is_told(bench):
    turns, library, session, table = bench("turns"), bench("library"), bench("session"), bench("table")
    libraries = {
        "fine": library.Library("Fine"),
        "broken": library.Library("Broken"),
        "future": library.Library("Future"),
        "absent": library.Library("Absent", needs=("json", "no_such_module")),
    }

    def prepare(worker, name):
        if name == "broken":
            raise session.Failed("it broke")
        if name == "future":
            raise session.Unavailable("not built yet")
        return lambda: {"value": 2.0, "contaminated": False}

    result = turns.Measured("a network", libraries)
    said = []
    turns.measure(result, prepare, turns.Plan(rounds=2, checked=False), said.append)
    assert result.series["fine"].values == [2, 2]
    assert result.failed
    assert "  Broken: failed, it broke" in said
    made = table.measured_table(
        "Title", ("network", "library"), [result], "fine", {"twice": lambda one, name: "4"}
    )
    assert made.columns == (
        "network", "library", "median", "min", "quartiles", "samples", "vs Fine", "twice"
    )  # fmt: skip
    assert made.rows == [("a network", "Fine", "2.00", "2.00", "2.00–2.00", "2 + 0", "1.00×", "4")]
    assert made.remarks == [
        "Future: not measured, not built yet",
        "Absent: not measured, no_such_module is not installed",
        "Broken: failed on a network, it broke",
    ]


def measured_steps(bench, **medians):
    """Training steps of the smallest network with made-up times."""
    part, turns = bench("part_steps"), bench("turns")
    network = bench("problem").NETWORKS[0]
    last = {"seconds": 1.0, "processor_seconds": 1.0}
    result = part.Steps(network.name, bench("peer").PEERS, network=network)
    result.series = {name: turns.Series([value], last=last) for name, value in medians.items()}
    result.learning = {name: part.Learning(0.3, 0.7, True) for name in medians}
    return result


def test_bars_are_held_against_ratios_and_the_floor(bench):
    bars, peak = bench("bars"), bench("floor").Peak(one=240e9, all=450e9, processors=2)
    result = measured_steps(bench, chainrule=10.0, jax=22.0, torch=400.0)
    found = bars.step_bars(result, peak)
    assert [round(one.bar, 3) for one in found] == [2.75, 34.875, 0.512]
    assert [round(one.measured, 3) for one in found] == [2.2, 40.0, 0.406]
    assert [one.verdict for one in found] == ["MISSED by 20 %", "met by 15 %", "MISSED by 21 %"]
    table = bars.bars_table({"steps": [result]}, peak)
    assert table.rows[0] == (
        "20-64-64-2, batch 32: times faster than JAX, scan", "2.75×", "2.20×", "MISSED by 20 %"
    )  # fmt: skip
    assert table.remarks == ["1 of 3 met"]
    assert bars.bars_table({}, peak) is None
    assert bars.Bar("seconds", 4.0, 3.0, False, "s").verdict == "met by 25 %"


def test_every_bar_has_its_network(bench):
    names = {network.name for network in bench("problem").NETWORKS}
    many = bench("part_many")
    assert set(bench("bars").STEP_BARS) == names | {f"{many.COUNT} × {many.NETWORK.name}"}


def test_the_figure_is_the_same_file_every_time(bench, tmp_path):
    plot, peak = bench("plot"), bench("floor").Peak(one=240e9, all=450e9, processors=2)
    assert set(plot.STYLES) == set(bench("peer").PEERS)
    result = measured_steps(bench, chainrule=8.0, jax=22.0)
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in files:
        plot.draw([result], peak, path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert b"<svg" in files[0].read_bytes()


def test_a_toy_run_makes_the_page_and_the_figure(bench, toy, monkeypatch, tmp_path):
    turns, report = bench("turns"), bench("report")
    steps, startup, digits = bench("part_steps"), bench("part_startup"), bench("part_digits")
    programs = {name: "print(2.5)" if name.endswith("-step") else "" for name in startup.PROGRAMS}
    monkeypatch.setattr(startup, "PROGRAMS", programs)
    said = []
    choice = turns.Choice(
        turns.Plan(rounds=2, seconds=0.01, checked=False),
        ("chainrule", "sklearn"),
        {"sklearn"},
        say=said.append,
    )
    trained = steps.measure_training(
        {name: bench("peer").PEERS[name] for name in choice.peers}, toy, choice.plan, said.append, 20
    )
    assert all(one.learned for one in trained.learning.values())
    results = report.Results(
        choice.plan, "python benchmarks/bench.py", bench("floor").Peak(1e11, 2e11, 2),
        {
            "steps": [trained], "startup": startup.measure_part(choice),
            "digits": [digits.measure_digits(choice, max_iter=2)],
        },
    )  # fmt: skip
    page, figure = report.write(results, tmp_path / "page.md")
    assert figure.read_text().startswith("<?xml")
    text = page.read_text()
    assert "NOT VALID" in text
    assert "(page.svg)" in text
    for start in (
        "| 6-8-3, batch 16 | chainrule | ", "| 6-8-3, batch 16 | scikit-learn | ",
        "| import sklearn.neural_network | ",
        "| first training step, nothing kept | 4.00 s | 2.50 s | met by 38 %",
        "## MLPClassifier(random_state=0).fit on the digits (seconds)", "\n| scikit-learn | ",
    ):  # fmt: skip
        assert start in text
    made = report.tables(results)
    assert len(made) == 5
    assert all({len(row) for row in table.rows} == {len(table.columns)} for table in made)
    assert not results.failed


def test_two_at_once_are_a_disturbance_only_to_each_other(bench, monkeypatch):
    two = bench("part_two")
    busy = iter([10.0, 14.1])
    monkeypatch.setattr(two, "busy_seconds", lambda: next(busy))
    asked = []

    class Answering:
        def ask(self, do, **arguments):
            asked.append(do)

        def answer(self):
            assert len(asked) == 2  # both are at work before one is waited for
            return {"value": 30.0, "seconds": 2.0, "processor_seconds": 2.0, "contaminated": True}

    answer = two._together([Answering(), Answering()], repeats=7)
    assert answer == {"value": 30.0, "contaminated": True}  # 0.1 s of 2 s were somebody else's
    busy = iter([10.0, 14.05])
    asked.clear()
    assert two._together([Answering(), Answering()], repeats=7)["contaminated"] is False


def test_the_command_line(bench):
    script = bench("bench")
    complete = script.parse([])
    assert (complete.libraries, complete.parts) == ([], list(bench("parts").PARTS))
    assert complete.out == script.PAGE
    everything = script.choice_of(complete)
    assert everything.peers == bench("peer").DEFAULT
    assert everything.families == set(bench("library").FAMILIES)
    some = script.parse(["--only", "torch-compile,chainrule"])
    assert (some.parts, some.out) == (["steps"], None)
    assert script.choice_of(some).peers == ("chainrule", "torch-compile")
    assert script.choice_of(some).families == {"chainrule", "torch"}
    assert script.parse(["--only", "digits"]).parts == ["digits"]
    assert script.parse(["--only", "gemm,mkl"]).libraries == ["mkl"]
    assert script.parse(["--quick"]).out is None
    for wrong in (["--only", "caffe"], ["--only", ","], ["--only", "mkl"], ["--rounds", "0"]):
        with pytest.raises(SystemExit, match="2"):
            script.parse(wrong)
