"""Runs: what ended, what runs, what waits; one task's story; cancelling.

Owns the search over the three places: history for what has ended, leases for what runs, queues for what waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from talo.control.history import PATIENCE, found, story_of
from talo.control.history import explain as explained
from talo.errors import NotSupported, TaloError
from talo.stores.base import QueueStats, delayed_in
from talo.stores.history import Page, RunQuery, RunRecord
from talo.util.text import count, shorten
from talo.web.desk import Desk
from talo.web.operation import Unacceptable, acts, reads
from talo.web.operations.queues import facts_of

__all__ = [
    "ENDED",
    "LIVE",
    "MOST",
    "Search",
    "explain",
    "needs_reading",
    "query_of",
    "reschedule",
    "revoke",
    "run",
    "run_facts",
    "runs",
    "some",
    "unfinished",
    "waiting",
]

#: States in the history.
ENDED = ("SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED", "IGNORED", "LOST")
#: What has not ended: these are found in leases and queues.
LIVE = ("running", "waiting", "delayed")
#: Numbers are counted up to this, unless they are asked for exactly.
MOST = 10_000
#: Of what has not ended so many are looked through in each queue or owner.
FURTHEST = 1000
_PAGE = 100

State = Literal[
    "", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED", "IGNORED", "LOST", "running", "waiting", "delayed"
]


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """What is looked for. ``since`` and ``until`` are epoch seconds, or ages such as ``15m`` and ``2h``."""

    state: State = ""
    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    #: A part of the error's text.
    error: str | None = None
    #: A part of the arguments as they are shown.
    argument: str | None = None
    #: A kind of failure.
    fingerprint: str | None = None
    id: str | None = None
    root: str | None = None
    since: str | None = None
    until: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None
    #: Do not wait for counts that take long: tell those of a moment ago, or none.
    quick: bool = False
    #: Count however long it takes.
    exact: bool = False


class Ids(msgspec.Struct, forbid_unknown_fields=True):
    """Ids of tasks; ``terminate``: also stop those that run."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    terminate: bool = False


class Later(msgspec.Struct, forbid_unknown_fields=True):
    """Ids of tasks, and when they are to run: ``countdown``, seconds from now or ``15m``, ``2h``, ``7d``; or ``eta``,
    epoch seconds."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    countdown: str | None = None
    eta: float | None = None


class One(msgspec.Struct, forbid_unknown_fields=True):
    """The id of a task."""

    id: Annotated[str, msgspec.Meta(min_length=1)]


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _moment(text: str | None, now: float) -> float | None:
    """Epoch seconds of a time or an age. ``Unacceptable`` for what is neither."""
    if not text:
        return None
    try:
        return now - _seconds(text) if text[-1] in _UNITS else float(text)
    except ValueError:
        raise Unacceptable(f"{text!r} is neither a time (epoch seconds) nor an age (15m, 2h, 7d)") from None


def _seconds(text: str) -> float:
    """Seconds, of a number of them or of ``15m``. ``ValueError`` for what is neither."""
    return float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)


def query_of(asked: Search, now: float) -> RunQuery:
    """The question to the history."""
    return RunQuery(
        name=asked.name or None,
        queue=asked.queue or None,
        worker=asked.worker or None,
        states=(asked.state,) if asked.state in ENDED else (),
        fingerprint=asked.fingerprint or None,
        text=asked.error or None,
        argument=asked.argument or None,
        id=asked.id or None,
        root=asked.root or None,
        since=_moment(asked.since, now),
        until=_moment(asked.until, now),
    )


@reads("/runs", Search)
def runs(desk: Desk, asked: Search) -> dict[str, Any]:
    """Find runs by state, task, queue, worker, error and time, the latest first; with counts by state."""
    now = time.time()
    live = asked.state in LIVE
    # What is listed first, what is counted then: counting may take long, and a store may do one thing at a time.
    stats = desk.broker.stats([asked.queue] if asked.queue else None)
    open_runs = unfinished(desk, asked, asked.limit, stats) if live else []
    page = Page([])
    if desk.has_history and not live:
        page = some(desk, query_of(asked, now), asked.limit, asked.cursor)
    open_counts = _live_counts(stats)
    ended = _ended_counts(desk, asked, now)
    return {
        "search": {name: value for name, value in msgspec.to_builtins(asked).items() if name not in ("quick", "exact")},
        "counts": {**(ended or {}), **open_counts},
        "counted": ended is not None,
        "at_least": not (asked.quick or asked.exact) and sum((ended or {}).values()) >= MOST,
        "until": page.until,
        "history": desk.has_history,
        "runs": [_row(each) for each in page.runs],
        "unfinished": open_runs,
        "cursor": page.cursor,
    }


def some(desk: Desk, query: RunQuery, limit: int, cursor: str | None = None, share: float = 1.0) -> Page:
    """What the history finds in a page's time, or a share of it."""
    try:
        return found(desk.history, query, limit, cursor or None, PATIENCE * share)
    except ValueError:
        raise Unacceptable(f"{cursor!r} is no cursor of this search") from None


