"""A step of training whose calls are run one by one, on made-up numbers, and all that they may touch."""

import numpy as np
import scipy.sparse

from chainrule import nn
from chainrule.engine import weights
from chainrule.engine.calls import STEP, STEP_REALS, call_type, place_in_step, word
from chainrule.engine.layout import BLOCK
from chainrule.engine.memory import Workspace, address
from chainrule.engine.schedule import Numbers, Purpose, Scheduler
from chainrule.optim import SGD, Adam
from chainrule.plan import lower

OPTIMIZERS = {one.rule.name: one for one in (Adam(eps=1e-2), SGD(momentum=0.9, nesterov=True))}
LEARNS = Purpose(learns=True, training=True, tracks=True, rule=OPTIMIZERS["adam"].rule)
PURPOSES = {
    "predict": Purpose(),
    "gradient": Purpose(learns=True, training=True),
    "gradient in evaluation": Purpose(learns=True),
    "learn": LEARNS,
    "learn by sgd": LEARNS._replace(rule=OPTIMIZERS["sgd"].rule),
    "learn with penalties": LEARNS._replace(variant="l1", decay_all=True),
    "learn together": LEARNS._replace(packs=True),
    "clip": LEARNS._replace(clips=True, variant="l2"),
    "watch": LEARNS._replace(watches=True),
    "watch and clip": LEARNS._replace(watches=True, clips=True, variant="l1"),
}
# Batches of fewer rows than there is room for; no number of threads divides them.
CAPACITY, N_ROWS, N_EXAMPLES = 40, 37, 50


# -- networks --------------------------------------------------------------------------------------


def plan_of(*modules):
    return lower(nn.Sequential(*modules), "half_squared_error")


def residual(*modules, shortcut=None):
    return nn.Residual(nn.Sequential(*modules), shortcut)


