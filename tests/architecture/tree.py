"""The source as syntax trees: its modules, who imports whom, and where. Nothing of the package is imported."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


@dataclass(frozen=True)
class Import:
    """One imported module, as ``importer`` names it. ``target`` is a module of this package where it is one of ours."""

    importer: str
    target: str
    line: int
    #: Under ``if TYPE_CHECKING``: it has no effect at run time.
    typing_only: bool
    #: Inside a function.
    nested: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@functools.cache
def modules() -> dict[str, Module]:
    """Every module of ``talo`` by its dotted name."""
    found = {}
    for path in sorted((SRC / "talo").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


def package(name: str) -> str:
    """The room a module is in: ``talo.stores.sql.broker`` -> ``stores``; the root itself is ``talo``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


@functools.cache
def imports() -> tuple[Import, ...]:
    """Every import of every module, ``from package import module`` resolved to the module."""
    return tuple(found for module in modules().values() for found in _imports(module, module.tree, False, False))


def _imports(module: Module, node: ast.AST, typing_only: bool, nested: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in _targets(module, child):
                yield Import(module.name, target, child.lineno, typing_only, nested)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.body:
                yield from _imports(module, ast.Module([statement], []), True, nested)
            for statement in child.orelse:
                yield from _imports(module, ast.Module([statement], []), typing_only, nested)
        else:
            inside = nested or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, child, typing_only, inside)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _targets(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = module.name.split(".")
        parts = parts[: len(parts) - node.level + (1 if module.is_package else 0)]
        base = ".".join([*parts, base] if base else parts)
    for alias in node.names:
        deeper = f"{base}.{alias.name}"
        yield deeper if deeper in modules() else base
