"""What a store promises: the verbs of its roles and the data they exchange.

Owns the contract, not one line of a technology. ``talo.testing.contract`` holds every store to it. Callers:
``app.send`` (send), ``worker`` (turn, leases), ``app.result`` (results), ``control`` and ``events`` (bus, locks).

Common rules. Verbs take batches. A verb either does all that it says for an item or nothing of it. Every verb ends
within the store's operation timeout and then raises ``StoreUnavailable``; what a client library raises is translated,
with ``from``. Whether a lease is over or a delayed task due is judged by the store's own clock, never by a caller's. A
store object belongs to one process (it is opened after the fork) and its verbs may be called from several threads.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

import msgspec

from talo.errors import NotSupported
from talo.stores.history import History
from talo.stores.ledger import Ledger
from talo.stores.records import (
    DeadLetter,
    Death,
    Delivery,
    Features,
    GroupPart,
    GroupRecord,
    Lease,
    OwnerInfo,
    Post,
    QueueStats,
    Renewal,
    ResultMeta,
    Settlement,
    Sighting,
    Turn,
    Verdict,
    delayed_in,
)
from talo.stores.schedules import Schedules
from talo.wire.message import Message

__all__ = [
    "Broker",
    "Bus",
    "DeadLetter",
    "Death",
    "Delivery",
    "Ear",
    "Features",
    "GroupPart",
    "GroupRecord",
    "Lease",
    "Locks",
    "OwnerInfo",
    "Post",
    "QueueStats",
    "Renewal",
    "ResultBackend",
    "ResultMeta",
    "Settlement",
    "Sighting",
    "Store",
    "Subscription",
    "Turn",
    "Verdict",
    "Watch",
    "delayed_in",
]


class Broker(ABC):
    """Keeps messages between send and settlement."""

    #: Told of messages that it is about to send by itself: what completes a group, what comes from a store beside it.
    on_own: Callable[[Sequence[Message]], None] | None = None

    @abstractmethod
    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        """Store the messages, ready or delayed; on return they are kept as safely as this store keeps anything.

        ``timeout`` (seconds, name lookup and waiting for a connection included) bounds the whole call:
        ``PublishTimeout``. Errors: ``MessageTooLarge`` and ``StoreFull``, before anything of that batch was stored
        where the store can tell.
        """

    def begin_send(self, messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        """Begin what ``send`` does; return what waits until it is done, to be called once, in the order of the sends:
        whoever has more to send makes it ready meanwhile. Both raise what ``send`` raises. Default: it is done."""
        self.send(messages, timeout=timeout)
        return lambda: None

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        """Settle, then lease up to ``limit`` ready messages of ``queues`` to ``owner``; one round trip where the
        store can.

        Delayed messages that are due become ready first, in bounded number. Queues share evenly over many turns;
        within a queue higher priority first (the store's configured direction), then oldest first. Never blocks for
        messages. ``limit`` 0 only settles. ``LeaseLost`` when the owner is not open (any more): then none of it was
        done. Repeating a turn whose answer was lost is safe: its settlements are refused the second time, and ``held``
        lists what it leased.
        """
        refused = self.settle(settlements) if settlements else []
        return self.fetch(owner, queues, limit, refused) if limit else Turn([], refused)

    @abstractmethod
    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        """End deliveries, whoever owns them; return the leases that were refused. Idempotent. Also after the owner's
        lease time is over, as long as nobody has taken the delivery over."""

    @abstractmethod
    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        """The second half of ``turn``; ``refused`` is passed through."""

    @abstractmethod
    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        """Block until a turn may bring something, one of the file descriptors ``also`` is readable, or ``timeout``
        seconds are over.

        Call it after a turn that brought nothing: whatever became ready since that turn ends the wait at once, who ever
        sent it. May end early. Return False only when the time is over. Causes no traffic while waiting.
        """

    @abstractmethod
    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:
        """Make ``owner`` known, with a lease of ``lease`` seconds from now. Opening an open owner renews it."""

    @abstractmethod
    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        """Set the leases to ``lease`` seconds from now; say which of the owners are not open any more, and when the
        first lease of anybody ends: who renews need not ask for the dead before. A lease that is over but not taken
        over yet lives on."""

    @abstractmethod
    def owners(self) -> list[OwnerInfo]:
        """Every open owner, those with the earliest end first."""

    @abstractmethod
    def held(self, owner: str) -> list[Delivery]:
        """What the store believes this owner holds, in the order of tokens; changes nothing."""

    @abstractmethod
    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        """Move up to ``limit`` leases from ``owner`` to ``by`` (an open owner), oldest first, in one step; close
        ``owner`` when none is left.

        With ``expired`` only if its lease is over at that very moment, else nothing happens. Each delivery carries
        its ``former`` token.
        Two callers never get the same delivery. What cannot be decoded is delivered too, with its ``fault``.
        """

    @abstractmethod
    def close_owner(self, owner: str) -> None:
        """Forget an owner that holds nothing; one that holds something keeps its lease time."""

    @abstractmethod
    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        """Numbers of the given queues, or of every queue the store knows of. Changes nothing."""

    def delayed_total(self) -> int | None:
        """How many messages of all its queues wait for their time; None: it does not tell."""
        return delayed_in(self.stats())

    def peek(
        self, queue: str | None, limit: int, offset: int = 0, *, delayed: bool = False, about: str | None = None
    ) -> list[Message]:
        """What waits in this queue, the next to be fetched (or to fall due) first; of what is delayed also in all
        queues (``queue`` None). Changes nothing. What makes no message is left out; with
        ``about`` also what has not this text beside its body, if that is cheap. ``NotSupported``: see the features."""
        del queue, limit, offset, delayed, about
        raise NotSupported("this broker cannot list what waits in a queue: look at its own tools")

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        """Let the waiting messages of these tasks wait until ``due`` (epoch seconds; not ahead: they are ready now),
        and return the tasks that had one; with ``prefix`` only in queues whose names begin so. All else about a message
        stays. One step for each: of this and a fetch one is first. ``NotSupported`` where the features say so."""
        del task_ids, due, prefix
        raise NotSupported("this broker cannot reach what waits in it: no task of it can be rescheduled")

    def find(self, task_id: str, furthest: int) -> Sighting:
        """Look for the message of a task among what waits; changes nothing. It looks at the first ``furthest`` ready
        messages of each queue, and among the delayed ones at as many for each queue, those that fall due first; so
        that no reader keeps a server busy. What becomes ready meanwhile is not overlooked. Else ``NotSupported``."""
        del task_id, furthest
        raise NotSupported("this broker cannot list what waits: look at its own tools")

    def undelay(self, change: Callable[[Message], Message], limit: int) -> int:
        """Make up to ``limit`` delayed messages of any queue ready at once, each as ``change`` returns it (it may name
        another queue); return how many, 0 when none is left. One step for each: none is ever in both places or in none.
        ``NotSupported`` where no other system's workers could fetch them (see ``talo migrate back``)."""
        del change, limit
        raise NotSupported("this broker's delayed messages are Talo's alone: no other worker reads its queues")

    @abstractmethod
    def purge(self, queues: Sequence[str]) -> int:
        """Delete ready and delayed messages of these queues; return how many. Leased ones stay."""

    @abstractmethod
    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        """Dead letters, latest first, filtered by task name and queue."""

    def dead_count(self, most: int, *, task: str | None = None, queue: str | None = None) -> int:
        """How many dead letters there are, counted up to ``most``."""
        return len(self.dead(limit=most, task=task, queue=queue))

    @abstractmethod
    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        """The dead letters of these ids that exist. An id may also be a task id."""

    @abstractmethod
    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        """In one step delete the dead letters ``ids`` and send ``messages``; if one of them is gone already, do nothing
        and return 0, else return their number. Replay is this with new runs; drop is this with no messages."""

    @abstractmethod
    def interrupt(self) -> None:
        """End a ``wait`` that another thread of this process is in, or the next one."""


class Watch(ABC):
    """One standing wish to be told about results."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop being told. Idempotent."""


class ResultBackend(ABC):
    """Keeps results until they expire."""

    @abstractmethod
    def store(self, results: Sequence[ResultMeta]) -> None:
        """Store and tell those who wait. A stored SUCCESS is never replaced by another state."""

    @abstractmethod
    def get(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        """The payloads that exist and have not expired."""

    @abstractmethod
    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        """Block until at least one of these tasks is in a ready state, and return all that are; empty when
        ``timeout`` seconds are over. Any number of threads may wait at once over a constant number of connections."""

    @abstractmethod
    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        """Call ``tell(task_id, payload)`` once for each of these tasks as soon as it is ready, at once if it is
        already, from a thread of the store's."""

    @abstractmethod
    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete results."""

    @abstractmethod
    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        """Keep a saved group."""

    @abstractmethod
    def get_group(self, group_id: str) -> bytes | None:
        """A saved group, or None."""

    @abstractmethod
    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""

    @abstractmethod
    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        """Keep these records. One that exists begins anew, without parts."""

    @abstractmethod
    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        """The plans of the groups that exist and are not closed."""

    @abstractmethod
    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        """(index, payload) of every part that has come, by index."""

    @abstractmethod
    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        """Add parts outside of a settlement, because messages are kept elsewhere; return what is to be sent now.

        A part that was there before is answered again with what it completed: whoever repeats it sends twice rather
        than never.
        """

    def open_celery_chord(self, group_id: str, size: int, expires: float | None) -> None:
        """Say how many members a chord in Celery's form has."""
        del group_id, size, expires
        raise NotSupported("chords in Celery's form are counted on Redis only: set task_canvas_form to talo")

    def celery_parts(self, group_id: str) -> list[bytes]:
        """The parts of a chord in Celery's form, in its order."""
        del group_id
        return []

    @abstractmethod
    def close_groups(self, group_ids: Sequence[str]) -> None:
        """Forget these records and their parts."""

    @abstractmethod
    def cleanup(self, limit: int) -> int:
        """Delete up to ``limit`` expired things (results, dead letters, bus messages, locks, entries of the ledger);
        return how many."""


class Subscription(ABC):
    """An open ear on some channels; a context manager that closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def get(self, timeout: float) -> tuple[str, bytes] | None:
        """The next (channel, payload), or None after ``timeout`` seconds."""

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that becomes readable when ``get`` may return something; -1 if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening. Idempotent."""


class Bus(ABC):
    """Tells everyone who listens now; keeps nothing for those who do not."""

    #: A post that nobody hears writes nothing. Where it does (a table), workers tell of themselves only on request;
    #: where not, they tell less often while nobody hears.
    unheard_is_free: bool = False

    @abstractmethod
    def publish(self, channel: str, payload: bytes) -> None:
        """Send to whoever listens."""

    @abstractmethod
    def subscribe(self, channels: Sequence[str]) -> Subscription:
        """Listen from now on."""

    # What events and remote control speak over, in the exchanges that Celery names.

    def post(self, posts: Sequence[Post]) -> bool:
        """Send to whoever hears these exchanges; what nobody hears is gone. False if the store knows that nobody did.

        On stores that Celery speaks too (Redis, RabbitMQ) they are what its own clients and workers read.
        """
        for each in posts:
            self.publish(f"exchange:{each.exchange}", msgspec.msgpack.encode(each))
        return True

    def hear(self, exchange: str, kind: str, keys: Sequence[str], *, queue: str, expires: float = 60.0) -> Ear:
        """Listen to an exchange from now on, to the keys (patterns where ``kind`` is ``topic``, ignored where it is
        ``fanout``).

        ``queue`` names the ear where the technology needs a name; it is gone ``expires`` seconds after its last
        reader.
        """
        del queue, expires
        return SubscribedEar(self.subscribe([f"exchange:{exchange}"]), kind, keys)


class Ear(ABC):
    """What hears an exchange; a context manager that closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def get(self, timeout: float) -> Post | None:
        """The next post, or None after ``timeout`` seconds."""

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that becomes readable when ``get`` may return something; -1 if there is none."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening. Idempotent."""


class SubscribedEar(Ear):
    """An ear over a plain subscription, which picks what its keys fit."""

    def __init__(self, subscription: Subscription, kind: str, keys: Sequence[str]) -> None:
        self._subscription = subscription
        self._fits = key_filter(kind, keys)

    def get(self, timeout: float) -> Post | None:
        deadline = time.monotonic() + timeout
        while (found := self._subscription.get(max(0.0, deadline - time.monotonic()))) is not None:
            post = msgspec.msgpack.decode(found[1], type=Post)
            if self._fits(post.key):
                return post
        return None

    def fileno(self) -> int:
        return self._subscription.fileno()

    def close(self) -> None:
        self._subscription.close()


def key_filter(kind: str, keys: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells whether a key is heard, by the rules of AMQP 0-9-1 §3.1.3: in the pattern of a topic ``*`` is
    one word and ``#`` is any number of them, none included."""
    if kind == "fanout":
        return lambda _: True
    if kind == "direct":
        return frozenset(keys).__contains__
    patterns = [tuple(key.split(".")) for key in keys]
    return lambda key: any(_fits(pattern, tuple(key.split("."))) for pattern in patterns)


def _fits(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_fits(pattern[1:], words[n:]) for n in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _fits(pattern[1:], words[1:])


class Locks(ABC):
    """Short-lived facts shared by all processes. Everything in it expires."""

    @abstractmethod
    def acquire(self, name: str, holder: str, ttl: float) -> bool:
        """Take the lock, or extend it if ``holder`` has it; False if somebody else has."""

    @abstractmethod
    def release(self, name: str, holder: str) -> bool:
        """Give it back; False if ``holder`` did not have it (any more)."""

    @abstractmethod
    def mark(self, kind: str, marks: Mapping[str, float]) -> None:
        """Mark members of a set (``revoked``: task ids) for as many seconds each as the mapping says."""

    @abstractmethod
    def marked(self, kind: str, members: Sequence[str]) -> set[str]:
        """Which of these are marked now."""

    @abstractmethod
    def all_marked(self, kind: str) -> set[str]:
        """Every member that is marked now."""

    @abstractmethod
    def unmark(self, kind: str, members: Sequence[str]) -> None:
        """Take marks away."""


class Store(ABC):
    """One connection description and the roles that it can play."""

    features: Features
    broker: Broker
    results: ResultBackend
    bus: Bus
    locks: Locks
    #: None where the features say so; ``ledger`` where it keeps no messages itself.
    schedules: Schedules | None = None
    history: History | None = None
    ledger: Ledger | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL with its password hidden."""

    @abstractmethod
    def ping(self, timeout: float) -> None:
        """Reach the store or raise ``StoreUnavailable``."""

    def joined(self, connection: object) -> contextlib.AbstractContextManager[None]:
        """Until its end what this context sends, with the records of its groups, is part of the transaction that the
        caller has on ``connection``, and of nothing else: ``features.transactions``. ``ImproperlyConfigured`` for a
        connection that does not lead to this store."""
        del connection
        raise NotSupported(f"a send cannot join a transaction on {self.features.name}: its tasks are in no database")

    @abstractmethod
    def same_as(self, other: Store) -> bool:
        """Whether both are one place, so that one step can cover a settlement's result and its lease."""

    def concerns(self) -> list[str]:
        """What in the configuration of its server may lose tasks, a sentence each; a worker says it when it starts."""
        return []

    @abstractmethod
    def close(self) -> None:
        """Close every connection. Idempotent; the store may be used again afterwards."""
