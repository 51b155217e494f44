"""How every file reads: documented, of a size one likes to open, finished, and at home on any machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from tests.architecture.tree import ROOT, Module, imports, modules

MAX_LINES = 500
#: A proxy cannot do without.
GETATTR_ALLOWED = {"talo.app.current"}
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".cfg",
    ".ini",
    ".lua",
    ".sql",
    ".sh",
    ".txt",
    ".html",
    ".css",
    ".js",
    ".yml",
    ".yaml",
    "",
}

UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
#: Homes and scratch folders of the machine this was written on; what programs find at run time is not meant.
MACHINE = re.compile(r"(?<![\w.~}])/(?:home/\w+/|root/|work/|Users/\w+/|tmp/(?:wt|briefs)\b)" + r"|\.\./shar" + r"ed\b")


def tracked() -> list[Path]:
    """The files of the repository that hold prose or code; new ones count before they are committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive
        folders = ["src", "tests", "docs", "bench", "examples", "tools"]
        paths = [
            *ROOT.glob("*.*"),
            *(path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts),
        ]
    return [
        path
        for path in paths
        if path.is_file() and path.suffix in TEXT and not path.is_relative_to(ROOT / "tests/data")
    ]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def is_door(module: Module, *rooms: str) -> bool:
    return module.name.split(".")[1:2] in [[room] for room in rooms]


def test_every_module_says_what_it_is() -> None:
    assert [str(module) for module in modules().values() if not ast.get_docstring(module.tree)] == []


def test_no_file_is_too_long_to_open() -> None:
    lengths = {str(module): len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules().values()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_function_imports() -> None:
    def optional_client(name: str) -> bool:
        return name.startswith("talo.stores.") and name.endswith(".connection")

    doors = {name for name, module in modules().items() if is_door(module, "compat", "django")}
    nested = [
        found
        for found in imports()
        if found.nested and not optional_client(found.importer) and found.importer not in doors
    ]
    assert [str(found) for found in nested] == []


def test_attributes_do_not_appear_at_run_time() -> None:
    magic = [
        f"{module}:{node.lineno}"
        for module in modules().values()
        if module.name not in GETATTR_ALLOWED and not is_door(module, "compat")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__getattribute__")
    ]
    assert magic == []


def test_no_error_is_swallowed_whole() -> None:
    def catches_all(handler: ast.ExceptHandler) -> bool:
        return handler.type is None or (
            isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
        )

    swallowed = [
        f"{module}:{node.lineno}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and all(isinstance(s, ast.Pass) for s in node.body)
    ]
    assert swallowed == []


def test_nothing_is_left_for_later() -> None:
    assert lines_with(UNFINISHED) == []


def test_no_stub_stands_for_code() -> None:
    stubs = [
        f"{module}:{node.lineno}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Raise) and node.exc is not None and "NotImplementedError" in ast.unparse(node.exc)
    ]
    assert stubs == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert lines_with(MACHINE) == []
