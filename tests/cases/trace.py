"""What a case has left: every note of its tasks in order, and in few words what the case says of itself.

Reads the file that ``tests.apps.engine`` writes, the stored results and the dead letters.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from talo import Talo
from talo.control.dead import DeadLetters
from tests.apps.engine import shown
from tests.cases import Case

__all__ = ["Note", "Notes", "letters_of", "told"]

#: What a state at the end of a run is called in a trace, if its stored result does not say it.
_ENDS = {"IGNORED": "ignored", "REJECTED": "rejected"}

Note = list[Any]


class Notes:
    """The notes of all tasks, by id."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, list[Note]]:
        """What happened to each task, in order: ``[what, *facts]``."""
        notes: dict[str, list[Note]] = defaultdict(list)
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            task_id, *note = json.loads(line)
            notes[task_id].append(note)
        return dict(notes)


def told(case: Case, app: Talo, notes: dict[str, list[Note]], letters: dict[str, str]) -> dict[str, str]:
    """The trace of a case, as it writes it; ``letters`` are the reasons of dead letters by task id."""
    found = {}
    for label in case.trace:
        task_id = f"{case.name}.{label}"
        words = [word for note in notes.get(task_id, ()) if (word := _word(*note))]
        words.append(_end(app, task_id))
        if task_id in letters:
            words.append(f"dead: {letters[task_id]}")
        found[label] = ", ".join(words)
    return found


def letters_of(app: Talo) -> dict[str, str]:
    """Why tasks are dead letters, by their ids."""
    letters = DeadLetters.of(app).list(limit=1000)
    return {letter.death.task_id: letter.death.reason for letter in letters if letter.death.task_id}


def _end(app: Talo, task_id: str) -> str:
    result = app.AsyncResult(task_id)
    if result.state == "PENDING":
        return "PENDING"
    return f"{result.state} {shown(result.result)}"


def _word(what: str, *facts: Any) -> str | None:
    if what == "prerun":
        return str(facts[0])
    if what == "retry":
        return f"retry in {facts[0]:g}" + (f" for {facts[1]}" if facts[1] else "")
    if what == "postrun":
        return _ENDS.get(facts[0])
    if what in ("revoked", "unknown", "warned", "sees", "told of"):
        return " ".join([what, *facts])
    return None
