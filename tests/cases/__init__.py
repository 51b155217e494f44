"""Small cases of what can become of tasks, each with the trace that it leaves, whichever way the tasks are run.

A case sends; its trace says for every task that it labels what happened to it, in order, and how it ended. The words:
the name of the task for each start, ``retry in 2`` (units of time, as asked for), what it noted by itself, the state
and the result that are stored, and the dead letter. ``tests.cases.trace`` reads all that, and more than is written
here, from what was noted; ``tests/acceptance/test_one_engine.py`` runs the cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talo import Talo
from talo.canvas.signature import Signature
from tests.apps.engine import MODULE, unit

__all__ = ["CASES", "QUEUES", "Case", "Hand", "case"]

#: Queues that cases send to.
QUEUES = ("celery", "ranked")


@dataclass(frozen=True)
class Case:
    """``send`` does what the case is about; ``trace`` is what comes of it, by label."""

    name: str
    send: Callable[[Hand], Any]
    trace: dict[str, str]
    #: Whether there is something to see where calls are run at once.
    eager: bool


#: In the order in which they are written.
CASES: dict[str, Case] = {}


def case(*, eager: bool = True, **trace: str) -> Callable[[Callable[[Hand], Any]], Callable[[Hand], Any]]:
    """Make a function a case, of the function's name."""

    def collect(send: Callable[[Hand], Any]) -> Callable[[Hand], Any]:
        assert send.__name__ not in CASES
        CASES[send.__name__] = Case(send.__name__, send, trace, eager)
        return send

    return collect


class Hand:
    """What a case has to send with."""

    def __init__(self, app: Talo, name: str) -> None:
        self.app = app
        self.name = name

    def id(self, label: str) -> str:
        """The id of a labelled task."""
        return f"{self.name}.{label}"

    def __call__(
        self, label: str, task: str, *args: Any, kw: dict[str, Any] | None = None, **options: Any
    ) -> Signature:
        """The signature of a task; ``countdown`` and ``expires`` are in units."""
        for key in ("countdown", "expires"):
            if key in options:
                options[key] *= unit()
        return self.app.signature(f"{MODULE}.{task}", args, kw or {}, task_id=self.id(label), **options)
