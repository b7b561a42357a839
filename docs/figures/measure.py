"""Measure the calls of a step one by one: the numbers of ``docs/engine.md``.

    python docs/figures/measure.py

prints the tables of the page and writes ``times.json`` beside this file, from which ``engine.py`` draws. A
call is played alone, many times in a row, so what it reads is as near as it can be; what it costs more in the
middle of a step shows in the time of the whole step. Times are the best of many short rounds, since other
programs can only make a round longer: processor time for one thread, the clock's for two.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from chainrule import nn
from chainrule.arrays import zeros
from chainrule.engine import Predictor, worker
from chainrule.engine.calls import STEP, STEP_REALS, call_type, place_in_step, word
from chainrule.engine.dependencies import Call
from chainrule.engine.memory import Workspace, address, aligned
from chainrule.engine.objects import vector_unit
from chainrule.engine.schedule import Numbers, Purpose, Scheduler, words_of, write_schedule
from chainrule.engine.threads import pool
from chainrule.optim import SGD, Adam
from chainrule.plan import flatten, lower

HERE = Path(__file__).parent
N_EXAMPLES, BATCH = 2048, 32
EPOCHS = 4  # in one go, where threads have to be woken for it
ROUNDS, SECONDS_A_ROUND = 80, 0.002


class Timed(NamedTuple):
    """A call by name, what it works on, and its nanoseconds."""

    name: str
    arguments: dict[str, Any]
    ns: float


def kernel_name(call: Call) -> str:
    """The name of a call's kernel."""
    kernel: Any = call.kernel
    return kernel.name


