"""What importing Talo costs everyone who only sends, and what a worker loads."""

from __future__ import annotations

import subprocess
import sys

#: Large modules that few need, and what they bring.
RARE = {
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "pickle",
    "ssl",
    "subprocess",
    "sqlite3",
    "redis",
    "rich",
}


#: The same for a worker: what serves ``worker_http``, and what looks for plug-ins.
RARE_IN_WORKERS = {"email", "http.server", "importlib.metadata", "sqlite3", "redis", "zipfile"}


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after it, without what the environment adds."""
    code = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_importing_talo_imports_nothing_that_few_need() -> None:
    assert RARE & imported_by("import talo") == set()


def test_a_worker_loads_nothing_that_few_need() -> None:
    assert RARE_IN_WORKERS & imported_by("import talo.cli.main, talo.cli.worker") == set()
