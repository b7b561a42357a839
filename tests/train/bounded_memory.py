"""Train on a file in a process whose address space may grow by a quarter of the file's size.

``python bounded_memory.py FILE BYTES`` prints, as JSON, the losses. First everything that a training needs
whatever its data is brought into memory by a small one: code, threads, compiled kernels. From then on the
process may take BYTES more.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

import chainrule
from chainrule import nn

N_FEATURES = 16
BATCH_SIZE = 512
BUFFER_ROWS = 50_000
SETTINGS = {
    "loss": nn.MSELoss(),
    "optimizer": chainrule.optim.Adam(lr=0.003),
    "batch_size": BATCH_SIZE,
    "epochs": 1,
    "n_jobs": 1,
    "verbose": 0,
}


def network():
    return nn.Sequential(nn.Linear(N_FEATURES, 32, rng=0), nn.ReLU(), nn.Linear(32, 1, rng=1))


def rows(n, seed):
    """Features and a target that is no linear function of them."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, N_FEATURES), dtype=np.float32)
    y = np.tanh(2 * X[:, 0]) + X[:, 1] * (X[:, 2] > 0) + 0.1 * random.standard_normal(n, dtype=np.float32)
    return X, y.astype(np.float32)


def table(X, y):
    import pyarrow

    return pyarrow.table({**{f"x{column}": X[:, column] for column in range(X.shape[1])}, "y": y})


def opened(path):
    if path.suffix == ".npy":
        return chainrule.stream(path, target=N_FEATURES, buffer_rows=BUFFER_ROWS)
    return chainrule.stream(path, target="y", buffer_rows=BUFFER_ROWS)


def small(path, folder):
    """A small file of the same kind."""
    X, y = rows(2000, seed=9)
    place = Path(folder, "small" + path.suffix)
    if path.suffix == ".npy":
        np.save(place, np.column_stack([X, y]))
    else:
        import pyarrow.csv
        import pyarrow.parquet

        write = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
        write(table(X, y), place)
    return place


def has_room_for(n_bytes):
    try:
        np.empty(n_bytes, np.uint8)
    except MemoryError:
        return False
    return True


def main(path, n_bytes):
    held_out = rows(20_000, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        little = small(path, folder)
        chainrule.fit(network(), opened(little), validation=held_out, **SETTINGS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    net = network()
    before = chainrule.predict(net, held_out[0])[:, 0]
    history = chainrule.fit(net, opened(path), validation=held_out, **SETTINGS)
    answer = {
        "fits": has_room_for(path.stat().st_size // 2),
        "before": float(np.mean((before - held_out[1]) ** 2)),
        "validation_loss": history["validation_loss"][-1],
        "stopped": history.stopped,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
