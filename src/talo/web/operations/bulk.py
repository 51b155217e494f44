"""Bulk actions: the same for every run that a search finds, with their number before.

Owns which actions there are for which state, and their bounds. The search is ``runs``'s."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from talo.util.text import count
from talo.web.desk import Desk
from talo.web.operation import Unacceptable, acts, reads
from talo.web.operations.runs import ENDED, LIVE, Search, query_of, unfinished
from talo.web.user import Role

__all__ = ["bulk", "bulk_apply"]

#: An action takes so many at most; it can be repeated.
MOST = 10_000
_PAGE = 2500
#: States of runs that may have left a dead letter.
_DEADLY = ("FAILURE", "REJECTED")

#: ``replay``: dead letters among them are sent again. ``forget``: their records are deleted. ``revoke``: they are
#: cancelled before they start. ``terminate``: those that run are stopped.
Action = Literal["replay", "forget", "revoke", "terminate"]


class Asked(Search, kw_only=True, forbid_unknown_fields=True):
    """A search and what to do with what it finds."""

    action: Action
    #: Count all that would be forgotten, however many; else it is told only that they are more than ``most``.
    exact: bool = False


class Confirmed(Asked, kw_only=True, forbid_unknown_fields=True):
    """``expected``: the number that was shown before; if it has grown a lot since, nothing is done."""

    expected: int


@reads("/runs/bulk", Asked)
def bulk(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Count what a bulk action would change; changes nothing."""
    found = _number(desk, asked)
    search = {name: value for name, value in msgspec.to_builtins(asked).items() if name not in ("quick", "exact")}
    # What is forgotten is one step for the store, however many; the other actions go from one to the next.
    cut = found > MOST and not (asked.exact and asked.action == "forget")
    return {"action": asked.action, "number": found, "most": MOST, "more": cut, "search": search}


@acts("/runs/bulk/apply", Confirmed, Role.ADMIN)
def bulk_apply(desk: Desk, asked: Confirmed) -> dict[str, Any]:
    """Replay, forget, cancel or stop every run that a search finds."""
    found = _number(desk, asked)
    if found > asked.expected * 1.1 + 10:
        raise Unacceptable(f"it was {asked.expected} and is {found} now: look again")
    if asked.action == "forget":
        done = desk.history.forget(query_of(asked, time.time()))
        return {"text": f"{count(done, 'record')} deleted.", "done": done}
    if asked.action == "replay":
        told = list(desk.letters.replay(_letters(desk, asked)))
        done = sum(each.fault is None for each in told)
        return {"text": f"{count(done, 'dead letter')} replayed.", "done": done, "faults": len(told) - done}
    ids = [each["id"] for each in unfinished(desk, asked, MOST) if each["id"]]
    if ids:
        desk.app.control.revoke(ids, terminate=asked.action == "terminate")
    return {"text": f"{count(len(ids), 'task')} cancelled.", "done": len(ids)}


def _number(desk: Desk, asked: Asked) -> int:
    _fits(asked)
    if asked.action in ("revoke", "terminate"):
        return len(unfinished(desk, asked, MOST))
    if asked.action == "replay":
        return len(_letters(desk, asked))
    return sum(desk.history.count(query_of(asked, time.time()), None if asked.exact else MOST + 1).values())


def _fits(asked: Asked) -> None:
    live = asked.state in LIVE
    if asked.action in ("revoke", "terminate") and not live:
        raise Unacceptable(f"{asked.action} is for what has not ended: choose one of {', '.join(LIVE)}")
    if asked.action in ("replay", "forget") and live:
        raise Unacceptable(f"{asked.action} is for what has ended: choose one of {', '.join(ENDED)}")


def _letters(desk: Desk, asked: Asked) -> list[str]:
    """Ids of the dead letters among the runs that a search finds, each once."""
    found: dict[str, None] = {}
    for ids in _dead_runs(desk, asked):
        found.update((letter.id, None) for letter in desk.letters.get(ids))
        if len(found) >= MOST:
            break
    return list(found)[:MOST]


def _dead_runs(desk: Desk, asked: Asked) -> Iterator[list[str]]:
    """Ids of runs that left a dead letter, some at a time. A search without a state asks for those that can, one by
    one: each is found by the store's index."""
    for state in (asked.state,) if asked.state else _DEADLY:
        query = msgspec.structs.replace(query_of(asked, time.time()), states=(state,))
        cursor = None
        while True:
            page = desk.history.runs(query, _PAGE, cursor)
            ids = [run.id for run in page.runs if run.dead is not None]
            if ids:
                yield ids
            cursor = page.cursor
            if cursor is None:
                break
