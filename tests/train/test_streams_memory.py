"""Training on files four times as large as the memory that the process may take."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.train import bounded_memory

import chainrule

resource = pytest.importorskip("resource")

LIMIT = 64 << 20
ROWS_AT_A_TIME = 350_000

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(),
    reason="the address space of a process is limited and measured as on Linux",
)


def parts(n_parts):
    for number in range(n_parts):
        yield bounded_memory.rows(ROWS_AT_A_TIME, seed=100 + number)


def write_npy(path, n_parts):
    shape = (n_parts * ROWS_AT_A_TIME, bounded_memory.N_FEATURES + 1)
    whole = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for number, (X, y) in enumerate(parts(n_parts)):
        part = whole[number * ROWS_AT_A_TIME : (number + 1) * ROWS_AT_A_TIME]
        part[:, :-1], part[:, -1] = X, y
    whole.flush()


def write_table(path, n_parts):
    schema = bounded_memory.table(*bounded_memory.rows(1, seed=0)).schema
    if path.suffix == ".parquet":
        opened = pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False)
    else:
        opened = pyarrow.csv.CSVWriter(path, schema)
    with opened as writer:
        for part in parts(n_parts):
            writer.write_table(bounded_memory.table(*part))


@functools.cache
def in_memory(n_parts):
    """The validation loss after the same training on the same rows, all of them in memory."""
    X, y = (np.concatenate(columns) for columns in zip(*parts(n_parts), strict=True))
    held_out = bounded_memory.rows(20_000, seed=1)
    history = chainrule.fit(bounded_memory.network(), X, y, validation=held_out, **bounded_memory.SETTINGS)
    return history["validation_loss"][-1]


@pytest.mark.parametrize(
    ("ending", "write", "n_parts"),
    [("npy", write_npy, 12), ("parquet", write_table, 12), ("csv", write_table, 5)],
)
def test_a_file_of_four_times_the_memory(tmp_path, ending, write, n_parts):
    path = tmp_path / f"large.{ending}"
    write(path, n_parts)
    assert path.stat().st_size > 4 * LIMIT
    done = subprocess.run(
        [sys.executable, bounded_memory.__file__, str(path), str(LIMIT)],
        env={**os.environ, "PYTHONPATH": str(Path(chainrule.__file__).parents[1])},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    path.unlink()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert not answer["fits"]  # half of the file is refused
    assert answer["stopped"] == "finished"
    # The noise in the targets alone is 0.01. The order of the rows differs, so the networks do a little.
    expected = in_memory(n_parts)
    assert 0.01 < expected < 0.04 < 1 < answer["before"]
    assert abs(answer["validation_loss"] - expected) < 0.005
