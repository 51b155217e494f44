"""What became of tasks, for people: runs, one task's story, failures by kind, and why a task is not running.

Owns finding the store that keeps the history and putting together what several places know of one task. It reads only.
Called by the command line and the dashboard."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from talo.errors import NotSupported, TaloError
from talo.execution.history import LOST
from talo.states import PENDING, READY_STATES, RETRY, REVOKED, STARTED
from talo.stores.base import Delivery, OwnerInfo, Sighting
from talo.stores.history import History, Page, RunQuery, RunRecord
from talo.stores.parking import home_of, is_parking
from talo.wire.message import Message
from talo.wire.sent import ready_since, sent_at

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["PATIENCE", "Explanation", "Reason", "Story", "explain", "found", "history_of", "story_of"]

#: Seconds in which workers have to say what they consume, and what they have.
ANSWER = 1.0
#: Seconds after which one that was asked for a task of its own is taken for dead. Its agent answers within
#: milliseconds.
SILENCE = 3.0
#: Seconds after which what is ready is counted by its broker, or has been fetched where nothing is.
SETTLED = 60.0
#: Seconds for which a page of a dashboard searches, see ``found``: half of what a page may take.
PATIENCE = 0.15
#: Messages that are looked through in each queue for one task.
FURTHEST = 5000
#: Ends of attempts that were not the last.
_PASSING = frozenset({RETRY, LOST})
#: The header of a message that looks for a worker that knows its task, see ``worker.intake``.
_UNKNOWN_SINCE = "talo-unknown-since"


class Reason(msgspec.Struct, kw_only=True):
    """One reason why a task is where it is. ``code`` is for programs, ``text`` for people."""

    #: Where it is: ``waiting``, ``delayed``, ``leased`` (fetched, and not begun), ``running``, ``lost`` (with its
    #: worker), ``dead``, ``ended``, ``unseen`` (in a broker that shows nothing), ``not_found``. Why: ``paused``,
    #: ``resuming``, ``no_worker``, ``no_consumer``, ``unknown_task``, ``expired``, ``revoked``.
    code: str
    text: str
    #: JSON-able.
    facts: dict[str, Any] = {}


class Explanation(msgspec.Struct, kw_only=True):
    """Why a task does not run, the most important reason first. There is at least one."""

    id: str
    task: str | None = None
    queue: str | None = None
    reasons: list[Reason] = []
    #: Messages that wait further back than was looked for it.
    beyond: int = 0


class Story(msgspec.Struct, kw_only=True):
    """Everything that is kept of one task."""

    id: str
    #: The first attempt first.
    attempts: list[RunRecord] = []
    #: What it started, directly or not, the latest first; of a root only.
    workflow: list[RunRecord] = []


def history_of(app: Talo) -> History:
    """Return the history of an app. ``NotSupported`` if none of its stores keeps one."""
    state = app.state_store
    if state is None or state.history is None:
        raise NotSupported(
            f"{app.store.url} keeps no history: set result_backend to a store that does (redis://, sqlite://)"
        )
    return state.history


def found(history: History, query: RunQuery, limit: int, cursor: str | None = None, patience: float = math.inf) -> Page:
    """Return what ``History.runs`` finds. A page is short at the end, or where the search stopped after ``patience``
    seconds: then ``Page.until`` says how far back it has looked, and its cursor looks further."""
    over = time.monotonic() + patience
    page = history.runs(query, limit, cursor)
    while page.until is not None and len(page.runs) < limit and time.monotonic() < over:
        further = history.runs(query, limit - len(page.runs), page.cursor)
        page = Page([*page.runs, *further.runs], further.cursor, further.until)
    return page


def story_of(app: Talo, task_id: str) -> Story:
    """Return what is kept of a task."""
    history = history_of(app)
    others = [run for run in history.runs(RunQuery(root=task_id), 100).runs if run.id != task_id]
    return Story(id=task_id, attempts=history.attempts(task_id), workflow=others)


def explain(app: Talo, task_id: str) -> Explanation:
    """Return why a task is not running: where it is, and what holds it up.

    Looks through the first ``FURTHEST`` messages of each queue; of what waits further back the number is told.
    """
    found = Explanation(id=task_id)
    # In the direction in which tasks go, so that none slips past; and what goes back comes from a lease or has ended
    # an attempt.
    if not any(look(app, found) for look in (_leased, _waiting, _leased, _over, _back)):
        _unseen(app, found)
    _revoked(app, found)
    return found


def _leased(app: Talo, found: Explanation) -> bool:
    for owner, delivery in _held(app):
        message = delivery.message
        if message is None or message.id != found.id:
            continue
        # No other process knows whether it runs, and whether its own is there any more.
        code, text = _holder(app, found.id, owner)
        if code == "lost" and not any(each.lease == delivery.lease for each in app.store.broker.held(owner.owner)):
            return False
        _place(found, message)
        facts = {"owner": owner.owner, "worker": owner.worker, "deliveries": delivery.deliveries}
        found.reasons.append(Reason(code=code, text=text, facts=facts))
        return True
    return False


def _holder(app: Talo, task_id: str, owner: OwnerInfo) -> tuple[str, str]:
    """What has become of a task that the store believes to be with this owner: a code and a text."""
    worker = owner.worker
    if owner.remaining < 0:
        return "lost", (
            f"worker {worker}, which has it, has not been heard of: its lease is over, and any other worker takes the "
            "task over within seconds"
        )
    # Whoever has no slots runs no tasks, and is no worker that answers.
    told = _asked(app, task_id, SILENCE, worker) if owner.slots else None
    if told is None:
        return "leased", f"{worker} has fetched it: it runs, or is the next to run there"
    if worker not in told:
        soon = "" if owner.remaining == math.inf else f" in {owner.remaining:.0f} s"
        return "lost", (
            f"worker {worker}, which has it, does not answer: if it is dead, another one takes the task over{soon}"
        )
    if told[worker] is None:
        return "lost", f"its process on worker {worker} has ended over it: it is about to be handed on"
    return _on(worker, told[worker])


def _on(worker: str, state: str | None) -> tuple[str, str]:
    if state == "active":
        return "running", f"it runs on worker {worker}"
    return "leased", f"worker {worker} has fetched it: it is the next to run there"


def _asked(app: Talo, task_id: str, patience: float, *workers: str) -> dict[str, str | None] | None:
    """Ask these workers, or all of them, for a task: by worker that answers ``active``, ``reserved``, or None if it has
    it not. None if they hear no questions."""
    if not app.conf.worker_enable_remote_control:
        return None
    try:
        told = app.control.inspect(list(workers) or None, timeout=patience).query_task(task_id) or {}
    except NotSupported:
        return None
    return {
        worker: tasks[task_id][0] if isinstance(tasks, dict) and task_id in tasks else None
        for worker, tasks in told.items()
    }


def _held(app: Talo) -> Iterator[tuple[OwnerInfo, Delivery]]:
    broker = app.store.broker
    for owner in broker.owners():
        if owner.held:
            for delivery in broker.held(owner.owner):
                yield owner, delivery


def _waiting(app: Talo, found: Explanation) -> bool:
    if not app.store.features.peek:
        return False
    sighting = app.store.broker.find(found.id, FURTHEST)
    while sighting.holder is not None:
        code, text = _holder(app, found.id, sighting.holder)
        # While its worker was asked it may have gone on.
        again = app.store.broker.find(found.id, FURTHEST) if code == "lost" else sighting
        if again.lease == sighting.lease:
            return _has(app, found, sighting, Reason(code=code, text=text))
        sighting = again
    found.beyond = sighting.beyond
    message = sighting.message
    if message is None or (app.store.features.ledger and _gone_on(app, found, message)):
        return bool(found.reasons)
    _place(found, message)
    _explain_waiting(app, found, message, sighting.ahead)
    return True


def _has(app: Talo, found: Explanation, sighting: Sighting, reason: Reason) -> bool:
    """A ledger says who has it; False if it ended there, and whoever should have struck it out died over that."""
    message, holder = sighting.message, sighting.holder
    assert message is not None
    assert holder is not None
    if reason.code == "lost" and _ended_since(app, found.id, message):
        return False
    _place(found, message)
    reason.facts = {"owner": holder.owner, "worker": holder.worker}
    found.reasons.append(reason)
    return True


def _gone_on(app: Talo, found: Explanation, message: Message) -> bool:
    """Whether what waits by a ledger is a trace of what has ended, or is not where it should be."""
    if _ended_since(app, found.id, message):
        return True
    since = ready_since(message)
    if message.due is not None or since is None or time.time() - since < SETTLED or _shown(app, message.queue):
        return False
    # A worker of another system writes in no ledger.
    if _elsewhere(app, found):
        return True
    if _shown(app, message.queue) or app.store.broker.find(found.id, FURTHEST).holder is not None:
        return False
    text = (
        f"by the ledger it waits in queue {message.queue}, where {app.store.features.name} has nothing: its sender "
        "died before it was sent, or another system has taken it"
    )
    _place(found, message)
    found.reasons.append(Reason(code="unseen", text=text, facts={"since": since}))
    return True


def _shown(app: Talo, queue: str) -> bool:
    """Whether the broker counts anything that is ready there."""
    return any(each.ready for each in app.store.broker.stats([queue]))


def _ended_since(app: Talo, task_id: str, message: Message) -> bool:
    """Whether the task has ended since this was sent."""
    sent = sent_at(message.headers) or 0.0
    attempts = _attempts(app, task_id)
    if attempts and attempts[-1].state not in _PASSING and attempts[-1].ended >= sent:
        return True
    try:
        result = app.AsyncResult(task_id)
        done = result.date_done if result.state in READY_STATES else None
    except TaloError:
        return False
    return done is not None and done.timestamp() >= sent


def _explain_waiting(app: Talo, found: Explanation, message: Message, ahead: int) -> None:
    now = time.time()
    reasons = found.reasons
    source, message = message.queue, msgspec.structs.replace(message, queue=home_of(message.queue).queue)
    unknown = message.headers.get(_UNKNOWN_SINCE)
    if isinstance(unknown, int | float):
        text = f"no worker that consumes {message.queue} knows the task {message.task!r}: is its module imported there?"
        reasons.append(Reason(code="unknown_task", text=text, facts={"task": message.task, "since": unknown}))
    _explain_paused(app, found, message, source)
    _explain_consumers(app, found, message)
    if message.due is not None and message.due > now:
        text = f"it is delayed, for another {message.due - now:.0f} s"
        reasons.append(Reason(code="delayed", text=text, facts={"due": message.due}))
    else:
        since = ready_since(message)
        waited = "" if since is None else f" for {max(0.0, now - since):.0f} s"
        text = f"it waits in queue {message.queue}{waited}, behind {ahead} others"
        reasons.append(
            Reason(code="waiting", text=text, facts={"queue": message.queue, "ahead": ahead, "since": since})
        )


def _explain_paused(app: Talo, found: Explanation, message: Message, source: str) -> None:
    if app.state_store is None:
        return
    queues, tasks = app.control.paused()
    if is_parking(source) and message.task not in tasks:
        text = f"task {message.task} was paused: it goes on with what has waited longest"
        found.reasons.append(Reason(code="resuming", text=text, facts={"task": message.task}))
    for kind, name, paused in (("queue", message.queue, queues), ("task", message.task, tasks)):
        if name in paused:
            text = f"{kind} {name} is paused: talo control resume lets it go on"
            found.reasons.append(Reason(code="paused", text=text, facts={kind: name}))


def _explain_consumers(app: Talo, found: Explanation, message: Message) -> None:
    known = sorted({owner.worker for owner in app.store.broker.owners() if owner.slots})
    # Where a ledger tells what waits, the broker knows the owners of this process or machine only.
    if not known and not app.store.features.ledger:
        found.reasons.append(Reason(code="no_worker", text="no worker is up"))
        return
    # Only workers know what they consume; one that does not answer is none of those that are blamed. Those that are
    # known answer at once; that there is no other one takes waiting to learn.
    told: dict[str, Any] = {}
    for workers in ([known] if known else []) + ([None] if app.store.features.foreign else []):
        told |= app.control.inspect(workers, timeout=ANSWER).active_queues() or {}
        if any(queue.get("name") == message.queue for queues in told.values() for queue in queues):
            return
    if told:
        text = f"no worker consumes queue {message.queue}: start one with -Q {message.queue}"
        found.reasons.append(Reason(code="no_consumer", text=text, facts={"asked": sorted(told)}))
    elif not known:
        found.reasons.append(Reason(code="no_worker", text="no worker answers"))


def _over(app: Talo, found: Explanation) -> bool:
    dead, ended = _dead(app, found), _ended(app, found)
    return dead or ended


def _back(app: Talo, found: Explanation) -> bool:
    """Whether it has gone back to its queue between two looks."""
    attempts = _attempts(app, found.id)
    return bool(attempts) and attempts[-1].state in _PASSING and _waiting(app, found)


def _dead(app: Talo, found: Explanation) -> bool:
    letters = app.store.broker.dead_get([found.id])
    for letter in letters[:1]:
        found.task, found.queue = letter.death.task, letter.queue
        text = f"it is a dead letter: {letter.death.reason}: {letter.death.text}".rstrip(": ")
        facts = {"letter": letter.id, "reason": letter.death.reason, "died": letter.died}
        found.reasons.append(Reason(code="dead", text=text, facts=facts))
    return bool(letters)


def _revoked(app: Talo, found: Explanation) -> None:
    state = app.state_store
    if state is not None and state.locks.marked("revoked", [found.id]):
        text = "it is revoked: whoever fetches it discards it"
        found.reasons.insert(0, Reason(code="revoked", text=text))


def _attempts(app: Talo, task_id: str) -> list[RunRecord]:
    state = app.state_store
    return state.history.attempts(task_id) if state is not None and state.history is not None else []


def _ended(app: Talo, found: Explanation) -> bool:
    attempts = _attempts(app, found.id)
    if attempts and attempts[-1].state not in _PASSING:
        last = attempts[-1]
        found.task, found.queue = found.task or last.name, found.queue or last.queue
        if last.state == REVOKED and last.error == "expired":
            found.reasons.append(Reason(code="expired", text="it expired before a worker came to it"))
        text = f"it has ended: {last.state}" + (f", {last.error}" if last.error else "")
        facts = {"state": last.state, "ended": last.ended, "attempts": len(attempts), "worker": last.worker}
    elif (stored := _stored(app, found.id)[0]) in READY_STATES:
        text, facts = f"it has ended: {stored}", {"state": stored}
    else:
        return False
    found.reasons.append(Reason(code="ended", text=text, facts=facts))
    return True


def _stored(app: Talo, task_id: str) -> tuple[str, Any]:
    """State and information of its result; PENDING where it cannot be read."""
    result = app.AsyncResult(task_id)
    try:
        return result.state, result.info
    except TaloError:
        return PENDING, None


def _unseen(app: Talo, found: Explanation) -> None:
    """What the store knows nothing of: a worker may, where not all that is held is told."""
    features = app.store.features
    if features.foreign and _elsewhere(app, found):
        return
    name = features.name
    stored, info = _stored(app, found.id)
    if found.beyond and features.ledger:
        code = "unseen"
        text = (
            f"the ledger knows nothing of it: it is one of {found.beyond:,} on {name} that others than Talo's senders "
            "have sent, or was never sent"
        )
    elif found.beyond:
        code = "unseen"
        text = (
            f"it is not among the first {FURTHEST:,} of its queue: it is one of {found.beyond:,} that wait further "
            "back, or was never sent"
        )
    elif features.peek:
        code = "not_found"
        text = (
            f"no queue, worker, dead letter or history knows {found.id}: it was never sent here, or what became of it "
            "is no longer kept"
        )
    elif stored == STARTED and isinstance(info, dict):
        # The last that was stored of it, which takes ``task_track_started``.
        code = "lost"
        where = info.get("hostname")
        text = f"it began on worker {where}, which died with it or gave it back: {name} hands it out again"
    else:
        code = "unseen"
        text = (
            f"no worker has it, and {name} shows nothing of what waits: it waits, is delayed, or was never sent (with "
            "broker_ledger it is known)"
        )
    found.reasons.append(Reason(code=code, text=text))


def _elsewhere(app: Talo, found: Explanation) -> bool:
    """Whether any worker that answers has it."""
    for worker, state in (_asked(app, found.id, ANSWER) or {}).items():
        if state is not None:
            code, text = _on(worker, state)
            found.reasons.append(Reason(code=code, text=text, facts={"worker": worker}))
            return True
    return False


def _place(found: Explanation, message: Message) -> None:
    found.task, found.queue = message.task, home_of(message.queue).queue
    expires = message.properties.get("expiration")
    sent = sent_at(message.headers)
    if isinstance(expires, str) and expires.isdigit() and sent is not None and sent + int(expires) / 1000 < time.time():
        text = "it has expired: whoever fetches it discards it"
        found.reasons.append(Reason(code="expired", text=text, facts={"expires": message.headers.get("expires")}))
