"""Sources that are tables: Parquet and CSV files, read piece by piece with pyarrow."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.train.streams.ahead import read_ahead
from chainrule.train.streams.columns import as_matrix, as_target, as_vector, column_sort, import_arrow, pick
from chainrule.train.streams.pieces import Piece, rows_a_piece

__all__ = ["CsvSource", "ParquetSource", "open_table"]

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
# What a column chunk of a Parquet file is read through, so that it need not be in memory as a whole.
READ_BUFFER = 1 << 16
# Bytes of a CSV file that are read at a time; in the first of them the types of its columns are found.
CSV_BLOCK = 1 << 20


def open_table(paths: Any, **roles: Any) -> "ParquetSource | CsvSource":
    """The source for a file, a directory or a list of files: Parquet or CSV, by their endings.

    ``roles`` are ``columns``, ``target`` and ``weight``: see ``TableSource``.
    """
    import_arrow()
    files, root = _found(paths)
    parquet = [file for file in files if file.name.lower().endswith(PARQUET_ENDINGS)]
    csv = [file for file in files if file.name.lower().endswith(CSV_ENDINGS)]
    others = [file for file in files if file not in parquet and file not in csv]
    if others or not files or (parquet and csv):
        found = "nothing of the kind" if not files else "both" if parquet and csv else str(others[0])
        raise ValueError(
            f"a stream reads Parquet ({', '.join(PARQUET_ENDINGS)}) or CSV files ({', '.join(CSV_ENDINGS)}), "
            f"not both; {root or 'the list'} has {found}"
        )
    return ParquetSource(parquet, root, **roles) if parquet else CsvSource(csv, **roles)


def _found(paths: Any) -> tuple[list[Path], Path | None]:
    """The files that are meant, and the directory they were found in."""
    if not isinstance(paths, str | os.PathLike):
        return [Path(path) for path in paths], None
    path = Path(paths)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or directory {os.fspath(path)!r}")
    if path.is_file():
        return [path], path
    endings = PARQUET_ENDINGS + CSV_ENDINGS
    inside = (file for file in path.rglob("*") if file.is_file() and file.name.lower().endswith(endings))
    # Names that begin so are other programs' own notes and unfinished files.
    return sorted(file for file in inside if not file.name.startswith((".", "_"))), path


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Turn what Arrow says of a file into a ValueError that names the file."""
    arrow = import_arrow()
    try:
        yield
    except (arrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # the system's word, such as that the file may not be read
        raise ValueError(f"cannot read {file}: {error}") from None


@dataclass(frozen=True)
class _Roles:
    """Which columns are what."""

    features: list[str]
    targets: list[str]
    weights: list[str]

    @property
    def all(self) -> list[str]:
        return [*self.features, *self.targets, *self.weights]


class TableSource:
    """What Parquet and CSV have in common.

    Parameters
    ----------
    files : sequence of Path
    columns : sequence of str, optional
        The features; by default every column that is neither target nor weight.
    target : str or sequence of str, optional
    weight : str, optional
    """

    def __init__(
        self, files: Sequence[Path], *, columns: Any = None, target: Any = None, weight: Any = None
    ) -> None:
        self.files = list(files)
        schemas = [self._schema(file) for file in self.files]
        self.schema = schemas[0]
        features, targets, weights = pick(self.schema.names, str(self.files[0]), columns, target, weight)
        self._roles = _Roles(features, targets, weights)
        for file, schema in zip(self.files[1:], schemas[1:], strict=True):
            self._check_schema(file, schema)
            extra = [name for name in schema.names if name not in self.schema.names]
            if extra and columns is None:
                raise ValueError(f"{file} has a column {extra[0]!r}, which {self.files[0]} has not")
        self.names = features
        self.target = f"column {targets[0]!r}" if targets else "y"

    def pieces(
        self, random: np.random.Generator | None, *, features: bool = True, frames: bool = False
    ) -> Iterator[Piece]:
        """See ``Source``."""
        pieces = self._read(random, features, frames)
        return read_ahead(pieces) if features else pieces  # counting has nothing to do meanwhile

    def _schema(self, file: Path) -> Any:
        raise NotImplementedError

    def _read(self, random: np.random.Generator | None, features: bool, frames: bool) -> Iterator[Piece]:
        """The pieces, read when they are asked for."""
        raise NotImplementedError

    def _check_schema(self, file: Path, schema: Any) -> None:
        """Refuse a file that lacks a column of the first, or has it with values of another sort."""
        for name in self._roles.all:
            if name not in schema.names:
                raise ValueError(f"{file} has no column {name!r}, which {self.files[0]} has")
            expected, got = column_sort(self.schema.field(name).type), column_sort(schema.field(name).type)
            if expected != got and "nothing" not in (expected, got):
                raise ValueError(
                    f"column {name!r} is of sort {got} in {file}, of {expected} in {self.files[0]}"
                )

    def _wanted(self, features: bool) -> list[str]:
        return self._roles.all if features else [*self._roles.targets, *self._roles.weights]

    def _piece(self, batch: Any, file: Path, rows: tuple[int, int], features: bool, frames: bool) -> Piece:
        """A batch of Arrow; ``rows`` are the number of its file's first row, and its own first row there."""
        first, start = rows
        roles, where = self._roles, str(file)
        X = None
        if features and frames:
            X = batch.select(roles.features).to_pandas()
            X.index = np.arange(start, start + len(X))  # so that a preprocessor's messages name the row
        elif features:
            X = as_matrix(batch, roles.features, where, start)
        weights = None
        if roles.weights:
            weights = as_vector(batch.column(roles.weights[0]), roles.weights[0], where, start)
        y = as_target(batch, roles.targets, where, start)
        numbers = np.arange(first + start, first + start + batch.num_rows)
        return Piece(X, y, weights, numbers, where, first)


class ParquetSource(TableSource):
    """Parquet files; blocks are their row groups. Directories called ``name=value`` are columns."""

    def __init__(self, files: Sequence[Path], root: Path | None, **roles: Any) -> None:
        self._partitions = _partitions(files, root)
        self._groups: list[tuple[Path, int, int, int]] = []  # file, its first row, row group, its start there
        self._n_rows = 0
        super().__init__(files, **roles)
        self._rows = rows_a_piece(8 * len(self._roles.all))

    def _schema(self, file: Path) -> Any:
        """The schema of a file with the columns of its directories; notes its row groups."""
        arrow = import_arrow()
        from pyarrow.parquet import read_metadata

        with _named(file):
            metadata = read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
        first, start = self._n_rows, 0
        for group in range(metadata.num_row_groups):
            self._groups.append((file, first, group, start))
            start += metadata.row_group(group).num_rows
        self._n_rows += start
        for name, value in self._partitions[file].items():
            if name not in schema.names:
                schema = schema.append(arrow.field(name, arrow.scalar(value).type))
        return schema

    def _read(self, random: np.random.Generator | None, features: bool, frames: bool) -> Iterator[Piece]:
        order = range(len(self._groups)) if random is None else random.permutation(len(self._groups))
        for number in order:
            file, first, group, start = self._groups[number]
            with _named(file):
                for batch in self._batches(file, group, self._wanted(features)):
                    yield self._piece(batch, file, (first, start), features, frames)
                    start += batch.num_rows

    def _batches(self, file: Path, group: int, wanted: list[str]) -> Iterator[Any]:
        """A row group, some rows at a time, with the columns that its directories stand for."""
        arrow = import_arrow()
        from pyarrow.parquet import ParquetFile

        with ParquetFile(file, buffer_size=READ_BUFFER, pre_buffer=False) as opened:
            inside = set(opened.schema_arrow.names)
            columns = [name for name in wanted if name in inside]
            constants = {name: value for name, value in self._partitions[file].items() if name in wanted}
            for batch in opened.iter_batches(self._rows, [group], columns, use_threads=False):
                for name, value in constants.items():
                    if name not in inside:
                        batch = batch.append_column(name, arrow.repeat(value, batch.num_rows))
                yield batch


def _partitions(files: Sequence[Path], root: Path | None) -> dict[Path, dict[str, Any]]:
    """What the directories between the root and each file say of all its rows, as in ``year=2024/``."""
    found: dict[Path, dict[str, Any]] = {}
    for file in files:
        parts = file.relative_to(root).parts[:-1] if root is not None else ()
        found[file] = dict(part.split("=", 1) for part in parts if "=" in part)
    for name in {name for values in found.values() for name in values}:
        if all(values.get(name, "").isdecimal() for values in found.values()):
            for values in found.values():
                values[name] = int(values[name])
    return found


class CsvSource(TableSource):
    """CSV files, read from their beginning to their end; blocks are files."""

    def __init__(self, files: Sequence[Path], **roles: Any) -> None:
        self._counts: dict[int, int] = {}  # rows of each file that has been read to its end
        super().__init__(files, **roles)

    def _schema(self, file: Path) -> Any:
        """Types as Arrow finds them in the first megabyte; whole numbers may be fractions further on."""
        arrow = import_arrow()
        with _named(file), self._opened(file) as reader:
            schema = reader.schema
        for place, field in enumerate(schema):
            if arrow.types.is_binary(field.type):
                raise ValueError(f"cannot read {file}: column {field.name!r} is not text in UTF-8")
            if column_sort(field.type) in ("number", "nothing"):
                schema = schema.set(place, field.with_type(arrow.float64()))
        return schema

    @staticmethod
    def _opened(file: Path, types: Any = None, wanted: list[str] | None = None) -> Any:
        from pyarrow import csv

        return csv.open_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=csv.ParseOptions(delimiter="\t" if ".tsv" in file.name.lower() else ","),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=wanted, strings_can_be_null=True
            ),
        )

    def _read(self, random: np.random.Generator | None, features: bool, frames: bool) -> Iterator[Piece]:
        order = np.arange(len(self.files))
        if random is not None:
            order = random.permutation(order)
            self._count_rows()
        wanted = self._wanted(features) or self._roles.features[:1]  # a column to count the rows by
        for number in order:
            file, start = self.files[number], 0
            first = sum(self._counts[before] for before in range(number))
            for batch in self._batches(file, wanted):
                yield self._piece(batch, file, (first, start), features, frames)
                start += batch.num_rows
            self._counts[int(number)] = start

    def _count_rows(self) -> None:
        if len(self._counts) < len(self.files):
            for _piece in self.pieces(None, features=False):
                pass

    def _batches(self, file: Path, wanted: list[str]) -> Iterator[Any]:
        """A file, a megabyte at a time."""
        types = {name: self.schema.field(name).type for name in wanted}
        try:
            with _named(file), self._opened(file, types, wanted) as reader:
                for batch in reader:
                    if batch.num_rows:
                        yield batch
        except ValueError as error:
            found = _CONVERSION.search(str(error))
            if found is None:
                raise
            column, line, kind, value = found.groups()
            name, wants = (
                self.schema.names[int(column)],
                "numbers" if kind == "double" else f"values of type {kind}",
            )
            # Arrow counts lines from 1, and the header is the first.
            raise ValueError(
                f"column {name!r} of {file} must hold {wants}; got {value} in row {int(line) - 2}"
            ) from None


_CONVERSION = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (\w+): invalid value (.*)"
)