class Steps:
    """Steps of one network, ready to be played whole or call by call.

    Parameters
    ----------
    layers : modules of the network
    optimizer : SGD or Adam
    batch : rows of a batch
    n_threads : int
    purpose : fields of ``Purpose`` other than those of plain training
    """

    def __init__(
        self,
        *layers: nn.Module,
        optimizer: Any = None,
        batch: int = BATCH,
        n_threads: int = 1,
        **purpose: Any,
    ) -> None:
        optimizer = optimizer or Adam(lr=1e-3)
        network = nn.Sequential(*layers)
        self.plan, self.batch, self.n_threads = lower(network, "softmax_cross_entropy"), batch, n_threads
        rng = np.random.default_rng(0)
        state = network.state_dict()
        self._parameters, self._buffers = (
            flatten(state, slots, np.float32) for slots in (self.plan.parameters, self.plan.buffers)
        )
        self._moments = zeros((2, len(self._parameters)), np.float32)
        self._X = rng.standard_normal((N_EXAMPLES, self.plan.n_inputs)).astype(np.float32)
        self._y = rng.integers(0, self.plan.n_outputs, N_EXAMPLES)
        self._order = np.concatenate([rng.permutation(N_EXAMPLES) for _ in range(EPOCHS)])
        # As in the thousandth step and later: Adam's first steps are longer.
        table = optimizer.coefficients(np.full(EPOCHS * N_EXAMPLES // batch, 1e-4), 1000)
        self._coefficients = table.astype(np.float32)
        self.memory = Workspace(self.plan, np.float32, batch, n_threads, training=True)
        self._watches = purpose.get("watches", False)
        self.memory.make_room_for_samples(EPOCHS * N_EXAMPLES // batch)
        numbers = Numbers(*(address(a) for a in (self._parameters, self._buffers, *self._moments)))
        wanted = Purpose(learns=True, training=True, packs=n_threads > 1)._replace(
            **{"classes": True, "tracks": True, "rule": optimizer.rule} | purpose
        )
        self.phases = Scheduler(self.plan, self.memory, numbers, wanted).write()
        self.schedule = write_schedule(self.plan, self.memory, numbers, wanted)

    def calls(self, thread: int = 0) -> list[Call]:
        """The calls of a thread, without the waiting."""
        return [call for phase in self.phases for call in phase[thread]]

    def _record(self) -> np.ndarray:
        values = {
            "X": address(self._X), "targets": address(self._y), "loss_scale": 1.0, "l2": 1e-4, "l1": 1e-5,
            "clip_norm": 1.0,
        }  # fmt: skip
        record = aligned(len(STEP + STEP_REALS), np.int64)
        for name, value in values.items():
            record[place_in_step(name)] = word(value)
        return record

    def seconds(self, words: list[np.ndarray], turns: int) -> float:
        """Time to play each thread's list of calls through all batches, ``turns`` times."""
        kernel = worker.play()
        play = call_type(kernel.address)
        arguments, records = [], [self._record() for _ in words]
        for thread, own in enumerate(words):
            opening = self.schedule.opening[thread]
            values = dict.fromkeys(kernel.fields, 0) | {
                "calls": address(own), "n_calls": len(own), "watched": address(own), "n_watched": len(own),
                "opening": address(opening), "n_opening": len(opening),
                "n_all": self._n_all(len(words)), "batch_size": self.batch, "every": int(self._watches),
                "first_order": address(self._order), "first_coefficients": address(self._coefficients),
                "coefficient_bytes": self._coefficients.strides[0],
                "progress": address(self.memory.progress), "thread": thread, "n_threads": len(words),
            }  # fmt: skip
            arguments.append(np.array(kernel.pack(**values), np.int64))

        def run(thread: int) -> None:
            play(address(arguments[thread]), address(records[thread]))

        clock = time.thread_time if len(words) == 1 else time.perf_counter
        total = 0.0
        for _ in range(turns):
            self.memory.reset()
            start = clock()
            if len(words) == 1:
                run(0)
            else:
                pool(len(words)).run(run)
            total += clock() - start
        return total

    def _n_all(self, n_threads: int) -> int:
        return N_EXAMPLES if n_threads == 1 else len(self._order)

    def nanoseconds(self, words: list[np.ndarray], rounds: int = ROUNDS) -> float:
        """The best time of a step that consists of these calls."""
        words = [np.ascontiguousarray(own) for own in words]
        turns = max(1, round(SECONDS_A_ROUND / self.seconds(words, 1)))
        best = min(self.seconds(words, turns) for _ in range(rounds))
        return best / turns / (self._n_all(len(words)) // self.batch) * 1e9

    def whole(self) -> float:
        """Nanoseconds of the whole step."""
        return self.nanoseconds(self.schedule.step, 3 * ROUNDS)

    def alone(
        self, wanted: Callable[[Call], bool] = lambda call: True, thread: int = 0, repeated: int = 16
    ) -> list[Timed]:
        """Nanoseconds of each wanted call, ``repeated`` times in each step after the two that begin it."""
        calls = self.calls(thread)
        words = words_of(calls)
        begin = words[:2]
        nothing = self.nanoseconds([begin])
        times = []
        for number, call in enumerate(calls):
            if not wanted(call):
                continue
            same = np.repeat(words[number : number + 1], repeated, axis=0)
            ns = (self.nanoseconds([np.concatenate([begin, same])]) - nothing) / repeated
            times.append(Timed(kernel_name(call), call.arguments, max(0.0, ns)))
        return times


def chapter(*between: nn.Module, **settings: Any) -> Steps:
    """784-128-10 with some modules after the first layer, ReLU unless others are given."""
    return Steps(
        nn.Linear(784, 128, rng=0), *(between or (nn.ReLU(),)), nn.Linear(128, 10, rng=1), **settings
    )


# -- what is measured ------------------------------------------------------------------------------

SIZES = ("n_terms", "rows", "columns", "count", "width")


def multiply_adds(call: Timed) -> int:
    """Multiply-adds of a product or gradient over a batch."""
    sizes = call.arguments
    return BATCH * sizes.get("columns", 0) * sizes.get("n_terms", sizes.get("rows", 0))


def step_table() -> dict[str, Any]:
    """The calls of a step of 784-128-10, by one thread and by two."""
    one, two = chapter(), chapter(n_threads=2)
    whole, whole_by_two = one.whole(), two.whole()
    print(f"## One step of 784-128-10, batch {BATCH}, Adam: {whole / 1000:.1f} us; "
          f"two threads {whole_by_two / 1000:.1f} us\n")  # fmt: skip
    print("| call | sizes | ns | % of the step | GFLOP/s |\n|---|---|---|---|---|")
    calls = one.alone()
    for call in calls:
        sizes = ", ".join(f"{k} {call.arguments[k]}" for k in SIZES if k in call.arguments)
        rate = 2 * multiply_adds(call) / call.ns if call.ns > 1000 and call.name in PRODUCTS else 0
        print(f"| {call.name} | {sizes} | {call.ns:,.0f} | {100 * call.ns / whole:.2f} "
              f"| {f'{rate:.0f}' if rate else ''} |")  # fmt: skip
    print(f"| sum | | {sum(call.ns for call in calls):,.0f} | |\n")
    return {
        "whole": round(whole),
        "whole_by_two": round(whole_by_two),
        "one": [[call.name, round(call.ns)] for call in calls],
        "two": [[[call.name, round(call.ns)] for call in two.alone(thread=thread)] for thread in range(2)],
    }


PRODUCTS = ("product", "gradient", "gradient_update")


def rate() -> float:
    """GFLOP/s of a product all of whose numbers stay in the first cache."""
    steps = Steps(nn.Linear(64, 64, rng=0), nn.ReLU(), nn.Linear(64, 2, rng=1), batch=96)
    call = steps.alone(lambda call: kernel_name(call) == "product")[0]
    result = 2 * 96 * 64 * 64 / call.ns
    print(f"## 96 x 64 by 64 x 64: {call.ns:,.0f} ns, {result:.0f} GFLOP/s ({vector_unit().name})\n")
    return result


def library_calls() -> tuple[float, float]:
    """Microseconds of the same step, a library call for each operation; and of its products alone."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_EXAMPLES, 784), np.float32)
    y = rng.integers(0, 10, N_EXAMPLES)
    order = rng.permutation(N_EXAMPLES)
    V1, V2 = (rng.standard_normal(shape, np.float32) / 28 for shape in ((784, 128), (128, 10)))
    parameters = [V1, np.zeros(128, np.float32), V2, np.zeros(10, np.float32)]
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in parameters]
    a, b, c, rows = 0.1, 0.001, 1e-4, np.arange(BATCH)
    a, b, c = map(np.float32, (a, b, c))

    def step(examples: np.ndarray) -> None:
        x, (V1, b1, V2, b2) = X[examples], parameters
        z1 = x @ V1 + b1
        h1 = np.maximum(z1, 0)
        z2 = h1 @ V2 + b2
        e = np.exp(z2 - z2.max(axis=1, keepdims=True))
        d2 = e / e.sum(axis=1, keepdims=True)
        np.log(d2[rows, y[examples]]).mean()
        d2[rows, y[examples]] -= 1
        d2 /= BATCH
        d1 = (d2 @ V2.T) * (z1 > 0)
        gradients = x.T @ d1, d1.sum(axis=0), h1.T @ d2, d2.sum(axis=0)
        for w, (first, second), g in zip(parameters, moments, gradients, strict=True):
            first *= 1 - a
            first += a * g
            second *= 1 - b
            second += b * g * g
            w -= c * first / (np.sqrt(second) + np.float32(1e-8))

    x, h1, d1, d2 = X[:BATCH], *(np.ones((BATCH, n), np.float32) for n in (128, 128, 10))

    def products(examples: np.ndarray) -> None:
        x @ V1, h1 @ V2, d2 @ V2.T, x.T @ d1, h1.T @ d2

    def best(function: Callable[[np.ndarray], None]) -> float:
        result = np.inf
        for _ in range(ROUNDS):
            start = time.thread_time()
            for examples in order.reshape(-1, BATCH):
                function(examples)
            result = min(result, time.thread_time() - start)
        return result * BATCH / N_EXAMPLES * 1e6

    with threadpool_limits(1):
        times = best(step), best(products)
    print(f"## The same with NumPy, one thread: {times[0]:.0f} us, of which products {times[1]:.0f}\n")
    return times


def form_table(whole: float) -> None:
    """What the storing form costs: the whole step, in variants."""
    print("## Variants of the step\n\n| step | us | against plain Adam |\n|---|---|---|")
    variants = {
        "Adam": {},
        "SGD, momentum": {"optimizer": SGD(lr=0.01, momentum=0.9)},
        "SGD, Nesterov": {"optimizer": SGD(lr=0.01, momentum=0.9, nesterov=True)},
        "Adam, L2": {"variant": "l2"},
        "Adam, L2 and L1": {"variant": "l1"},
        "Adam, clipped": {"clips": True},
        "gradient only, stored": {"rule": None},
        "telemetry in this step": {"watches": True},
    }
    for name, settings in variants.items():
        ns = chapter(**settings).whole()
        print(f"| {name} | {ns / 1000:.1f} | {100 * (ns / whole - 1):+.0f} % |")
    print("\n| calls of the first layer | size | us |\n|---|---|---|")
    for d_in, d_out in ((784, 128), (2048, 2048)):
        for settings in ({}, {"clips": True}):
            layers = nn.Linear(d_in, d_out, rng=0), nn.ReLU(), nn.Linear(d_out, 10, rng=1)
            for call in Steps(*layers, **settings).alone(_covers(d_in, d_out), repeated=2):
                print(f"| {call.name} | {d_in} x {d_out} | {call.ns / 1000:,.1f} |")
    print()


def _covers(rows: int, columns: int) -> Callable[[Call], bool]:
    """Whether a call works on all of a matrix of that size."""

    def covers(call: Call) -> bool:
        sizes = call.arguments
        return sizes.get("rows") == rows and sizes.get("columns", sizes.get("count")) == columns

    return covers


def pass_table(whole: float) -> None:
    """What passes over a value of 32 x 128 numbers cost, forward and back."""
    print(f"## Passes over {BATCH} x 128 numbers\n\n| pass | forward ns | back ns | both, % of the step |\n"
          "|---|---|---|---|")  # fmt: skip
    n = 128
    modules = {
        "ReLU": nn.ReLU(), "leaky ReLU": nn.LeakyReLU(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(),
        "ELU": nn.ELU(), "SELU": nn.SELU(), "softplus": nn.Softplus(), "GELU": nn.GELU(), "SiLU": nn.SiLU(),
        "Mish": nn.Mish(), "dropout": nn.Dropout(0.5), "batch normalisation": nn.BatchNorm1d(n),
        "layer normalisation": nn.LayerNorm(n), "residual join": nn.Residual(nn.Linear(n, n, rng=2)),
    }  # fmt: skip
    kernels = {
        "dropout": ("dropout",), "batch normalisation": ("batch_norm_forward", "batch_norm_backward"),
        "layer normalisation": ("layer_norm_forward", "layer_norm_parameters", "layer_norm_backward"),
        "residual join": ("add", "pass"),
    }  # fmt: skip
    for name, module in modules.items():
        wanted = kernels.get(name, ("activate", "gate"))
        times = [call.ns for call in chapter(module).alone(_is_one_of(*wanted))]
        forward, back = times[0], sum(times[1:])
        print(f"| {name} | {forward:,.0f} | {back:,.0f} | {100 * (forward + back) / whole:.2f} |")
    print()


def _is_one_of(*names: str) -> Callable[[Call], bool]:
    """Whether the kernel of a call is one of these, whatever follows its name."""
    return lambda call: kernel_name(call).startswith(names)


def prediction() -> None:
    """From one row to many."""
    network = nn.Sequential(nn.Linear(784, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=1))
    predict = Predictor(network, n_threads=1)
    print("## Prediction with 784-128-10, one thread\n\n| rows | us | ns a row |\n|---|---|---|")
    for rows in (1, 8, 64, 1024, 16384):
        x = np.random.default_rng(0).standard_normal((rows, 784)).astype(np.float32)
        out = np.empty((rows, 10), np.float32)
        predict.into(x, out)
        turns, best = max(1, 400 // rows), np.inf
        for _ in range(ROUNDS):
            start = time.thread_time()
            for _ in range(turns):
                predict.into(x, out)
            best = min(best, (time.thread_time() - start) / turns)
        print(f"| {rows:,} | {best * 1e6:,.1f} | {best / rows * 1e9:,.0f} |")
    print()


FIRST_STEP = """
import time
import numpy as np
import chainrule
from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.execution import Instructions, prepare
from chainrule.optim import Adam
from chainrule.plan import flatten, lower
network = nn.Sequential(nn.Linear(784, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=1))
plan = lower(network, "softmax_cross_entropy")
parameters = flatten(network.state_dict(), plan.parameters, np.float32)
X, y = np.ones((32, 784), np.float32), np.zeros(32, np.int64)
adam = Adam(lr=1e-3)
instructions = Instructions(
    None, 32, adam.rule, adam.coefficients(np.full(1, 1e-3), 0), np.zeros((2, len(parameters)), np.float32)
)
start, processor = time.perf_counter(), time.process_time()
executor = EngineExecutor(plan, parameters, np.empty(0, np.float32))
executor.run(prepare(plan, X, y, dtype=np.float32), instructions)
print(time.perf_counter() - start, time.process_time() - processor)
"""


def first_step() -> None:
    """Seconds until the first step is done: with nothing kept, and with all kernels kept."""
    print("## The first step of a process\n\n| kernels | seconds | of processor time |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as cache:
        for name in ("compiled", "kept", "kept"):
            result = subprocess.run(
                [sys.executable, "-c", FIRST_STEP], capture_output=True, text=True, check=True,
                env={**os.environ, "CHAINRULE_CACHE_DIR": cache},
            )  # fmt: skip
            clock, processor = map(float, result.stdout.split())
            print(f"| {name} | {clock:.2f} | {processor:.2f} |")
        size = sum(path.stat().st_size for path in Path(cache).iterdir())
        print(f"\n{len(list(Path(cache).iterdir()))} files, {size / 1e3:,.0f} KB\n")


def main() -> None:
    """Print the tables; write what the figures need."""
    times = step_table()
    times["rate"] = round(rate())
    library_calls()
    form_table(times["whole"])
    pass_table(times["whole"])
    prediction()
    first_step()
    (HERE / "times.json").write_text(json.dumps(times) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
