"""Long polls that a waiter can leave, and the stash of what they brought.

Owns a thread per queue that polls when somebody waits, and the messages that came and were not fetched yet. Called by
``broker``."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager

from talo.errors import OperationalError, StoreError
from talo.stores.sqs.ledger import Held
from talo.stores.sqs.queues import Queue

__all__ = ["Poller"]

log = logging.getLogger(__name__)

#: What was put aside for longer than this part of its visibility is left to SQS, which gives it out again.
_FRESH = 0.5


class Poller:
    """Waits for messages of some queues. ``receive(queue)`` is a long poll for one message; ``release`` gives messages
    back. Everything is guarded by ``_lock``."""

    def __init__(self, receive: Callable[[Queue], list[Held]], release: Callable[[Sequence[Held]], None]) -> None:
        self._receive = receive
        self._release = release
        self._lock = threading.Lock()
        self._polling: set[str] = set()
        self._stash: list[tuple[float, Held]] = []
        self._trouble: OperationalError | StoreError | None = None
        #: How many wait for each queue. What comes of one for which nobody does is given back at once.
        self._attending: Counter[str] = Counter()
        #: Write ends of the pipes on which waiters sleep.
        self._bells: set[int] = set()
        self._interrupted = False
        self._closings = 0

    def take(self, queues: Sequence[str], limit: int) -> list[Held]:
        """What was put aside of these queues and is still ours for a while. What was put aside of others, as of a queue
        that has been paused since, is given back."""
        now, taken, others = time.monotonic(), list[Held](), list[Held]()
        with self._lock:
            rest = []
            for came, held in self._stash:
                if now - came > (held.until - came) * _FRESH:
                    continue
                if held.queue not in queues and not self._attending[held.queue]:
                    others.append(held)
                elif len(taken) < limit and held.queue in queues:
                    taken.append(held)
                else:
                    rest.append((came, held))
            self._stash = rest
        if others:
            self.give_back(others)
        return taken

    @contextmanager
    def attending(self, queues: Sequence[str]) -> Iterator[None]:
        """Somebody waits for these meanwhile, perhaps in several ``wait``."""
        with self._lock:
            self._attending.update(queues)
        try:
            yield
        finally:
            with self._lock:
                self._attending.subtract(queues)

    def wait(self, queues: Sequence[Queue], timeout: float, also: Sequence[int]) -> bool:
        """Until something of these queues is in the stash, a descriptor of ``also`` is readable, or ``timeout`` seconds
        are over, which alone is False. ``OperationalError`` when SQS is away."""
        deadline, names = time.monotonic() + timeout, {queue.name for queue in queues}
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        with self._lock:
            self._bells.add(writer)
        try:
            while True:
                if self._something(names):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                for queue in queues:
                    self._poll(queue)
                ready, _, _ = select.select([reader, *also], [], [], left)
                if any(fd in ready for fd in also):
                    return True
                if reader in ready:
                    os.read(reader, 4096)
        finally:
            with self._lock:
                self._bells.discard(writer)
            os.close(reader)
            os.close(writer)

    def _something(self, queues: Set[str]) -> bool:
        with self._lock:
            trouble, self._trouble = self._trouble, None
            if isinstance(trouble, OperationalError):
                raise trouble
            if trouble is not None:
                return True  # what SQS refused it will refuse the next turn, too, which says so
            interrupted, self._interrupted = self._interrupted, False
            return interrupted or any(held.queue in queues for _, held in self._stash)

    def _poll(self, queue: Queue) -> None:
        with self._lock:
            if queue.name in self._polling:
                return
            self._polling.add(queue.name)
        name = f"talo-sqs-poll-{queue.name}"
        threading.Thread(target=self._run, args=(queue, self._closings), name=name, daemon=True).start()

    def _run(self, queue: Queue, closings: int) -> None:
        found: list[Held] = []
        trouble: OperationalError | StoreError | None = None
        try:
            found = self._receive(queue)
        except (OperationalError, StoreError) as error:
            trouble = error
        with self._lock:
            self._polling.discard(queue.name)
            wanted = self._attending[queue.name] and closings == self._closings
            if wanted:
                self._stash += [(time.monotonic(), held) for held in found]
                self._trouble = trouble
                self._ring()
        if found and not wanted:
            self.give_back(found)

    def _ring(self) -> None:
        for bell in self._bells:
            try:
                os.write(bell, b"!")
            except BlockingIOError:
                continue  # it has been rung often enough

    def interrupt(self) -> None:
        """End the wait of another thread, or the next one."""
        with self._lock:
            self._interrupted = True
            self._ring()

    def close(self) -> None:
        """End waits and give back what nobody fetched; a poll under way gives back what it still brings."""
        with self._lock:
            self._closings += 1
            stash, self._stash = self._stash, []
            self._interrupted = bool(self._bells)
            self._ring()
        if stash:
            self.give_back([held for _, held in stash])

    def give_back(self, found: Sequence[Held]) -> None:
        """Release them now, or leave them to SQS."""
        try:
            self._release(found)
        except (OperationalError, StoreError) as error:
            log.info("SQS gives out again after a while what was not fetched: %s", error, extra={"action": "release"})
