"""The progress of a task that is waited for, as a bar on the terminal.

Owns the bar; how far the task is says the task itself (``self.progress(done, total)``). Nothing is shown, and nothing
is asked, where nobody looks: when standard error is no terminal. Called by ``cli.call``.
"""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, TaskID

__all__ = ["Bar"]

#: The state with which a task tells how far it is.
PROGRESS = "PROGRESS"


class Bar:
    """Shows what a task says of its progress; gone when the wait is over."""

    def __init__(self, result: Any, console: Console) -> None:
        self._result = result
        self._progress = Progress(console=console, transient=True) if console.is_terminal else None
        self._row: TaskID | None = None
        #: Seconds between two looks.
        self.pace = 0.25 if console.is_terminal else 3600.0

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def look(self) -> None:
        """Ask how far the task is, and show it."""
        if self._progress is None:
            return
        facts = self._result.info if self._result.state == PROGRESS else None
        if not isinstance(facts, dict) or not {"current", "total"} <= facts.keys():
            return
        if self._row is None:
            self._row = self._progress.add_task(self._result.name or "task")
        self._progress.update(self._row, completed=facts["current"], total=facts["total"])
