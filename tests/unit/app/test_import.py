"""What importing Talo costs everyone who only sends."""

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


def test_importing_talo_imports_nothing_that_few_need() -> None:
    # When a fresh interpreter, without what the environment adds, imports Talo and lists its modules
    code = "import sys; before = set(sys.modules); import talo; print(*set(sys.modules) - before)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # Then
    assert RARE & set(found.stdout.split()) == set()
