"""What Talo holds in keys and queues of its own goes to where workers of Celery's take it: the way back.

Owns the order of it and what cannot be handed over; moving one message in one step is the store's. Nothing of it is
done while a worker of Talo's lives, as far as the store can tell. See ``docs/internals/compat.md``. Called by
``talo migrate back``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from talo.app.routes import MOVED
from talo.canvas.celery_form import INTERNAL_SUFFIX
from talo.canvas.plan import PART
from talo.errors import NotSupported
from talo.execution.aio import close_loop
from talo.execution.run import call_sync
from talo.execution.settle import INTERNAL, settlement_of
from talo.stores.base import Delivery, OwnerInfo, Settlement, Verdict
from talo.stores.parking import home_of, is_parking, unparked
from talo.wire._times import iso
from talo.wire.message import Message
from talo.worker.intake import Intake
from talo.worker.options import WorkerOptions
from talo.worker.settler import new_owner
from talo.worker.split import split_of
from talo.worker.undertaker import Undertaker

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["HandedOver", "Handover"]

#: Messages of one step.
_BITE = 200
#: Messages of a queue that are looked at for what Celery's workers cannot continue.
_LOOKS = 100_000
#: Seconds between two looks whether anybody still lives.
_PAUSE = 0.2
#: Seconds for which this process holds what it moves, if it dies.
_LEASE = 30.0


class HandedOver(msgspec.Struct):
    """What ``Handover.run`` has done, in numbers of messages."""

    #: Taken from workers that died, and in their queues again (or dead letters, where they may start only once).
    reaped: int = 0
    #: Delayed ones: ready now, with their time in Celery's own header.
    delayed: int = 0
    #: From queues that only Talo reads (``task_cutover``, suspects, paused types) to the ones that Celery reads.
    moved: int = 0
    #: Steps of workflows that stood between two of Celery's messages, done here.
    continued: int = 0
    #: Still where only Talo's workers look: the stores were away, or somebody still sends there. Repeat it.
    left: int = 0


class Handover:
    """One way back of one app. Repeating it, also after a crash in its middle, is safe.

    ``queues`` are those that Celery's workers will read, by default the app's. Redis knows all others by itself."""

    def __init__(self, app: Talo, queues: Sequence[str] | None = None) -> None:
        self._app = app
        #: The queues that the app names itself: nothing leaves them, whatever they are called.
        self._named = frozenset(queues or app.queues.consume_from)
        self._broker = app.store.broker
        self._split = split_of(app.store, app.result_store, app.state_store)
        self._owner = new_owner("talo", "migrate")
        self._intake = Intake(app.env, lambda _task_id: False, app.conf.task_unknown_patience)
        self._done = HandedOver()

    # -- looking ------------------------------------------------------------------------------------------------------

    def living(self, patience: float) -> list[OwnerInfo]:
        """Who of Talo's workers may still work, after waiting up to ``patience`` seconds for leases of the dead to end.

        Empty on a broker that only knows its own process (RabbitMQ: what dies there gives back at once)."""
        end = time.monotonic() + patience
        while True:
            found = [info for info in self._broker.owners() if info.remaining >= 0 and info.owner != self._owner]
            if not found or time.monotonic() >= end:
                return found
            time.sleep(_PAUSE)

    def stranded(self) -> Counter[str]:
        """Messages that Celery's workers could run but not continue, by queue: steps and members of workflows in
        Talo's own form. Nothing is found where the broker cannot list what waits."""
        found: Counter[str] = Counter()
        for stats in self._broker.stats():
            if stats.name.endswith(INTERNAL_SUFFIX):
                continue  # run() does what waits there.
            try:
                waiting = self._broker.peek(stats.name, min(stats.ready, _LOOKS))
                waiting += self._broker.peek(stats.name, min(stats.delayed or 0, _LOOKS), delayed=True)
            except NotSupported:
                return found
            found[stats.name] += sum(map(_only_talos, waiting))
        for info in self._broker.owners():
            found.update(d.queue for d in self._broker.held(info.owner) if d.message and _only_talos(d.message))
        return +found

    # -- doing --------------------------------------------------------------------------------------------------------

    def run(self) -> HandedOver:
        """Hand over; return how much. ``NotSupported`` where no worker of Celery's could read the broker."""
        self._app.import_default_modules()
        self._app.finalize()
        self._broker.open(self._owner, worker="talo migrate", slots=1, lease=_LEASE)
        try:
            # First of all, since a broker that Celery's workers do not read refuses it.
            self._undelay()
            self._reap()
            self._undelay()
            self._acquit()
            for queue in self._own_queues():
                self._empty(queue)
            own = self._own_queues()
            self._done.left = sum((q.delayed or 0) + (q.ready if q.name in own else 0) for q in self._broker.stats())
        finally:
            self._broker.close_owner(self._owner)
            close_loop()
        return self._done

    def _undelay(self) -> None:
        while moved := self._broker.undelay(self._for_celery, _BITE):
            self._done.delayed += moved

    def _reap(self) -> None:
        """What the dead held goes by the rules of every agent: what may start only once is not started again."""
        conf = self._app.conf
        options = WorkerOptions(
            hostname="talo",
            queues=(),
            max_deliveries=conf.task_max_deliveries,
            unknown_patience=conf.task_unknown_patience,
            time_limit=conf.task_time_limit,
        )
        self._done.reaped = sum(info.held for info in self._broker.owners() if info.remaining < 0)
        Undertaker(self._app, options, self._owner).reap(frozenset())

    def _for_celery(self, message: Message) -> Message:
        """A delayed message as a worker of Celery's keeps it: in its queue, with its time in its header. Of protocol 1
        the time is in the body, where its sender has put it."""
        if message.queue.endswith(INTERNAL_SUFFIX):
            # It waits for the next attempt of one of Talo's own tasks: that is made here.
            return _again(message, message.queue, None)
        return _again(message, self._home(message.queue), message.due)

    def _own_queues(self) -> list[str]:
        """The queues that only Talo's workers read, and in which something waits."""
        known = {stats.name for stats in self._broker.stats()} | self._named
        homes = {self._home(name.removesuffix(INTERNAL_SUFFIX)) for name in known}
        own = {name for home in homes for name in (f"{home}{INTERNAL_SUFFIX}", f"{MOVED}{home}")}
        own |= {f"{MOVED}{home}{INTERNAL_SUFFIX}" for home in homes}
        own |= {name for name in known if is_parking(name)} | set(self._app.control.parkings())
        return [stats.name for stats in self._broker.stats(sorted(own - self._named)) if stats.ready]

    def _home(self, queue: str) -> str:
        return queue if queue in self._named else home_of(queue).queue.removeprefix(MOVED)

    def _empty(self, queue: str) -> None:
        while deliveries := self._fetch([queue], _BITE):
            self._settle([self._handed_over(delivery) for delivery in deliveries])
            self._broker.renew([self._owner], _LEASE)

    def _handed_over(self, delivery: Delivery) -> Settlement:
        message = delivery.message
        if message is None or message.task in INTERNAL:
            run = self._intake.admit(delivery)
            if isinstance(run, Settlement):
                return run
            call_sync(run)
            self._done.continued += 1
            return settlement_of(run)
        self._done.moved += 1
        follow = [_again(unparked(message), self._home(message.queue), message.due)]
        return Settlement(lease=delivery.lease, verdict=Verdict.DONE, follow=follow)

    def _acquit(self) -> None:
        """Where suspects wait in queues of their own (RabbitMQ) they come first, one at a time, to an owner that has
        just begun; the first other one goes back, to the end of its queue."""
        if self._app.store.features.hands_over:
            return
        while deliveries := self._fetch(sorted(self._named), 1):
            [delivery] = deliveries
            if not delivery.suspect or delivery.message is None:
                self._settle([Settlement(lease=delivery.lease, verdict=Verdict.AGAIN)])
                return
            self._settle([self._handed_over(delivery)])

    def _fetch(self, queues: Sequence[str], limit: int) -> list[Delivery]:
        return self._broker.turn([], self._owner, queues, limit).deliveries

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        self._broker.settle(self._split(settlements))


def _only_talos(message: Message) -> bool:
    return message.task in INTERNAL or PART in message.headers


def _again(message: Message, queue: str, due: float | None) -> Message:
    """The same message in ``queue``, not before ``due`` as Celery's header says it."""
    headers = message.headers
    if headers and (due is not None or headers.get("eta") is not None):
        headers = {**headers, "eta": None if due is None else iso(due)}
    return msgspec.structs.replace(
        message.anew(headers, message.body, None), queue=queue, exchange="", routing_key=queue
    )
