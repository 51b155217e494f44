"""The documentation does what it says: marked blocks are run as a reader would run them, links lead somewhere, and the
names of settings, signals and dead-letter reasons exist.

A block is marked by an HTML comment on the line above it: ``file: NAME`` writes it to a file of the page's own
directory; ``run`` types its ``$`` lines into a shell, or its ``>>>`` lines into an interpreter, and compares what comes
out (``...`` stands for anything); ``worker`` starts its one command in the background and waits until it is ready.
Alone on a line, ``stop`` ends the worker. Where a page says ``redis://localhost:6379/0``, a server of the tests
answers.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import talo
from talo.settings.options import OPTIONS
from talo.wire._faults import Fault
from tests.support import eventually

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
REDIS = "redis://localhost:6379/0"

_BLOCK = re.compile(r"^<!-- (run|worker|stop|file: (\S+)) -->\n(?:```(\w*)\n(.*?)^```$)?", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

#: Types blocks of ``>>>`` lines, one JSON text a line, into one interpreter; answers with what was not as expected.
_SESSION = f"""
import doctest, io, json, sys
names, answers = {{"__name__": "session"}}, sys.stdout
for line in sys.stdin:
    test = doctest.DocTestParser().get_doctest(json.loads(line), names, "page", "page", 0)
    complaint = io.StringIO()
    doctest.DocTestRunner(optionflags={_FLAGS}).run(test, out=complaint.write, clear_globs=False)
    names = test.globs
    print(json.dumps(complaint.getvalue()), file=answers, flush=True)
"""


class Block(NamedTuple):
    """A marked block of a page."""

    mark: str
    file: str
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [
        Block(m[1].partition(":")[0], m[2] or "", m[3] or "", m[4] or "") for m in _BLOCK.finditer(page.read_text())
    ]


def typed(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


class Reader:
    """Somebody who follows a page in an empty directory."""

    def __init__(self, directory: Path, redis: str | None) -> None:
        self.directory = directory
        self._redis = redis
        commands = directory / ".bin"
        commands.mkdir()
        for name, words in (("talo", "-m talo"), ("python", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (commands / name).chmod(0o755)
        self._env = {key: value for key, value in os.environ.items() if not key.startswith(("TALO_", "CELERY"))} | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._session: subprocess.Popen[str] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    def follow(self, block: Block) -> None:
        text = block.text.replace(REDIS, self._redis) if self._redis else block.text
        if block.mark == "file":
            path = self.directory / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif block.mark == "worker":
            self._start_worker(text)
        elif block.mark == "stop":
            self._stop_worker()
        elif block.language == "pycon":
            self._type(text)
        else:
            assert block.language == "console", f"a block to run is console or pycon, not {block.language!r}"
            for command, output in typed(text):
                self._run(command, output)

    def _run(self, command: str, output: str) -> None:
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.directory,
            env=self._env,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        got = done.stdout + done.stderr
        assert doctest.OutputChecker().check_output(output, got, _FLAGS), f"$ {command}\n{got}\n--- expected:\n{output}"

    def _start_worker(self, text: str) -> None:
        [(command, output)] = typed(text)
        log = self.directory / f".worker-{len(self._workers)}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                f"exec env {command}", shell=True, cwd=self.directory, env=self._env, stdout=out, stderr=out,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._workers.append(process)

        def is_as_said() -> None:
            got = log.read_text()
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}:\n{got}")
            assert " ready." in got, got
            assert doctest.OutputChecker().check_output(output, got, _FLAGS), f"{got}\n--- expected:\n{output}"

        eventually(is_as_said, timeout=30)

    def _stop_worker(self) -> None:
        process = self._workers.pop()
        process.terminate()
        assert process.wait(30) == 0

    def _type(self, text: str) -> None:
        if self._session is None:
            self._session = subprocess.Popen(
                [sys.executable, "-c", _SESSION], cwd=self.directory, env=self._env, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(json.dumps(text) + "\n")
        self._session.stdin.flush()
        complaint = json.loads(self._session.stdout.readline())
        assert not complaint, complaint

    def leave(self) -> None:
        if self._session is not None:
            self._session.communicate(timeout=10)
        for process in self._workers:
            process.terminate()
            process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_marked_block_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given a reader in an empty directory, with a Redis if the page wants one
    blocks = blocks_of(page)
    redis = request.getfixturevalue("redis_url") if any(REDIS in block.text for block in blocks) else None
    reader = Reader(tmp_path, redis)
    try:
        # When they follow the page, then each step shows what the page shows
        for block in blocks:
            reader.follow(block)
    finally:
        reader.leave()


@pytest.mark.promise("P04")
def test_hello_world_is_ten_lines_of_code_and_the_same_in_readme_and_examples() -> None:
    # Given hello world as the README shows it
    [shown] = [block.text for block in blocks_of(ROOT / "README.md") if block.file == "hello.py"]

    # Then it has ten lines at most and is the example (the README's run proves that it needs no server)
    assert len(shown.splitlines()) <= 10
    assert ast.dump(ast.parse(shown)) == ast.dump(ast.parse((ROOT / "examples/hello/hello.py").read_text()))


@pytest.mark.promise("P04")
def test_talo_has_three_direct_dependencies_at_most() -> None:
    # Given what pyproject.toml asks for, time-zone data aside
    with open(ROOT / "pyproject.toml", "rb") as file:
        needed = [name for name in tomllib.load(file)["project"]["dependencies"] if not name.startswith("tzdata")]

    # Then it is small to install
    assert len(needed) <= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_or_a_heading(page: Path) -> None:
    # Given the links of a page that stay in the repository
    links = [link for link in _LINK.findall(_without_code(page.read_text())) if "://" not in link]

    # Then each leads somewhere
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_of_a_setting_or_signal_on_a_page_exists(page: Path) -> None:
    # Given names on a page that look like settings or signals
    names = re.findall(r"`((?:task|worker|broker|result|redis|beat|dead_letter)_[a-z_]+)`", page.read_text())

    # Then there are such settings, signals or options
    known = {option.name for option in OPTIONS.values()} | set(talo.signals.__all__) | _ATTRIBUTES
    assert [name for name in names if name not in known] == []


def test_the_page_on_delivery_lists_every_reason_of_a_malformed_message() -> None:
    # Given the page
    text = (ROOT / "docs/reference/delivery.md").read_text()

    # Then no reason is missing
    assert [fault.value for fault in Fault if f"`{fault.value}`" not in text] == []


#: What looks like a setting and is the name of something else.
_ATTRIBUTES = {"task_id", "task_name", "result_store", "worker_lost"}


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
