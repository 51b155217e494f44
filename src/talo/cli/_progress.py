"""The progress of a task that is waited for, as a bar on the terminal.

Owns the bar; how far the task is says the task itself (``self.progress(done, total)``). Loaded by ``cli.call`` when
somebody looks: where standard error is a terminal.
"""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, TaskID

__all__ = ["Bar", "wait"]

#: The state with which a task tells how far it is.
PROGRESS = "PROGRESS"
#: Seconds between two looks.
PACE = 0.25


def wait(result: Any, timeout: float | None) -> Any:
    """Wait for a result and return its value, with a bar as soon as the task tells its progress."""
    with Bar(result, Console(stderr=True)) as bar:
        return result.get(timeout=timeout, interval=PACE, on_interval=bar.look)


class Bar:
    """Shows what a task says of its progress; gone when the wait is over."""

    def __init__(self, result: Any, console: Console) -> None:
        self._result = result
        self._progress = Progress(console=console, transient=True)
        self._row: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def look(self) -> None:
        """Ask how far the task is, and show it."""
        facts = self._result.info if self._result.state == PROGRESS else None
        if not isinstance(facts, dict) or not {"current", "total"} <= facts.keys():
            return
        if self._row is None:
            self._row = self._progress.add_task(self._result.name or "task")
        self._progress.update(self._row, completed=facts["current"], total=facts["total"])
