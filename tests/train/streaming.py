"""The same rows as every kind of stream, and what tests do with streams."""

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet

import chainrule
from chainrule import nn


def table(X, y, **others):
    columns = {f"x{place}": X[:, place] for place in range(X.shape[1])}
    return pyarrow.table({**columns, "y": y, **others})


def cut(n, size=37):
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def as_two_files(folder, X, y, **options):
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return chainrule.stream(folder / "X.npy", folder / "y.npy", **options)


def as_one_file(folder, X, y, **options):
    """By columns, and the target in the middle."""
    whole = np.column_stack([X[:, :1], y, X[:, 1:]])
    np.save(folder / "whole.npy", np.asfortranarray(whole))
    return chainrule.stream(str(folder / "whole.npy"), target=1, **options)


def as_memory_map(folder, X, y, **options):
    np.save(folder / "X.npy", X)
    return chainrule.stream(np.load(folder / "X.npy", mmap_mode="r"), y, **options)


def as_chunks(folder, X, y, **options):
    return chainrule.stream([(X[rows], y[rows]) for rows in cut(len(X))], **options)


def as_function(folder, X, y, **options):
    return chainrule.stream(lambda: ((X[rows], y[rows]) for rows in cut(len(X), 64)), **options)


def as_parquet_file(folder, X, y, **options):
    pyarrow.parquet.write_table(table(X, y), folder / "rows.parquet", row_group_size=50)
    return chainrule.stream(folder / "rows.parquet", target="y", **options)


def as_parquet_directory(folder, X, y, **options):
    (folder / "deep").mkdir()
    for number, rows in enumerate(cut(len(X), 90)):
        place = folder / "deep" / f"part-{number:02}.parquet"
        pyarrow.parquet.write_table(table(X[rows], y[rows]), place, row_group_size=40)
    (folder / "_SUCCESS").touch()
    return chainrule.stream(folder, target="y", **options)


def as_csv_files(folder, X, y, **options):
    paths = []
    for number, rows in enumerate(cut(len(X), 120)):
        paths.append(folder / f"{number}.csv")
        pyarrow.csv.write_csv(table(X[rows], y[rows]), paths[-1])
    return chainrule.stream(paths, target="y", **options)


SOURCES = {
    "two .npy files": as_two_files,
    "one .npy file": as_one_file,
    "memory map": as_memory_map,
    "chunks": as_chunks,
    "function": as_function,
    "Parquet file": as_parquet_file,
    "Parquet directory": as_parquet_directory,
    "CSV files": as_csv_files,
}


def net(n_inputs, n_outputs, dtype=np.float64):
    return nn.Sequential(
        nn.Linear(n_inputs, 16, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(16, n_outputs, rng=1, dtype=dtype)
    )


def bits(module):
    return b"".join(array.tobytes() for array in module.state_dict().values())


def written(frame, folder, ending):
    """The frame as a directory of files."""
    folder.mkdir()
    for number, rows in enumerate(cut(len(frame), 150)):
        part = frame.iloc[rows]
        if ending == "parquet":
            part.to_parquet(folder / f"{number}.parquet", index=False)
        else:
            part.to_csv(folder / f"{number}.{ending}", index=False, sep="\t" if "tsv" in ending else ",")
    return folder


def all_of(stream):
    chunks = list(stream.chunks(None, np.float64))
    return np.concatenate([X for X, _, _ in chunks]), np.concatenate([y for _, y, _ in chunks])
