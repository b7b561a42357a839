"""Finding a record by its name, with an error that helps."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Record = TypeVar("Record")


def lookup(argument: str, name: object, table: Mapping[str, Record], aliases: Mapping[str, str]) -> Record:
    """Return ``table[name]``, following ``aliases``; ValueError names ``argument`` and the choices."""
    if isinstance(name, str):
        record = table.get(aliases.get(name, name))
        if record is not None:
            return record
    choices = sorted({*table, *aliases})
    close = get_close_matches(str(name), choices, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{argument} must be one of {', '.join(choices)}; got {name!r}.{hint}")