NETWORKS = {
    "linear": lambda: [nn.Linear(130, 200), nn.ReLU(), nn.Linear(200, 3)],
    "batch norm": lambda: [
        nn.BatchNorm1d(130), nn.Linear(130, 200), nn.BatchNorm1d(200), nn.Tanh(), nn.Linear(200, 2),
    ],
    "layer norm": lambda: [
        nn.Linear(130, 200), nn.LayerNorm(200), nn.LayerNorm(200), nn.ReLU(), nn.Linear(200, 3),
    ],
    "layer norm on the inputs": lambda: [nn.LayerNorm(130), nn.Linear(130, 2)],
    "layer norm last": lambda: [nn.Linear(130, 200), nn.LayerNorm(200)],
    "residual": lambda: [
        residual(nn.LayerNorm(130, elementwise_affine=False), nn.Linear(130, 130), nn.Dropout())
    ],
    "projection": lambda: [nn.Linear(5, 130), residual(nn.Linear(130, 200), nn.BatchNorm1d(200))],
    "two branches": lambda: [
        nn.Linear(3, 130),
        residual(
            nn.Linear(130, 256), nn.BatchNorm1d(256),
            shortcut=nn.Sequential(nn.BatchNorm1d(130), nn.Linear(130, 256)),
        ),
    ],
    # What every thread computes for itself, between values that are shared out.
    "narrow": lambda: [
        nn.Linear(130, 200), nn.Linear(200, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.LayerNorm(20),
        nn.Dropout(0.1), nn.Linear(20, 200), nn.Softplus(),
    ],
    "narrow in a residual": lambda: [
        nn.Linear(130, 130), residual(nn.Linear(130, 9), nn.GELU(), nn.Linear(9, 130)), nn.Linear(130, 40),
    ],
    "small": lambda: [nn.Linear(9, 12), nn.LayerNorm(12), nn.SiLU(), residual(nn.Linear(12, 12))],
    # Rows of V that are multiples of 1 KB apart are copied together; so are those of a V of more than 1 MB.
    "copied": lambda: [nn.Linear(130, 256), nn.ReLU(), nn.Linear(256, 128)],
    "copied by everyone": lambda: [nn.Linear(6600, 20), nn.Tanh(), nn.Linear(20, 3)],
}  # fmt: skip


# -- a step whose calls are run one by one ---------------------------------------------------------


class Step:
    """A step of a plan on made-up numbers, and every array that its calls may touch.

    Attributes
    ----------
    phases : as ``Scheduler.write`` gives them
    shared : dict
        Arrays by the names that ``Access`` has for them.
    owned : dict
        Arrays that no call declares, because every entry of them is one thread's alone.
    """

    def __init__(
        self, plan, purpose, n_threads, dtype=np.float64, *, capacity=CAPACITY, n_rows=N_ROWS, sparse=False,
        clip_norm=0.1,
    ):  # fmt: skip
        self.plan, self.n_threads, self.n_rows, self.dtype = plan, n_threads, n_rows, dtype
        self.memory = Workspace(
            plan, dtype, capacity, n_threads,
            training=purpose.learns, sparse=sparse, precision=purpose.precision,
        )  # fmt: skip
        self.memory.make_room_for_samples(1)
        rng = np.random.default_rng(0)
        self.parameters = rng.normal(0.0, 0.1, plan.n_parameters).astype(dtype)
        self.buffers = rng.uniform(0.5, 1.5, plan.n_buffers).astype(dtype)
        self.state = rng.uniform(0.0, 0.1, (2, plan.n_parameters)).astype(dtype)
        self.data = self._data(rng, purpose, sparse)
        numbers = Numbers(*map(address, (self.parameters, self.buffers, *self.state)))
        scheduler = Scheduler(plan, self.memory, numbers, purpose)
        self.phases = scheduler.write()
        fields = {
            "n_rows": n_rows,
            "seed": 3,
            "loss_scale": 1.0,
            "clip_norm": clip_norm,
            "l2": 0.1,
            "l1": 0.05,
        }
        fields |= {name: address(array) for name, array in self.data.items()}
        words = np.zeros(len(STEP + STEP_REALS), np.int64)
        for name, value in fields.items():
            words[place_in_step(name)] = word(value)
        self.records = [words.copy() for _ in range(n_threads)]
        self._closing = [(t, call) for t in range(n_threads) for call in weights.closing(scheduler, t)]
        for thread in range(n_threads):
            for call in weights.opening(scheduler, thread):
                self.run(thread, call)
        # Of arrays that lie in pieces: the whole, and the columns that a piece is.
        self._pieces = {}
        self.shared, self.owned = self._shared(), self._owned()

    def _data(self, rng, purpose, sparse):
        X = rng.normal(size=(N_EXAMPLES, self.plan.n_inputs))
        data = {
            "X": X, "targets": rng.normal(size=(N_EXAMPLES, self.plan.n_outputs)),
            "weights": rng.uniform(0.5, 2.0, N_EXAMPLES), "order": rng.permutation(N_EXAMPLES),
            "output": np.full((self.n_rows, self.plan.n_outputs), np.nan),
        }  # fmt: skip
        if sparse:
            rows = scipy.sparse.csr_matrix(X * (rng.random(X.shape) < 0.3))
            data |= {"X": rows.data, "sparse_columns": rows.indices, "sparse_starts": rows.indptr}
        if purpose.rule is not None:
            data["coefficients"] = OPTIMIZERS[purpose.rule.name].coefficients(np.array([0.01]), 0)[0]
        kinds = {"f": self.dtype, "i": np.int64}
        return {name: array.astype(kinds[array.dtype.kind]) for name, array in data.items()}

    def _shared(self):
        memory, plan = self.memory, self.plan
        arrays = {}

        def add(kind, v, one_or_more, shape):
            private = memory.layouts[v].private
            for thread, array in enumerate(one_or_more):
                arrays[(kind, v, thread) if private else (kind, v)] = array.reshape(shape)

        for kind, matrices in (("value", memory.values), ("delta", memory.deltas)):
            for v, matrix in enumerate(matrices):
                if matrix is not None:
                    add(kind, v, matrix._arrays, (memory.capacity, matrix.stride))
        add("losses", len(plan.operations), memory.losses, (memory.capacity, 1))
        for k, vectors in memory.statistics.items():
            add("statistics", k + 1, vectors, (4 if plan.operations[k].kind == "batch_norm" else 2, -1))
        first_blocks = memory.parameter_blocks
        for i, slot in enumerate(plan.parameters):
            arrays["parameters", slot.offset] = slot.view(self.parameters).T.reshape(-1, slot.shape[0])
            arrays["gradient", slot.offset] = slot.view(memory.gradient).T.reshape(-1, slot.shape[0])
            arrays["norms", slot.offset] = memory.norms[None, first_blocks[i] : first_blocks[i + 1]]
        for (offset, thread), (piece, *_) in memory._own_weights.items():
            (k,) = (k for k, op in enumerate(plan.operations) if op.kind == "linear" and op.weight == offset)
            part = memory.layouts[k + 1].parts[thread]
            self._pieces["piece", offset, thread] = ("parameters", offset), part.first, part.count
            arrays["piece", offset, thread] = piece.reshape(plan.operations[k].width_in, -1)
        for whole, _, _ in self._pieces.values():
            # What lies elsewhere for the run no call has any business with.
            arrays["unused", whole[1]] = arrays.pop(whole, arrays.get(("unused", whole[1])))
        return arrays

    def _owned(self):
        memory = self.memory
        arrays = {
            "moments": self.state, "buffers": self.buffers, "penalties": memory.penalties,
            "loss": memory.loss, "operation sums": memory.operation_sums[0],
            "parameter sums": memory.parameter_sums[0], "previous": memory.previous,
            "output": self.data["output"],
        }  # fmt: skip
        for thread in range(self.n_threads):
            arrays["scratch", thread] = memory.scratch[thread]
            arrays["rows of X", thread] = memory._x_tables[thread]
            arrays["left", thread], arrays["right", thread] = memory.packed[thread]
        for name, (_, first, second) in memory._own_weights.items():
            arrays["first", *name], arrays["second", *name] = first, second
        return arrays

    def entries(self, access):
        """Where the entries of an access are in its array."""
        kind, v = access.array[:2]
        of_batch = slice(*(self.n_rows * part // self.n_threads for part in access.rows))
        columns = slice(*access.columns)
        if kind == "statistics":
            by_rows = self.plan.operations[v - 1].kind == "layer_norm"
            return (slice(None), of_batch if by_rows else columns)
        if kind == "norms":
            return (slice(None), slice(access.columns[0] // BLOCK, -(-access.columns[1] // BLOCK)))
        if kind in ("parameters", "gradient"):
            return (slice(*access.rows), columns)
        return (of_batch, slice(None) if kind == "losses" else columns)

    def mask(self, name, accesses):
        """Which entries of a shared array these accesses are of."""
        mask = np.zeros(self.shared[name].shape, bool)
        whole, first, count = self._pieces.get(name, (name, 0, None))
        for access in accesses:
            if access.array == whole:
                columns = np.clip(np.subtract(access.columns, first), 0, count)
                mask[self.entries(access._replace(columns=tuple(columns)))] = True
        return mask

    def calls(self):
        """(thread, call), in the order in which one thread alone would go through them."""
        for phase in self.phases:
            for thread, calls in enumerate(phase):
                for call in calls:
                    yield thread, call

    def run(self, thread, call):
        words = np.array(call.kernel.pack(**call.arguments), np.int64)
        call_type(call.kernel.address)(words.ctypes.data, self.records[thread].ctypes.data)

    def close(self):
        """What comes after the last step."""
        for thread, call in self._closing:
            self.run(thread, call)

    def everything(self):
        """All arrays by name."""
        records = {("record", thread): record for thread, record in enumerate(self.records)}
        return self.shared | self.owned | records

    def snapshot(self):
        return {name: array.copy() for name, array in self.everything().items()}

    def restore(self, snapshot):
        for name, array in self.everything().items():
            array[...] = snapshot[name]


def name_of(call):
    return call.kernel.name
