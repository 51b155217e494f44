"""Bulk actions: the same for every run that a search finds, with their number before.

Owns which actions there are for which state, how many runs they concern, and doing them in steps: a request does one
step and says where the next begins, so that none takes long, and nothing is lost but the rest when a browser goes away.
The search is ``runs``'s."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from talo.stores.base import QueueStats
from talo.stores.history import RunQuery
from talo.util.text import count
from talo.web.desk import Desk
from talo.web.operation import Unacceptable, acts, reads
from talo.web.operations.runs import (
    ENDED,
    FURTHEST,
    LIVE,
    MOST,
    Search,
    needs_reading,
    query_of,
    some,
    unfinished,
    waiting,
)
from talo.web.user import Role

__all__ = ["STEP", "bulk", "bulk_apply"]

#: Runs that one step of an action goes through, and whose dead letters are looked up to be counted; records that a step
#: deletes.
STEP, _FORGET = 500, 5000
#: States of runs that may have left a dead letter.
_DEADLY = ("FAILURE", "REJECTED")

#: ``replay``: dead letters among them are sent again. ``forget``: their records are deleted. ``revoke``: they are
#: cancelled before they start. ``terminate``: those that run are stopped.
Action = Literal["replay", "forget", "revoke", "terminate"]
#: How a number is meant where it is not the very number.
Bound = Literal["", "at least", "at most", "more than"]


class Asked(Search, kw_only=True, forbid_unknown_fields=True):
    """A search and what to do with what it finds; ``cursor``: from there on, ``done`` were done before."""

    action: Action
    done: Annotated[int, msgspec.Meta(ge=0)] = 0


class Confirmed(Asked, kw_only=True, forbid_unknown_fields=True):
    """``expected``: the number that was shown before; if it has grown a lot since, nothing is done."""

    expected: int


class Going(Asked, kw_only=True, forbid_unknown_fields=True):
    """Before an action, or between two of its steps: then ``expected`` is the number that was shown before it."""

    expected: int = 0


@reads("/runs/bulk", Going)
def bulk(desk: Desk, asked: Going) -> dict[str, Any]:
    """Count what a bulk action would change; changes nothing."""
    number, bound = (asked.expected, "") if asked.cursor else _number(desk, asked)
    ours = ("quick", "exact", "cursor", "limit", "done", "expected")
    search = {name: value for name, value in msgspec.to_builtins(asked).items() if name not in ours}
    return {
        "action": asked.action,
        "number": number,
        "bound": bound,
        "furthest": FURTHEST,
        "step": STEP,
        "search": search,
        "cursor": asked.cursor,
        "done": asked.done,
    }


@acts("/runs/bulk/apply", Confirmed, Role.ADMIN)
def bulk_apply(desk: Desk, asked: Confirmed) -> dict[str, Any]:
    """Replay, forget, cancel or stop every run that a search finds, a step at a time.

    While the answer has a ``rest``, the request is to be repeated with what is in it."""
    _fits(asked)
    if not asked.cursor:
        number, _ = _number(desk, asked)
        if number > asked.expected * 1.1 + 10:
            raise Unacceptable(f"it was {asked.expected} and is {number} now: look again")
    now, cursor = _STEPS[asked.action](desk, asked)
    done = asked.done + now
    rest = None if cursor is None else {"cursor": cursor, "done": done, "expected": asked.expected}
    what, verb = _WORDS[asked.action]
    return {"text": f"{count(done, what)} {verb}{'' if rest is None else ' so far'}.", "done": done, "rest": rest}


def _fits(asked: Asked) -> None:
    live = asked.state in LIVE
    if asked.action in ("revoke", "terminate") and not live:
        raise Unacceptable(f"{asked.action} is for what has not ended: choose one of {', '.join(LIVE)}")
    if asked.action in ("replay", "forget") and live:
        raise Unacceptable(f"{asked.action} is for what has ended: choose one of {', '.join(ENDED)}")


# -- how many ---------------------------------------------------------------------------------------------------------


def _number(desk: Desk, asked: Asked) -> tuple[int, Bound]:
    _fits(asked)
    if asked.action in ("revoke", "terminate"):
        return _unfinished_number(desk, asked)
    return _letters_number(desk, asked) if asked.action == "replay" else _records_number(desk, asked)


def _unfinished_number(desk: Desk, asked: Asked) -> tuple[int, Bound]:
    stats = _stats(desk, asked)
    deep = asked.state != "running" and any(beyond for *_, beyond in waiting(asked, stats))
    return len(unfinished(desk, asked, MOST, stats)), "at least" if deep else ""


def _stats(desk: Desk, asked: Asked) -> list[QueueStats]:
    return desk.broker.stats([asked.queue] if asked.queue else None)


def _records_number(desk: Desk, asked: Asked) -> tuple[int, Bound]:
    query = query_of(asked, time.time())
    if needs_reading(asked) and not asked.exact:
        # As far as one look goes.
        page = some(desk, query, STEP)
        return len(page.runs), "" if page.cursor is None else "at least"
    return _counted(sum(desk.history.count(query, None if asked.exact else MOST + 1).values()), asked)


def _letters_number(desk: Desk, asked: Asked) -> tuple[int, Bound]:
    """How many dead letters there are among many runs is not counted, only what there may be: no more than there are
    such runs, and no more than there are letters."""
    if asked.exact:
        return sum(len(_letters(desk, ids)) for ids in _dead_runs(desk, asked)), ""
    queries = _deadly(asked)
    if not needs_reading(asked):
        runs = sum(sum(desk.history.count(query, MOST + 1).values()) for query in queries)
        if runs > STEP:
            letters = desk.letters.number(MOST + 1, task=asked.name or None, queue=asked.queue or None)
            number, bound = _counted(min(runs, letters), asked)
            return number, bound or "at most"
    pages = [some(desk, query, STEP, share=1 / len(queries)) for query in queries]
    there = _letters(desk, [run.id for page in pages for run in page.runs if run.dead is not None])
    return len(there), "at least" if any(page.cursor is not None for page in pages) else ""


def _counted(number: int, asked: Asked) -> tuple[int, Bound]:
    return (number, "") if asked.exact or number <= MOST else (MOST, "more than")


# -- steps: how many were done, and where the next begins --------------------------------------------------------------


def _replay(desk: Desk, asked: Asked) -> tuple[int, str | None]:
    """The dead letters of some runs. Of a state after the other: each is found by the store's index."""
    queries = _deadly(asked)
    at, _, cursor = (asked.cursor or "0/").partition("/")
    if not at.isdigit() or int(at) >= len(queries):
        raise Unacceptable(f"{asked.cursor!r} is no cursor of this action")
    number = int(at)
    page = some(desk, queries[number], STEP, cursor)
    letters = _letters(desk, [run.id for run in page.runs if run.dead is not None])
    done = sum(each.fault is None for each in desk.letters.replay(letters))
    if page.cursor is not None:
        return done, f"{number}/{page.cursor}"
    return done, f"{number + 1}/" if number + 1 < len(queries) else None