def needs_reading(asked: Search) -> bool:
    """Whether nothing but reading what has ended tells what fits: so not all of it is counted unasked."""
    return bool(asked.argument or asked.error)


def _ended_counts(desk: Desk, asked: Search, now: float) -> dict[str, int] | None:
    """What has ended, by state, whatever state is asked for, up to about ``MOST``; None: it is being counted, or takes
    too long to count."""
    if not desk.has_history:
        return {}
    query = msgspec.structs.replace(query_of(asked, now), states=())
    if asked.exact:
        return desk.history.count(query)
    if asked.argument or (needs_reading(asked) and not asked.quick):
        return None
    if not asked.quick:
        return desk.history.count(query, MOST)
    fields = ("name", "queue", "worker", "error", "fingerprint", "id", "root", "since", "until")
    return desk.state_counts.latest(desk.history, tuple(getattr(asked, field) for field in fields), query)


def _live_counts(stats: Sequence[QueueStats]) -> dict[str, int | None]:
    """Of what has not ended: by queue only, as the broker counts; None: it does not tell."""
    running, waiting = sum(each.leased for each in stats), sum(each.ready for each in stats)
    return {"running": running, "waiting": waiting, "delayed": delayed_in(stats)}


def unfinished(desk: Desk, asked: Search, limit: int, stats: Sequence[QueueStats]) -> list[dict[str, Any]]:
    """What runs or waits in these queues and fits; at most ``limit``, and looking through ``FURTHEST`` of each owner or
    queue."""
    found: list[dict[str, Any]] = []
    for facts in _all_unfinished(desk, asked, stats):
        if (
            (not asked.name or facts["task"] == asked.name)
            and (not asked.queue or facts["queue"] == asked.queue)
            and (not asked.worker or facts.get("worker") == asked.worker)
            and (not asked.id or facts["id"] == asked.id)
            and (not asked.root or facts["root"] == asked.root)
        ):
            found.append(facts)
            if len(found) == limit:
                break
    return found


def _all_unfinished(desk: Desk, asked: Search, stats: Sequence[QueueStats]) -> Any:
    broker = desk.broker
    if asked.state == "running":
        for owner in broker.owners():
            for delivery in broker.held(owner.owner)[:FURTHEST] if owner.held else ():
                if delivery.message is not None:
                    yield {**facts_of(delivery.message), "worker": owner.worker, "deliveries": delivery.deliveries}
        return
    delayed = asked.state == "delayed"
    about = asked.id or asked.root or asked.name or None
    step = FURTHEST if about else _PAGE
    for queue, number, beyond in waiting(asked, stats):
        try:
            for offset in range(0, number - beyond, step):
                for message in broker.peek(queue, step, offset, delayed=delayed, about=about):
                    yield facts_of(message)
        except NotSupported:
            return


def waiting(asked: Search, stats: Sequence[QueueStats]) -> list[tuple[str | None, int, int]]:
    """Where what waits is looked for: queue (None: all of them), how much waits there, how much of it stands further
    back than is looked."""
    places: list[tuple[str | None, int, int]] = [(each.name, each.ready, FURTHEST) for each in stats]
    if asked.state == "delayed":
        places = [(asked.queue or None, delayed_in(stats) or 0, FURTHEST * len(stats))]
    return [(queue, number, max(0, number - looks)) for queue, number, looks in places]


def _row(run: RunRecord) -> dict[str, Any]:
    """A run in a list: without what only its own page shows."""
    facts = run_facts(run)
    for name in ("traceback", "args", "kwargs"):
        del facts[name]
    return facts


