"""Dead letters: listing, replaying, editing and dropping them.

Owns what is shown of one; what a replay is, is ``control.dead``'s."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from talo.stores.base import DeadLetter
from talo.util.text import count, shorten
from talo.web.desk import Desk
from talo.web.operation import NotFound, Unacceptable, acts, reads
from talo.web.user import Role

__all__ = ["dead_drop", "dead_edit", "dead_letter", "dead_letters", "dead_replay"]

#: What is shown of bytes that make no message.
_RAW = 2000
#: Dead letters are counted up to this.
COUNTED = 10_000


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """Which, and which part of them."""

    task: str | None = None
    queue: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class One(msgspec.Struct, forbid_unknown_fields=True):
    """The id of a letter, or of its task."""

    id: Annotated[str, msgspec.Meta(min_length=1)]


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """Letters by their ids, or ``all`` of a task and a queue."""

    ids: list[str] = []
    all: bool = False
    task: str | None = None
    queue: str | None = None


class Edited(msgspec.Struct, forbid_unknown_fields=True):
    """A letter and what is to be different. ``args`` and ``kwargs`` are JSON texts; empty: as they were."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    args: str | None = None
    kwargs: str | None = None
    queue: str | None = None


@reads("/dead", Search)
def dead_letters(desk: Desk, asked: Search) -> dict[str, Any]:
    """Dead letters, the latest first."""
    wanted = {"task": asked.task or None, "queue": asked.queue or None}
    found = desk.letters.list(limit=asked.limit + 1, offset=asked.offset, **wanted)
    return {
        "search": msgspec.to_builtins(asked),
        "letters": [_facts(each) for each in found[: asked.limit]],
        "more": len(found) > asked.limit,
        "number": _number(desk, wanted, asked, len(found)),
        "number_most": COUNTED,
    }


def _number(desk: Desk, wanted: dict[str, Any], asked: Search, shown: int) -> int:
    if shown <= asked.limit:
        return asked.offset + shown
    return desk.letters.number(COUNTED, **wanted)


@reads("/dead/letter", One)
def dead_letter(desk: Desk, asked: One) -> dict[str, Any]:
    """All that is known of a dead letter."""
    letter = _letter(desk, asked.id)
    facts = _facts(letter)
    facts["detail"] = letter.death.detail
    facts["headers"] = letter.message.headers if letter.message is not None else None
    facts["raw"] = None if letter.raw is None else repr(letter.raw[:_RAW])[2:-1]
    facts["edit"] = desk.letters.editable(letter)
    return facts


def _letter(desk: Desk, id: str) -> DeadLetter:
    for letter in desk.letters.get([id]):
        return letter
    raise NotFound(f"there is no dead letter {id}: it was replayed or dropped, or its time was over")


def _facts(letter: DeadLetter) -> dict[str, Any]:
    headers = letter.message.headers if letter.message is not None else {}
    return {
        "id": letter.id,
        "died": letter.died,
        "queue": letter.queue,
        "task": letter.death.task or headers.get("task"),
        "task_id": letter.death.task_id or headers.get("id"),
        "reason": letter.death.reason,
        "text": letter.death.text,
        "deliveries": letter.deliveries,
        "args": shorten(str(headers.get("argsrepr") or ""), 1000),
        "kwargs": shorten(str(headers.get("kwargsrepr") or ""), 1000),
        "replay_of": headers.get("replay_of"),
        "worker": letter.death.detail.get("worker"),
        "replayable": letter.message is not None,
    }


@acts("/dead/replay", Chosen)
def dead_replay(desk: Desk, asked: Chosen) -> dict[str, Any]:
    """Send dead letters again as new runs."""
    told = list(desk.letters.replay(_ids(desk, asked)))
    runs = [msgspec.structs.asdict(each) for each in told]
    faults = [each for each in told if each.fault is not None]
    text = f"{count(len(told) - len(faults), 'dead letter')} replayed."
    if faults:
        text += f" {count(len(faults), 'letter')} not: {faults[0].fault}."
    return {"text": text, "replayed": len(told) - len(faults), "runs": runs}


@acts("/dead/edit", Edited, hidden=("args", "kwargs"))
def dead_edit(desk: Desk, asked: Edited) -> dict[str, Any]:
    """Send one dead letter again with other arguments, or to another queue."""
    letter = _letter(desk, asked.id)
    args = _json(asked.args, "args", list)
    kwargs = _json(asked.kwargs, "kwargs", dict)
    run = desk.letters.replay_edited(letter.id, args=args, kwargs=kwargs, queue=asked.queue or None)
    if run.fault is not None:
        raise Unacceptable(f"{run.letter} was not replayed: {run.fault}")
    return {"text": f"Replayed as {run.task_id}.", "task_id": run.task_id, "replay_of": run.replay_of}


@acts("/dead/drop", Chosen, Role.ADMIN)
def dead_drop(desk: Desk, asked: Chosen) -> dict[str, Any]:
    """Delete dead letters for good."""
    dropped = desk.letters.drop(_ids(desk, asked))
    return {"text": f"{count(dropped, 'dead letter')} dropped.", "dropped": dropped}


def _ids(desk: Desk, asked: Chosen) -> list[str]:
    if bool(asked.ids) == asked.all:
        raise Unacceptable("say which: ids, or all" + (", not both" if asked.ids else ""))
    return list(asked.ids) or list(desk.letters.ids(task=asked.task or None, queue=asked.queue or None))


def _json(text: str | None, name: str, kind: type) -> Any:
    if text is None or not text.strip():
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Unacceptable(f"{name} is no JSON: {error}") from error
    if type(value) is not kind:
        raise Unacceptable(f"{name} is a JSON {'list' if kind is list else 'object'}")
    return value
