"""What is measured: a library, or one way of using it, and where the code is that does so."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module, util
from typing import Any

__all__ = ["FAMILIES", "Library", "chosen", "family", "make", "missing"]

# The projects that the libraries belong to, which the command line can choose among.
FAMILIES = ("chainrule", "sklearn", "torch", "jax", "onnxruntime", "scipy", "mkl")


@dataclass(frozen=True)
class Library:
    """One way of using a library, or whatever else takes its turn.

    Attributes
    ----------
    label : str
        What the report calls it.
    where : str
        "module:class" in this folder, imported only in the process that measures it; empty where that is
        no class but a program.
    needs : tuple of str
        Modules that must be installed. chainrule itself is measured from the sources beside this folder.
    settings : mapping
        What the class is made with.
    """

    label: str
    where: str = ""
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def family(name: str) -> str:
    """The project of a library by its name: "torch" of "torch-compile"."""
    return name.split("-", 1)[0]


def chosen(libraries: Mapping[str, Library], families: Collection[str]) -> dict[str, Library]:
    """Those that belong to the chosen projects."""
    return {name: library for name, library in libraries.items() if family(name) in families}


def missing(library: Library) -> str | None:
    """The first module that the library needs and that is not installed, if any."""
    return next((module for module in library.needs if util.find_spec(module) is None), None)


def make(where: str, settings: Mapping[str, Any]) -> Any:
    """A new object of the class that is named; imports its library."""
    module, kind = where.split(":")
    return getattr(import_module(module), kind)(**settings)