def run_facts(run: RunRecord) -> dict[str, Any]:
    """A run as JSON tells it."""
    return {**{name: getattr(run, name) for name in RunRecord.__struct_fields__}, "started": run.started}


@reads("/run", One)
def run(desk: Desk, asked: One) -> dict[str, Any]:
    """One task's story: attempts with tracebacks, arguments, result, lineage."""
    attempts: list[RunRecord] = []
    children: list[RunRecord] = []
    if desk.has_history:
        story = story_of(desk.app, asked.id)
        attempts, children = story.attempts, story.workflow
    letters = desk.broker.dead_get([asked.id])
    last = attempts[-1] if attempts else None
    return {
        "id": asked.id,
        "task": last.name if last else (letters[0].death.task if letters else None),
        "attempts": [run_facts(each) for each in attempts],
        "timeline": _timeline(attempts),
        "result": _result(desk, asked.id),
        "letter": letters[0].id if letters else None,
        "lineage": {
            "root": last.root if last else None,
            "parent": last.parent if last else None,
            "group": last.group if last else None,
        },
        "children": [_row(each) for each in children],
        "history": desk.has_history,
        "reschedules": desk.app.reschedules,
    }


def _timeline(attempts: list[RunRecord]) -> dict[str, Any] | None:
    """Waiting and running of each attempt as percentages of the whole span; None if there is nothing to draw."""
    starts = [t for each in attempts for t in (each.sent, each.started, each.ended) if t is not None]
    if not starts:
        return None
    first, last = min(starts), max(each.ended for each in attempts)
    span = max(last - first, 1e-6)

    def at(moment: float) -> float:
        return round(100 * (moment - first) / span, 3)

    bars = []
    for each in attempts:
        started = each.started if each.started is not None else each.ended
        ready = max(first, started - each.waited) if each.waited is not None else started
        bars.append(
            {
                "attempt": each.attempt,
                "state": each.state,
                "wait": {"x": at(ready), "width": max(0.0, at(started) - at(ready))},
                "run": {"x": at(started), "width": max(0.4, at(each.ended) - at(started))},
            }
        )
    return {"first": first, "last": last, "span": span, "bars": bars}


def _result(desk: Desk, task_id: str) -> dict[str, Any] | None:
    """The stored result, bounded; None if there is none (any more)."""
    if desk.app.result_store is None:
        return None
    result = desk.app.AsyncResult(task_id)
    try:
        if result.state == "PENDING":
            return None
        return {"state": result.state, "text": shorten(repr(result.result), 4000)}
    except TaloError as error:
        return {"state": "unreadable", "text": str(error)}


@reads("/explain", One)
def explain(desk: Desk, asked: One) -> dict[str, Any]:
    """Why a task is not running, the most important reason first."""
    found: dict[str, Any] = msgspec.to_builtins(explained(desk.app, asked.id))
    return found


@acts("/runs/revoke", Ids)
def revoke(desk: Desk, asked: Ids) -> dict[str, Any]:
    """Cancel tasks: keep them from starting, with terminate stop those that run."""
    desk.app.control.revoke(asked.ids, terminate=asked.terminate)
    done = "cancelled; what runs of them is stopped" if asked.terminate else "kept from starting"
    return {"text": f"{count(len(asked.ids), 'task')} {done}.", "ids": asked.ids}


@acts("/runs/reschedule", Later)
def reschedule(desk: Desk, asked: Later) -> dict[str, Any]:
    """Give waiting tasks another time, earlier or later; what runs or has ended is left alone."""
    if (asked.countdown is None) == (asked.eta is None):
        raise Unacceptable("say when: countdown or eta, one of them")
    try:
        countdown = None if asked.countdown is None else _seconds(asked.countdown)
        moved = desk.app.control.reschedule(asked.ids, countdown, asked.eta)
    except (ValueError, OverflowError):
        raise Unacceptable("countdown is a number of seconds, or 15m, 2h, 7d; eta is epoch seconds") from None
    others = len(asked.ids) - len(moved)
    text = f"{count(len(moved), 'task')} rescheduled" + (f"; {others} not waiting any more." if others else ".")
    return {"text": text, "ids": moved}
