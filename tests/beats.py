"""Real beats in tests: processes of ``talo beat`` over ``tests.apps.periodic``, and the judge of their ledger.

Nothing outlives its test: ``Beat`` is a context manager that ends its process.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talo.app.app import Talo
from talo.stores.schedules import Plan, Run, Schedules
from tests.nursery import PATH, Process, start
from tests.support import eventually

__all__ = ["Beat", "judged", "periodic_app", "plans", "schedules"]

TICK = "tests.apps.periodic.tick"


class Beat:
    """One ``talo beat``; killed and started again by chaos."""

    def __init__(
        self,
        broker: str,
        tmp: Path,
        entries: dict[str, Any],
        *options: str,
        name: str = "beat",
        offset: float = 0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.log = tmp / f"{name}.log"
        self._tmp = tmp
        self._command = [
            sys.executable, "-m", "talo", "-A", "tests.apps.periodic", "beat", "-l", "INFO", *options,
        ]  # fmt: skip
        self._env = {
            **os.environ,
            "TALO_BROKER_URL": broker,
            "ENTRIES": json.dumps(entries),
            "CLOCK_OFFSET": str(offset),
            "PYTHONPATH": PATH,
            **(env or {}),
        }
        self.process: Process | None = None

    def start(self) -> Beat:
        self.process = start(self._command, self._env, self._tmp, self.log)
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_ready(self) -> Beat:
        def is_ready() -> None:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"beat ended with {self.process.returncode}:\n{self.output()}")
            assert "beat: Starting..." in self.output(), self.output()

        eventually(is_ready, timeout=30)
        return self

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """The hard way."""
        if self.process is not None:
            self.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end; return its exit code."""
        assert self.process is not None
        self.send_signal(number)
        return self.process.wait(20)

    def __enter__(self) -> Beat:
        return self if self.process is not None else self.start()

    def __exit__(self, *exc: object) -> None:
        self.kill()


def periodic_app(broker: str, **settings: Any) -> Talo:
    """A client of the same project."""
    app = Talo("periodic", broker=broker, set_as_current=False, **settings)
    app.task(name=TICK)(lambda name="": name)
    return app


def schedules(app: Talo) -> Schedules:
    assert app.schedules is not None
    return app.schedules


class Plans(dict[str, Plan]):
    """Plans by name; one that is not there yet fails an assertion, so that a test can wait for it."""

    def __missing__(self, name: str) -> Plan:
        raise AssertionError(f"there is no plan {name!r}")


def plans(app: Talo) -> Plans:
    return Plans({plan.name: plan for plan in schedules(app).read("periodic").changed})


def judged(app: Talo, name: str, period: float) -> list[Run]:
    """The ledger of an interval entry, after the judge has seen it: every due time once, none left out, none early."""
    ledger = schedules(app).runs("periodic", name, 1000)[::-1]
    dues = [run.due for run in ledger]
    assert all(abs(b - a - period) < 1e-3 for a, b in itertools.pairwise(dues)), (name, dues)
    assert all(run.at >= run.due for run in ledger)
    return ledger
