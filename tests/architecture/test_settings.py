"""Every setting that is said to have an effect is read by somebody, and whoever reads one names it rightly."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from talo.settings import OPTIONS, Status
from talo.settings.options import GROUPS
from tests.architecture.tree import Module, modules

#: Functions and classes that read the setting whose name they are given.
READERS = {"FromConf", "_conf", "chosen"}


def names_read(module: Module) -> Iterator[str]:
    """The settings that a module reads: ``conf.name``, ``conf["name"]``, ``FromConf("name")``, and names in a tuple
    over which a loop reads ``conf[name]``."""
    items = [node.slice for node in ast.walk(module.tree) if isinstance(node, ast.Subscript) and _is_conf(node.value)]
    named = [_constant(item) for item in items]
    yield from filter(None, named)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and _is_conf(node.value):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in READERS:
            yield from filter(None, map(_constant, node.args))
        elif None in named and isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            yield from filter(None, map(_constant, ast.walk(node.iter)))


def _is_conf(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name == "conf"


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def all_read() -> set[str]:
    outside = [module for name, module in modules().items() if not name.startswith("talo.settings")]
    return {name for module in outside for name in names_read(module)}


@pytest.mark.promise("C01")
def test_every_setting_with_an_effect_is_read_outside_of_the_settings() -> None:
    # Given what the source reads
    read = all_read()
    # Then each setting that claims an effect is among it, or says why nothing has to be done for it
    silent = [
        option.name
        for group in GROUPS
        for option in group.options
        if option.status is Status.EFFECTIVE and not option.reason and option.name not in read
    ]
    assert silent == []


def test_what_is_refused_is_read_nowhere() -> None:
    assert [name for name in all_read() if name in OPTIONS and OPTIONS[name].status is Status.REFUSED] == []
