"""Messages on SQS: sending, receiving under a visibility, ending.

Owns the calls to SQS. Who holds what is ``ledger``'s, the order of an end ``ending``'s, what SQS cannot hold
``shelf``'s, waiting ``poller``'s. Called by ``app.send``, the worker and the command line."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from talo.errors import LeaseLost, NotSupported, PublishTimeout, StoreError, TaloError
from talo.stores.base import (
    Broker,
    DeadLetter,
    Delivery,
    Lease,
    OwnerInfo,
    QueueStats,
    Renewal,
    Settlement,
    Store,
    Turn,
    Verdict,
)
from talo.stores.sqs.calls import AT_ONCE, Calls, at_once
from talo.stores.sqs.connection import Connection, Overfull, QueueMissing, within
from talo.stores.sqs.ending import Endings
from talo.stores.sqs.ledger import Held, Ledger
from talo.stores.sqs.messages import (
    BATCH,
    LONGEST_DELAY,
    RECEIVED,
    body_of,
    delivery_of,
    entry_of,
    received,
    receptions_of,
)
from talo.stores.sqs.poller import Poller
from talo.stores.sqs.queues import Queue, Queues
from talo.stores.sqs.receptions import Receptions
from talo.stores.sqs.shelf import Shelf
from talo.wire.message import Message

__all__ = ["SqsBroker"]

log = logging.getLogger(__name__)

#: Seconds that a visibility lasts at least: SQS counts whole ones, and a busy machine renews late.
_LEAST = 5
#: The part of the time for which a process has fetched that its next poll may last.
_POLLS = 0.25
#: Visibilities with less of their time left than this are extended.
_RENEW = 0.7
#: Seconds between two looks at the shelf at least, while somebody waits.
_GLANCE = 0.05
#: API reference, ChangeMessageVisibility: 12 hours.
_LONGEST_VISIBILITY = 43_200


class SqsBroker(Broker):
    """The broker role of ``SqsStore``."""

    def __init__(
        self, connection: Connection, queues: Queues, ledger: Ledger, side: Store | None, timeout: float
    ) -> None:
        self._connection = connection
        self._queues = queues
        self._ledger = ledger
        self._timeout = timeout
        self._calls = Calls(connection, timeout)
        prefix = connection.address.prefix
        self.shelf = Shelf(side, prefix, self._send_own) if side is not None else None
        self._receptions = Receptions(side)
        self._endings = Endings(side, self.shelf, self._send, self._tell)
        self._poller = Poller(self._poll, self._release)
        self._visibility = 30
        #: When this process began to fetch (monotonic).
        self._began = time.monotonic()
        #: Whether it was said that there are no priorities.
        self._minded = False
        #: Per set of queues: the one that brought something last stands last.
        self._orders: dict[tuple[str, ...], list[str]] = {}

    # -- sending --------------------------------------------------------------------------------------------------

    def send(self, messages: Sequence[Message], *, timeout: float | None = None) -> None:
        if not messages:
            return
        seconds = self._timeout if timeout is None else timeout
        late = PublishTimeout(f"not sent: {self._connection.address.shown} did not answer in time")
        within(seconds, lambda: self._send(messages), late)

    def _send_own(self, messages: Sequence[Message]) -> None:
        self._tell(messages)
        self._send(messages)

    def _tell(self, messages: Sequence[Message]) -> None:
        if self.on_own is not None:
            self.on_own(messages)

    def _send(self, messages: Sequence[Message]) -> None:
        """Everything is measured before anything is sent."""
        entries: dict[str, tuple[Queue, list[dict[str, Any]]]] = {}
        late: list[Message] = []
        self._mind_priorities(messages)
        for message in messages:
            queue = self._queues.get(message.queue)
            due = message.due
            delay = 0.0 if due is None else due - time.time()
            if delay > LONGEST_DELAY or (queue.fifo and delay > 0):
                late.append(message)
                continue
            entry = entry_of(queue, body_of(message), due=due, properties=message.properties)
            entries.setdefault(queue.name, (queue, []))[1].append(entry)
        if late:
            self._shelve(late)
        for queue, wanted in entries.values():
            self._send_entries(queue, wanted)

    def _mind_priorities(self, messages: Sequence[Message]) -> None:
        if not self._minded and any(message.priority for message in messages):
            self._minded = True
            log.warning(
                "SQS knows no priorities, so those that are asked for change nothing: send what is urgent to a queue "
                "of its own",
                extra={"action": "priority-ignored"},
            )

    def _shelve(self, messages: Sequence[Message]) -> None:
        if self.shelf is None:
            raise NotSupported(
                f"SQS delays by {LONGEST_DELAY} s at most, and in a FIFO queue not at all: for more set result_backend "
                "to the URL of a store that keeps such tasks until they are due"
            )
        self.shelf.put(messages)

    def _send_entries(self, queue: Queue, entries: Sequence[dict[str, Any]]) -> None:
        for why in self._calls.batch(queue, "send_message_batch", entries).values():
            text = f"the SQS queue {queue.name} refused: {why.get('Code')} {why.get('Message', '')}"
            raise StoreError(text.rstrip())

    # -- the turn -------------------------------------------------------------------------------------------------

    def turn(self, settlements: Sequence[Settlement], owner: str, queues: Sequence[str], limit: int) -> Turn:
        if not self._ledger.is_open(owner):
            raise LeaseLost(f"owner {owner} is not open")
        refused = self.settle(settlements) if settlements else []
        return self.fetch(owner, queues, limit, refused) if limit else Turn([], refused)

    def fetch(self, owner: str, queues: Sequence[str], limit: int, refused: list[Lease] | None = None) -> Turn:
        if not self._ledger.is_open(owner):
            raise LeaseLost(f"owner {owner} is not open")
        if self.shelf is not None:
            self.shelf.watch(queues)
            self.shelf.look()
        found = self._poller.take(queues, limit)
        order = self._orders.setdefault(tuple(queues), list(queues))
        for name in tuple(order):
            if len(found) >= limit:
                break
            try:
                brought = self._receive_up_to(name, limit - len(found))
            except TaloError:
                # What has come already would be missed until its visibility ends. The next turn says what is wrong.
                if not found:
                    raise
                break
            if brought:
                order.remove(name)
                order.append(name)
                found += brought
        deliveries = [delivery_of(held) for held in self._entered(owner, found)] if found else []
        return Turn(deliveries, refused or [], self.shelf.next_due if self.shelf is not None else None)

    def _entered(self, owner: str, found: Sequence[Held]) -> list[Held]:
        try:
            return self._ledger.enter(owner, found)
        except TaloError:
            self._poller.give_back(found)
            raise

    def _receive_up_to(self, name: str, limit: int) -> list[Held]:
        """As many as come, by ten. Of requests that all came full twice as many are next, at once: a deep queue costs
        a worker few round trips, and an empty one a single request. An error only if nothing came."""
        queue = self._queues.get(name)
        found: list[Held] = []
        troubles: list[TaloError] = []

        def receive(asked: int) -> list[Held]:
            try:
                return self._receive(queue, asked)
            except TaloError as error:
                troubles.append(error)
                return []

        requests = 1
        while (left := limit - len(found)) > 0:
            wanted = [min(BATCH, left - at) for at in range(0, left, BATCH)][:requests]
            brought = [held for batch in at_once(receive, wanted, AT_ONCE) for held in batch]
            found += brought
            if len(brought) < sum(wanted):
                break
            requests = min(AT_ONCE, requests * 2)
        if troubles and not found:
            raise troubles[0]
        return found

    def _receive(self, queue: Queue, limit: int, seconds: int = 0, visibility: int = 0) -> list[Held]:
        """Wait so many seconds for a message, and have what comes for so long; 0: for a visibility."""
        client = queue.poller if seconds else queue.client
        visibility = visibility or self._visibility
        until = time.monotonic() + visibility
        try:
            with self._connection.translated():
                answer = client.receive_message(
                    QueueUrl=queue.url,
                    MaxNumberOfMessages=limit,
                    WaitTimeSeconds=seconds,
                    VisibilityTimeout=visibility,
                    **RECEIVED,
                )
        except QueueMissing:
            # Somebody has deleted it; the next look finds or creates it.
            self._queues.forget(queue.name)
            raise
        except Overfull:
            log.warning("SQS gives out no more of %s until some of it ends", queue.name, extra={"action": "overfull"})
            return []
        found = answer.get("Messages", [])
        notes = self._receptions.notes([each["MessageId"] for each in found if receptions_of(each) > 1])
        return [received(queue, each, until, notes.get(each["MessageId"])) for each in found]

    def _poll(self, queue: Queue) -> list[Held]:
        """A long poll for one message, which is invisible for as long as a poll lasts until it is here.

        SQS goes on with the poll of a process that has died, and gives it a message. So a poll is short while a process
        is young: who dies young leaves little behind. And what a dead one was given is out of sight when others that
        died with it could be given it, too, and no longer.
        """
        longest = min(self._connection.address.poll, self._visibility)
        seconds = max(1, int(min(longest, _POLLS * (time.monotonic() - self._began))))
        brief = min(self._visibility, max(_LEAST, seconds))
        found = self._receive(queue, 1, seconds, brief)
        if brief < self._visibility and not self._hide([(held, self._visibility) for held in found]):
            return []
        # For its visibility counts from when it came, not from when we began to wait.
        return [held._replace(until=time.monotonic() + self._visibility - 1) for held in found]

    # -- settling -------------------------------------------------------------------------------------------------

    def settle(self, settlements: Sequence[Settlement]) -> list[Lease]:
        held = self._ledger.find([(each.lease.owner, each.lease.token) for each in settlements])
        lost = self._lost([each for each in held.values() if each.until <= time.monotonic()])
        refused: list[Lease] = []
        pairs: list[tuple[Settlement, Held]] = []
        for settlement in settlements:
            lease = settlement.lease
            found = held.pop((lease.owner, lease.token), None)
            if found is None or found.token in lost:
                refused.append(lease)
            else:
                pairs.append((settlement, found))
        if pairs:
            self._end(pairs)
        return refused

    def _lost(self, over: Sequence[Held]) -> set[int]:
        """Those whose time is over and which SQS has given, or may have given, to somebody else."""
        if not over:
            return set()
        kept = self._extend(over)
        lost = {held.token for held in over} - kept
        self._ledger.forget(sorted(lost))
        return lost

    def _end(self, pairs: Sequence[tuple[Settlement, Held]]) -> None:
        ending = self._endings.keep(pairs)
        gone = self._back(ending.again)
        self._endings.close(ending)
        self._delete([*ending.delete, *gone])
        self._ledger.forget([held.token for _, held in pairs])
        if self.shelf is not None and any(each.verdict is Verdict.DEAD for each, _ in pairs):
            self.shelf.watch([held.queue for _, held in pairs])
            self.shelf.look(now=True)

    def _back(self, pairs: Sequence[tuple[Settlement, Held]]) -> list[Held]:
        """Give back; return those that were sent anew and are still to be deleted."""
        gone: list[Held] = []
        stay: list[tuple[Settlement, Held]] = []
        anew: dict[str, list[dict[str, Any]]] = {}
        for settlement, held in pairs:
            queue = self._queues.get(held.queue)
            if queue.fifo or settlement.delay > LONGEST_DELAY:
                # It keeps its place, and SQS's count of its receptions.
                stay.append((settlement, held))
                continue
            due = time.time() + settlement.delay if settlement.delay else None
            deliveries, suspect = held.deliveries + settlement.charge, held.suspect or settlement.suspect
            entry = entry_of(queue, held.raw.decode(), due=due, deliveries=deliveries, suspect=suspect)
            anew.setdefault(held.queue, []).append(entry)
            gone.append(held)
        self._receptions.note(stay)
        self._hide([(held, min(_LONGEST_VISIBILITY, math.ceil(settlement.delay))) for settlement, held in stay])
        for name, entries in anew.items():
            self._send_entries(self._queues.get(name), entries)
        return gone

    def _delete(self, held: Sequence[Held]) -> None:
        """End them. One that SQS does not know any more has been ended by somebody else, or is theirs to end."""
        self._on_receipts("delete_message_batch", [(each, {}) for each in held])
        self._receptions.forget(held)

    def _hide(self, held: Sequence[tuple[Held, int]]) -> set[int]:
        """Let each be invisible for so many seconds from now; the tokens of those that still can."""
        verb = "change_message_visibility_batch"
        return self._on_receipts(verb, [(each, {"VisibilityTimeout": seconds}) for each, seconds in held])

    def _on_receipts(self, verb: str, held: Sequence[tuple[Held, Mapping[str, Any]]]) -> set[int]:
        """The tokens of those for which it worked."""
        done: set[int] = set()
        by_queue: dict[str, list[tuple[Held, Mapping[str, Any]]]] = {}
        for each, more in held:
            by_queue.setdefault(each.queue, []).append((each, more))
        for name, mine in by_queue.items():
            entries = [{"ReceiptHandle": each.receipt, **more} for each, more in mine]
            refused = self._calls.batch(self._queues.get(name), verb, entries)
            done.update(each.token for index, (each, _) in enumerate(mine) if index not in refused)
        return done

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, queues: Sequence[str], timeout: float, also: Sequence[int] = ()) -> bool:
        deadline = time.monotonic() + timeout
        known = [self._queues.get(name) for name in queues]
        shelf = self.shelf
        if shelf is None:
            with self._poller.attending(queues):
                return self._poller.wait(known, timeout, also)
        shelf.watch(queues)
        with self._poller.attending(queues):
            while True:
                left = deadline - time.monotonic()
                until_look = max(_GLANCE, shelf.next_look - time.monotonic())
                if self._poller.wait(known, min(left, until_look), also):
                    return True
                if time.monotonic() >= deadline:
                    return False
                # What is due goes to SQS, and comes from there by the poll that is under way.
                shelf.look()

    def interrupt(self) -> None:
        self._poller.interrupt()

    # -- leases ---------------------------------------------------------------------------------------------------

    def open(self, owner: str, *, worker: str, slots: int, lease: float) -> None:
        self._visibility = max(_LEAST, math.ceil(lease))
        self._began = time.monotonic()
        self._ledger.open(owner, worker, slots, lease)

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        renewal = self._ledger.renew(owners, lease)
        self._visibility = max(_LEAST, math.ceil(lease))
        fading = self._ledger.fading(owners, time.monotonic() + _RENEW * self._visibility)
        lost = sorted({held.token for held in fading} - self._extend(fading)) if fading else []
        if lost:
            log.warning("SQS has given out again what %d tasks here may still run", len(lost), extra={"action": "lost"})
            self._ledger.forget(lost)
        return renewal

    def _extend(self, held: Sequence[Held]) -> set[int]:
        until = time.monotonic() + self._visibility
        done = self._hide([(each, self._visibility) for each in held])
        self._ledger.extend(sorted(done), until)
        return done

    def _release(self, held: Sequence[Held]) -> None:
        """Give back what was received and not entered. Sent anew, so that its reception does not count."""
        self._delete(self._back([(Settlement(lease=Lease(owner="", token=0)), each) for each in held]))

    def owners(self) -> list[OwnerInfo]:
        now = time.monotonic()
        return [
            OwnerInfo(owner=row.owner, worker=row.worker, slots=row.slots, remaining=row.ends - now, held=row.held)
            for row in self._ledger.owners()
        ]

    def held(self, owner: str) -> list[Delivery]:
        return [delivery_of(held) for held in self._ledger.held(owner)]

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[Delivery]:
        moved = self._ledger.take_over(owner, by, limit, expired=expired)
        return [delivery_of(held, former) for former, held in moved]

    def close_owner(self, owner: str) -> None:
        self._ledger.close_owner(owner)

    # -- numbers --------------------------------------------------------------------------------------------------

    def stats(self, queues: Sequence[str] | None = None) -> list[QueueStats]:
        predefined = self._connection.address.predefined
        names = sorted({*self._ledger.queues(), *predefined}) if queues is None else list(queues)
        waiting = self.shelf.waiting(names) if self.shelf is not None else {}
        found = []
        for name in names:
            ready, delayed, held = self._queues.numbers(name)
            found.append(QueueStats(name=name, ready=ready, delayed=delayed + waiting.get(name, 0), leased=held))
        return found

    def reschedule(self, task_ids: Sequence[str], due: float, *, prefix: str = "") -> set[str]:
        """Of what waits on the shelf; what SQS itself delays or holds ready cannot be reached."""
        del prefix
        if self.shelf is None:
            raise NotSupported("SQS cannot change when a message comes: set result_backend to the URL of a store")
        return self.shelf.reschedule(task_ids, due)

    def purge(self, queues: Sequence[str]) -> int:
        """What is ready, and what waits on the shelf; what SQS itself delays cannot be reached."""
        deleted = self.shelf.purge(queues) if self.shelf is not None else 0
        for name in queues:
            queue = self._queues.find(name)
            while queue is not None and (batch := self._receive(queue, BATCH)):
                self._delete(batch)
                deleted += len(batch)
        return deleted

    # -- dead letters ---------------------------------------------------------------------------------------------

    def dead(
        self, *, limit: int = 50, offset: int = 0, task: str | None = None, queue: str | None = None
    ) -> list[DeadLetter]:
        return self.shelf.dead(limit, offset, task, queue) if self.shelf is not None else []

    def dead_get(self, ids: Sequence[str]) -> list[DeadLetter]:
        return self.shelf.dead_get(ids) if self.shelf is not None and ids else []

    def dead_replace(self, ids: Sequence[str], messages: Sequence[Message]) -> int:
        if self.shelf is None:
            raise NotSupported("sqs:// keeps no dead letters: set result_backend to the URL of a store that does")
        return self.shelf.dead_replace(ids, messages)

    def close(self) -> None:
        """Give back what was received and not fetched, and be no promoter any more."""
        self._poller.close()
        if self.shelf is not None:
            self.shelf.close()
