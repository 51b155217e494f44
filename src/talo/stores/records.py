"""The data that stores and their callers exchange: deliveries under leases, settlements, results, dead letters,
numbers.

Owns the forms only; the verbs that take and return them are in ``base``, which lifts these names. All are handed over
and not changed afterwards."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from talo.stores.history import RunRecord
from talo.wire.message import Message

__all__ = [
    "DeadLetter",
    "Death",
    "Delivery",
    "Features",
    "GroupPart",
    "GroupRecord",
    "Lease",
    "OwnerInfo",
    "Post",
    "QueueStats",
    "Renewal",
    "ResultMeta",
    "Settlement",
    "Turn",
    "Verdict",
    "delayed_in",
]


class Lease(msgspec.Struct, frozen=True):
    """The right to settle one delivery. ``token`` grows in the order of fetching and is never used twice by one
    owner."""

    owner: str
    token: int


class Delivery(msgspec.Struct, kw_only=True):
    """A fetched message under a lease.

    ``message`` is None when the bytes in the queue make no message: then ``fault`` says why and ``raw`` holds them.
    A fault is the word for it and a text, ``not_json: ...``; the word becomes the reason of the dead letter.
    """

    lease: Lease
    queue: str
    message: Message | None
    raw: bytes | None = None
    fault: str | None = None
    #: How often this message was charged before: its process died while it ran.
    deliveries: int = 0
    #: It came back from a death whose cause is unknown; whoever runs it does so with nothing unsettled beside it.
    suspect: bool = False
    #: The token that it had under the owner it was taken over from.
    former: int | None = None


class Verdict(enum.IntEnum):
    """How a delivery ends."""

    DONE = 0
    #: Back to its queue: to the head at once, or after ``delay`` seconds.
    AGAIN = 1
    #: To the dead letters.
    DEAD = 2


class ResultMeta(msgspec.Struct, kw_only=True):
    """A result to be stored. ``payload`` is the encoded result document, as any reader (Celery's included) expects to
    find it."""

    task_id: str
    status: str
    payload: bytes
    #: Seconds to keep it; None: for ever.
    expires: float | None = None
    #: Where the answer is to go, on stores that send results back to who asked.
    reply_to: str | None = None


class Death(msgspec.Struct, kw_only=True):
    """Why a message became a dead letter. ``reason`` is one short word (``failed``, ``worker_lost``, ``rejected``,
    ``not_json`` ...)."""

    reason: str
    text: str = ""
    #: JSON-able facts: traceback, worker, exit code, retries.
    detail: dict[str, Any] = {}
    task_id: str | None = None
    task: str | None = None
    #: Seconds to keep it; None: for ever.
    expires: float | None = None
    #: The queue to which it belonged; None: that from which it was fetched.
    queue: str | None = None


class GroupPart(msgspec.Struct, kw_only=True):
    """The end of one member of a group that something waits for."""

    group: str
    #: The id of the member: a second part of the same member changes nothing.
    member: str
    #: Its place among the members.
    index: int
    #: The encoded result document; a group keeps its parts itself, however soon results expire.
    payload: bytes
    #: So many more members are expected from now on: those that this one has added.
    grows: int = 0
    #: For a chord that Celery sent: what is sent if this is the last part. Then the payload is a part in Celery's form,
    #: and it is counted where Celery counts.
    then: Message | None = None
    #: Seconds to keep Celery's parts.
    keep: float | None = None


class GroupRecord(msgspec.Struct, kw_only=True):
    """What the store knows of a group, or of a step that is to come.

    ``size`` distinct members make it complete; in the very step in which the last one ends, ``then`` is sent, once.
    With ``size`` 0 nobody is counted: it only keeps a plan.
    """

    id: str
    size: int = 0
    then: Message | None = None
    #: Opaque to the store.
    plan: bytes = b""
    #: Seconds from now, and again from each part; None: for ever.
    expires: float | None = None


class Settlement(msgspec.Struct, kw_only=True):
    """The end of one delivery with everything that it means; applied whole or not at all."""

    lease: Lease
    verdict: Verdict = Verdict.DONE
    result: ResultMeta | None = None
    #: Results of others that end with it: the later steps of a chain that breaks here.
    also: Sequence[ResultMeta] = ()
    #: What to send: next chain step, callbacks, the retry.
    follow: Sequence[Message] = ()
    #: The place of this end in a group that something waits for.
    part: GroupPart | None = None
    #: What ends with this and ends once: the group whose continuation this is, or a step of a chain, which nobody has
    #: opened. If it has been closed before, nothing but the end of the lease is applied; else it is closed, which is
    #: remembered for an hour, and its parts are deleted. ``celery:<id>`` names a chord that Celery sent.
    closes: str | None = None
    #: AGAIN: seconds to wait. With 0 it becomes the next to be fetched, ahead of what waits.
    delay: float = 0.0
    #: AGAIN: this delivery counts, because its process died while it ran.
    charge: bool = False
    #: AGAIN: mark it suspect.
    suspect: bool = False
    #: DEAD: why.
    death: Death | None = None
    #: For counters and history: the attempt that ends here.
    run: RunRecord | None = None


class Turn(msgspec.Struct):
    """What one turn brought."""

    deliveries: list[Delivery]
    #: Leases of settlements that were refused, because they had ended or were taken over. Nothing of such a
    #: settlement was applied.
    refused: list[Lease]
    #: Epoch seconds (store's clock turned to the local one) at which the next delayed task of this store falls due,
    #: None if none waits.
    next_due: float | None = None


class OwnerInfo(msgspec.Struct, kw_only=True):
    """One lease holder, as the store knows it."""

    owner: str
    #: The node name of its worker, the same for all owners of one worker.
    worker: str
    #: How many tasks it runs at a time.
    slots: int
    #: Seconds until its lease ends; negative if it is over.
    remaining: float
    #: Leases it holds now.
    held: int


class Renewal(NamedTuple):
    """What a store says to whoever renews leases."""

    #: Those of the owners that are not open any more.
    gone: list[str]
    #: Seconds until the earliest lease of any owner ends, whosever it is; negative if it is over. None: there is none,
    #: or leases end by themselves here.
    first_end: float | None = None


class QueueStats(msgspec.Struct, kw_only=True):
    """One queue's numbers at the moment of asking."""

    name: str
    #: What is due is ready, also before a turn has made it so.
    ready: int = 0
    #: None: the store does not tell by queue what waits for its time.
    delayed: int | None = 0
    leased: int = 0
    #: Seconds for which the ready message that has waited longest could have been fetched; None: nothing is ready, or
    #: the store or the message does not say.
    oldest: float | None = None


class Sighting(msgspec.Struct, kw_only=True):
    """What a look for one task among what waits has brought."""

    #: Its message, with the moment at which it falls due if it is delayed; None: it is not where the look went.
    message: Message | None = None
    #: Messages of its queue that are ready and will be fetched before it.
    ahead: int = 0
    #: Messages that wait further back than the look went.
    beyond: int = 0
    #: Who has fetched it, and under which lease, where a ledger tells; ``remaining`` is endless where nobody knows.
    holder: OwnerInfo | None = None
    lease: Lease | None = None


def delayed_in(queues: Iterable[QueueStats]) -> int | None:
    """Return how many wait for their time in all of these; None: the store does not tell."""
    numbers = [each.delayed for each in queues]
    return None if None in numbers else sum(number for number in numbers if number is not None)


class Post(msgspec.Struct, kw_only=True):
    """One message of events or remote control, as it stands on the wire: to an exchange, under a key."""

    exchange: str
    #: ``fanout`` reaches every hearer of the exchange, ``topic`` those whose pattern fits the key (``task.*``, ``#``),
    #: ``direct`` those that listen to the very key.
    kind: str
    key: str = ""
    body: bytes = b""
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    headers: dict[str, Any] = {}
    #: Properties of the protocol beside the content's: ``reply_to``, ``correlation_id``, ``expiration`` ...
    properties: dict[str, Any] = {}


class DeadLetter(msgspec.Struct, kw_only=True):
    """A message that will not be run again unless somebody replays it."""

    id: str
    queue: str
    death: Death
    #: Epoch seconds.
    died: float
    deliveries: int
    message: Message | None
    raw: bytes | None = None


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a store can do. What it cannot is refused when asked for, never degraded silently."""

    #: Scheme names, for messages to people.
    name: str
    #: Settlements of this store apply result, follow-ups and lease end in one step.
    atomic: bool
    #: Other machines can reach it.
    shared: bool
    #: It outlives the process.
    durable: bool
    priorities: bool = True
    #: Longest delay in seconds that the store itself can hold.
    max_delay: float = float("inf")
    #: Largest message in bytes.
    max_message: int = 512 * 1024 * 1024
    #: A send can join the caller's own transaction.
    transactions: bool = False
    #: It keeps schedules: a tick is claimed in the same step that sends the task.
    schedules: bool = False
    #: It keeps counters and history.
    history: bool = False
    #: It can list what waits (``Broker.peek``).
    peek: bool = False
    #: It lists and finds by a ledger beside it: without bodies, and not what others than Talo's senders sent.
    ledger: bool = False
    #: Seconds ahead from which ``Broker.purge`` reaches what is delayed.
    purges_from: float = 0.0
    #: What waits can be given another time (``Broker.reschedule``).
    reschedules: bool = False
    #: Workers of other systems (Celery's) may fetch from it, and hold what it does not know of.
    foreign: bool = False
    #: It keeps locks and marks, which expire. One that does not needs a store beside it that does.
    locks: bool = True
    #: It keeps results that any process may read.
    results: bool = True
    #: It keeps what will not be run again. One that does not needs a store beside it that does.
    dead_letters: bool = True
    #: Leases can be listed and taken over by others, and are numbered for it. Where not, a lease ends with its
    #: connection, and the store hands out again by itself, with its own count.
    hands_over: bool = True
    #: ``Broker.owners`` tells of all that fetch, wherever they are. Where not, workers say so in the store of locks.
    tells_owners: bool = True
    #: What is sent to a queue keeps its order there, and a worker may make queues: tasks of a paused type are put aside
    #: into one of their own. Where not, they go back with a delay.
    parks: bool = True
    #: New work wakes one of those who wait, not all: each of them may wait by itself.
    wakes_one: bool = False
    #: It routes through exchanges by itself, so that a message reaches queues of which its sender does not know.
    exchanges: bool = False
    #: Longest time in seconds that it lets a delivery be held, unless its operator has changed that.
    max_hold: float = float("inf")
