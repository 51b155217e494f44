"""Modules under Celery's names, made of a table: the finder that Python asks, and the modules it answers with.

Owns how a name is looked up and what is said of one that is not there. Which names there are stands in
``compat.tables``; who puts the finder in place is ``compat.install``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from talo.compat.late import ORIGIN
from talo.util.names import import_path, nearest

__all__ = ["AliasFinder", "AliasModule"]

#: Module name -> public name -> where the object is (``module:attribute``, or a module).
Table = Mapping[str, Mapping[str, str]]


class AliasModule(ModuleType):
    """One module under a foreign name. An attribute is fetched when it is first used, and can be replaced like that of
    any module.

    Every one of them is a package without files: so ``from celery.x import missing`` ends at the finder, whose error
    says what is missing and why, where Python's own would not.
    """

    def __init__(self, name: str, table: Table, absent: Mapping[str, str]) -> None:
        super().__init__(name, f"Talo's objects under the names of {name}.")
        self.__path__: list[str] = []
        self.__all__ = [public for public in table[name] if not public.startswith("_")]
        self.__dict__["__talo_alias__"] = True
        self.__dict__["_talo"] = (table, absent)

    def __getattr__(self, name: str) -> Any:
        table, absent = self.__dict__["_talo"]
        target = table[self.__name__].get(name)
        if target is not None:
            value = self.__dict__[name] = import_path(target)
            return value
        below = f"{self.__name__}.{name}"
        if below in table:
            return importlib.import_module(below)
        raise AttributeError(_missing(below, table, absent), name=name, obj=self)

    def __dir__(self) -> list[str]:
        table = self.__dict__["_talo"][0]
        prefix = f"{self.__name__}."
        below = {name.removeprefix(prefix).partition(".")[0] for name in table if name.startswith(prefix)}
        return sorted({*super().__dir__(), *self.__all__, *below})


class AliasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers imports of the top-level names it was given, and of nothing else."""

    def __init__(self, tops: Sequence[str], table: Table, absent: Mapping[str, str]) -> None:
        self.tops = frozenset(tops)
        self._table = table
        self._absent = absent

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of an alias; ``ModuleNotFoundError`` says why there is none."""
        del path, target
        if fullname.partition(".")[0] not in self.tops:
            return None
        if fullname in self._table:
            package = not fullname.endswith(".__main__")  # such a module is run, which a package cannot be
            return importlib.machinery.ModuleSpec(fullname, self, origin=ORIGIN, is_package=package)
        parent, _, last = fullname.rpartition(".")
        if last.startswith("__") or last in self._table.get(parent, ()):
            return None  # Python asks in passing, and others try whether a path is a module before they take it apart
        # With its name, Python would take it for "no such submodule" and hide the text.
        raise ModuleNotFoundError(_missing(fullname, self._table, self._absent))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return AliasModule(spec.name, self._table, self._absent)

    def get_code(self, fullname: str) -> Any:
        """What ``python -m celery`` runs."""
        return compile(f"from {fullname} import main\nmain()\n", "<talo.compat>", "exec")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: what a module holds is fetched when it is used."""


def _missing(name: str, table: Table, absent: Mapping[str, str]) -> str:
    """Say that there is no ``name``, why, and what to do instead."""
    reason = _reason(name, absent)
    if reason is None:
        parent, _, last = name.rpartition(".")
        beside = [*table.get(parent, ()), *(n.rpartition(".")[2] for n in table if n.rpartition(".")[0] == parent)]
        guess = nearest(last, beside)
        reason = f"did you mean {parent}.{guess}?" if guess else "nothing in Talo stands behind it"
    return f"{name} is not part of Talo: {reason}"


def _reason(name: str, absent: Mapping[str, str]) -> str | None:
    while name:
        if name in absent:
            return absent[name]
        name = name.rpartition(".")[0]
    return None
