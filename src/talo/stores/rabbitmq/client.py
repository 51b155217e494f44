"""The connection of one process: made when needed, shared by its threads, kept alive, replaced when it breaks.

Owns the lock under which everything is said and read, fail-over between several hosts, and the keeper: a thread that
sends heartbeats and takes in what comes while nobody else reads, so that a long task holds up neither. What it takes
in goes to the same places as always; ``on_idle`` lets the broker look after what nobody has fetched. Called by
``broker``, ``topology``, ``dead``, ``bus`` and ``results``.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from talo.errors import AccessRefused, OperationalError, StoreUnavailable
from talo.stores.rabbitmq.address import Address
from talo.stores.rabbitmq.channel import Channel
from talo.stores.rabbitmq.connection import Connection

__all__ = ["Client"]

#: Seconds between two looks of the keeper while there is something to look after, and while there is not.
_GLANCE, _PAUSE = 0.1, 5.0


class Client:
    """The connection of one process."""

    def __init__(self, addresses: Sequence[Address], timeout: float, heartbeat: float, connect: float | None) -> None:
        self.addresses = list(addresses)
        self.timeout = timeout
        self._heartbeat = heartbeat
        self._connect_timeout = connect
        self._connection: Connection | None = None
        self._publisher: Channel | None = None
        self._generation = 0
        self._first = 0
        #: Told after a connection has been lost, under the lock.
        self.on_lost: list[Callable[[], None]] = []
        #: Asked by the keeper, under the lock, whenever it looks; returns whether it should look again soon.
        self.on_idle: list[Callable[[], bool]] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._keeper: threading.Thread | None = None
        #: So many threads wait for what comes: then the keeper does not read.
        self._readers = 0
        self._bell = threading.Event()
        #: Of the threads that wait on the socket.
        self._bells: set[int] = set()

    @property
    def shown(self) -> str:
        """The first address, with its password hidden."""
        return self.addresses[0].shown

    @property
    def generation(self) -> int:
        """A number that changes with every connection; 0: there is none."""
        connection = self._connection
        return connection.generation if connection is not None and not connection.closed else 0

    def deadline(self, timeout: float | None = None) -> float:
        """When an operation that begins now has to end (monotonic)."""
        return monotonic() + (self.timeout if timeout is None else timeout)

    @contextlib.contextmanager
    def using(self, deadline: float) -> Iterator[Connection]:
        """The connection, for this thread alone, until the block ends. ``StoreUnavailable`` within the deadline."""
        if self._pid != os.getpid():
            self._forget()
        if not self._lock.acquire(timeout=max(0.0, deadline - monotonic())):
            raise StoreUnavailable(f"the connection to {self.shown} was busy until the time was over")
        try:
            yield self._connected(deadline)
        except OperationalError:
            self._note_lost()
            raise
        finally:
            self._lock.release()

    def _forget(self) -> None:
        """After a fork: the socket is the parent's."""
        self._connection = self._publisher = None
        self._reset()
        for tell in self.on_lost:
            tell()

    def _connected(self, deadline: float) -> Connection:
        connection = self._connection
        if connection is not None and not connection.closed:
            try:
                connection.take_in()  # also how the end of an idle one is noticed
                return connection
            except OperationalError:
                pass
        self._note_lost()
        connection = self._connection = self._reach(deadline, self._heartbeat)
        connection.on_taken = self._ring
        self._keep()
        return connection

    def another(self, deadline: float) -> Connection:
        """A connection of the caller's own, which only listens; nobody sends heartbeats on it."""
        return self._reach(deadline, 0.0)

    def _reach(self, deadline: float, heartbeat: float) -> Connection:
        errors: list[OperationalError] = []
        count = len(self.addresses)
        for turn in range(count):
            at = (self._first + turn) % count
            address = self.addresses[at]
            left = max(0.01, deadline - monotonic()) / (count - turn)
            if self._connect_timeout is not None:
                left = min(left, self._connect_timeout)
            self._generation += 1
            wanted = heartbeat and (heartbeat if address.heartbeat is None else address.heartbeat)
            connection = Connection(address, self._generation, wanted)
            try:
                connection.connect(monotonic() + left)
            except OperationalError as error:
                errors.append(error)
                continue
            self._first = at
            return connection
        refused = next((error for error in errors if isinstance(error, AccessRefused)), errors[0])
        raise refused

    def _note_lost(self) -> None:
        connection = self._connection
        if connection is not None and connection.closed:
            self._connection = self._publisher = None
            for tell in self.on_lost:
                tell()

    def publisher(self, connection: Connection, deadline: float) -> Channel:
        """The channel for publishing with confirms."""
        if self._publisher is None or not self._publisher.open:
            self._publisher = connection.channel(deadline)
        return self._publisher

    def drop(self) -> None:
        """Throw the connection away: what was done on it is in doubt."""
        connection = self._connection
        if connection is not None:
            connection.close()
            self._note_lost()

    # -- waiting ------------------------------------------------------------------------------------------------------

    def await_(self, look: Callable[[Connection], bool], end: float, also: Sequence[int] = ()) -> bool:
        """Wait until ``look`` says so, which is asked under the lock whenever something has come, or one of the
        descriptors ``also`` is readable: True. False at ``end`` (monotonic). Meanwhile others may use the
        connection."""
        bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readers += 1
        try:
            while True:
                with self.using(self.deadline()) as connection:
                    if look(connection):
                        return True
                    fd = connection.fileno()
                    # Whoever else takes something in from now on rings.
                    self._bells.add(bell)
                found = _poll((fd, bell, *also), end - monotonic())
                with self._lock:
                    self._bells.discard(bell)
                if found - {fd, bell}:
                    return True
                if bell in found:
                    os.eventfd_read(bell)
                if not found and monotonic() >= end:
                    return False
        finally:
            self._readers -= 1
            with self._lock:
                self._bells.discard(bell)
            self._bell.set()
            os.close(bell)

    def _ring(self) -> None:
        for bell in self._bells:
            os.eventfd_write(bell, 1)

    def _keep(self) -> None:
        self._bell.set()
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep_forever, name="talo-amqp", daemon=True)
            self._keeper.start()

    def _keep_forever(self) -> None:
        while self._keeper is threading.current_thread():
            connection = self._connection
            if connection is None:
                self._bell.wait(_PAUSE)
                self._bell.clear()
                continue
            pause = min(_PAUSE, connection.heartbeat / 4) if connection.heartbeat else _PAUSE
            self._bell.clear()
            if self._readers:
                self._bell.wait(pause)
            else:
                _poll((connection.fileno(),), pause)
                # Whoever works with the connection comes back to it soon; only then it is the keeper's to read.
                self._bell.wait(_GLANCE)
            self._look_after(connection)

    def _look_after(self, connection: Connection) -> None:
        if not self._lock.acquire(timeout=1.0):
            return
        try:
            if connection is not self._connection or connection.closed:
                return
            connection.beat(monotonic(), self.deadline())
            if not self._readers:
                connection.take_in()
                for look in self.on_idle:
                    look()
        except OperationalError:
            self._note_lost()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection. Idempotent; the next use makes a new one."""
        if self._pid != os.getpid():
            self._forget()
            return
        with self._lock:
            self.drop()
            self._keeper = None
            self._bell.set()


def _poll(fds: Sequence[int], seconds: float) -> set[int]:
    """Which of these descriptors are readable, or broken, within so many seconds."""
    poll = select.poll()
    for fd in fds:
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    return {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}
