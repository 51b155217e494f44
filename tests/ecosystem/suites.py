"""The suites of ``suites.toml``: fetched from the package index as their authors have published them, run on Talo under
Celery's name, compared with what is known; and the page that shows it.

``python -m tests.ecosystem.suites`` renders the page. The suites are run where they were unpacked, and nothing of them
is kept.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

from tests.ecosystem.venv import Environment
from tests.workers import ROOT

TABLE = ROOT / "tests/ecosystem/suites.toml"
PAGE = ROOT / "docs/reference/ecosystem.md"

HEAD = """\
# The ecosystem's own test suites

Packages that were written for Celery bring along tests of their own. These are run as published, unchanged, in an
environment in which `celery` is Talo (`make soak`). What fails is listed with its reason; a failure that is not listed
here, or one that is and no longer happens, fails the run. The last columns are from the same tests on the real Celery,
in an environment that is otherwise the same: how many fail on both, and how many on Celery only. What the packages do
in their main jobs is tested beside that: [from Celery](../howto/from-celery.md).

**Not all of the ecosystem is here.** What could not be run, and why, stands at the end of the page.

Rendered by `python -m tests.ecosystem.suites` from `tests/ecosystem/suites.toml`; do not edit.

| package | version | tests | passed | failed | on Celery too | on Celery only |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Suite:
    """The tests of one package. ``failing`` holds names by the reason, ``celery`` those that fail on the real one."""

    package: str
    version: str
    tests: list[str]
    ran: int
    needs: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    failing: dict[str, list[str]] = field(default_factory=dict)
    celery: list[str] = field(default_factory=list)

    @property
    def known(self) -> list[str]:
        """All that is known to fail."""
        return [name for names in self.failing.values() for name in names]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: how many tests ran, and the names of those that did not pass."""

    ran: int
    failed: list[str]


def suites() -> list[Suite]:
    """All that are known."""
    return [Suite(**row) for row in tomllib.loads(TABLE.read_text())["suite"]]


def unreached() -> dict[str, str]:
    """Packages whose suites cannot be run, and why."""
    reasons: dict[str, str] = tomllib.loads(TABLE.read_text())["unreached"]
    return reasons


def fetch(suite: Suite, folder: Path) -> Path:
    """Unpack the source distribution; return where it is. CalledProcessError without a package index."""
    named = f"{suite.package}=={suite.version}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", suite.package,
         "--dest", str(folder), named],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    [packed] = folder.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    return folder / packed.name.removesuffix(".tar.gz")


def install(suite: Suite, where: Environment) -> None:
    """What the suite needs beside what is there."""
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(where.python), "install", "--quiet", "--no-deps",
         "--ignore-installed", f"{suite.package}=={suite.version}", *suite.needs],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip


def run(suite: Suite, where: Environment, source: Path) -> Outcome:
    """Run it there."""
    report = source / "talo-report.xml"
    where.run(
        "python", "-m", "pytest", "-p", "no:cacheprovider", "-q", "--timeout", "300", f"--junitxml={report}",
        *suite.options, *suite.tests, cwd=source, timeout=900, PYTHONPATH="",
    )  # fmt: skip
    ran, failed = set(), set()
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("skipped") is None:
            ran.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
    return Outcome(len(ran), sorted(failed))


def _shown(name: str, anyway: bool) -> str:
    return f"`{name.rpartition('::')[2]}`" + (" (on Celery too)" if anyway else "")


def page() -> str:
    """The page, from the table."""
    rows, failures = [], []
    for suite in sorted(suites(), key=lambda suite: suite.package):
        failed, both = len(suite.known), len({*suite.known} & {*suite.celery})
        rows.append(
            f"| {suite.package} | {suite.version} | {suite.ran} | {suite.ran - failed} | {failed} | {both}"
            f" | {len(suite.celery) - both} |\n"
        )
        if failed:
            failures.append(f"\n## {suite.package}\n\n")
            for reason, names in suite.failing.items():
                shown = ", ".join(_shown(name, name in suite.celery) for name in names)
                failures.append(f"- {reason}: {shown}\n")
    absent = "".join(f"| {name} | {reason} |\n" for name, reason in unreached().items())
    return (
        HEAD + "".join(rows) + "".join(failures)
        + "\n## Not run\n\n| package | why |\n|---|---|\n" + absent
    )  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(page())