def _forget(desk: Desk, asked: Asked) -> tuple[int, str | None]:
    done = desk.history.forget(query_of(asked, time.time()), _FORGET)
    return done, "on" if done >= _FORGET else None


def _revoke(desk: Desk, asked: Asked) -> tuple[int, str | None]:
    ids = [each["id"] for each in unfinished(desk, asked, MOST, _stats(desk, asked)) if each["id"]]
    if ids:
        desk.app.control.revoke(ids, terminate=asked.action == "terminate")
    return len(ids), None


_STEPS = {"replay": _replay, "forget": _forget, "revoke": _revoke, "terminate": _revoke}
_WORDS = {
    "replay": ("dead letter", "replayed"),
    "forget": ("record", "deleted"),
    "revoke": ("task", "cancelled"),
    "terminate": ("task", "cancelled"),
}


def _deadly(asked: Asked) -> list[RunQuery]:
    query = query_of(asked, time.time())
    return [msgspec.structs.replace(query, states=(state,)) for state in ((asked.state,) if asked.state else _DEADLY)]


def _dead_runs(desk: Desk, asked: Asked) -> Iterator[list[str]]:
    """Ids of runs that left a dead letter, some at a time."""
    for query in _deadly(asked):
        cursor: str | None = ""
        while cursor is not None:
            page = desk.history.runs(query, STEP, cursor or None)
            yield [run.id for run in page.runs if run.dead is not None]
            cursor = page.cursor


def _letters(desk: Desk, task_ids: list[str]) -> list[str]:
    """The dead letters that there still are of these tasks, each once."""
    return list(dict.fromkeys(letter.id for letter in desk.letters.get(task_ids))) if task_ids else []
