"""One connection on which any number of threads of a process wait for results.

A thread that waits subscribes to the channels of its results and asks for what is there, in one write. Whoever finds
nobody reading becomes the *leader*: it reads the socket for all, until its own wish is fulfilled, and hands the lead
over. So a single waiting thread talks to the socket itself, without a second thread in between, and a crowd still
needs one connection.

Owns the subscriptions, who wants what, and the lead. Called by ``results``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Any

from talo.errors import StoreUnavailable, TaloError
from talo.stores.redis._refusals import Misdirected, Refusal, as_error
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Connection, pack
from talo.stores.redis.peek import is_ready

__all__ = ["Listener", "Want"]

log = logging.getLogger(__name__)

#: Seconds of silence after which the leader asks whether the server is still there.
_PULSE = 5.0
#: Channels that nobody wants any more are kept this long, because a caller that waits for many comes back for the
#: rest; and so many at most.
_LINGER, _LINGERING = 10.0, 20_000
#: Channels per command.
_STEP = 1000
#: A thread that served watches stays this long for the next.
_IDLE = 1.0


class Want:
    """What one caller waits for: ``ids`` are still to come, ``found`` has come. A watch has ``tell``."""

    __slots__ = ("error", "found", "ids", "joined", "signal", "tell")

    def __init__(self, ids: Collection[str], tell: Callable[[str, bytes], None] | None = None) -> None:
        self.ids = set(ids)
        self.found: dict[str, bytes] = {}
        self.tell = tell
        self.error: TaloError | None = None
        #: The connection on which it is subscribed.
        self.joined: Connection | None = None
        #: Held while there is nothing to do for its thread; released to wake it.
        self.signal = threading.Lock()
        self.signal.acquire()

    def wake(self) -> None:
        """Let its thread look around."""
        try:
            self.signal.release()
        except RuntimeError:
            return  # it has been woken and has not looked yet


class _Channel:
    """A subscription, with what came while nobody wanted it.

    The answer to its question says how things stand; from then on nothing can be missed. What is heard before is of
    an earlier subscription to the same channel, and may be forgotten meanwhile.
    """

    __slots__ = ("answered", "idle_since", "payload", "task_id", "wants")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.wants: list[Want] = []
        self.payload: bytes | None = None
        self.answered = False
        self.idle_since = 0.0


class Listener:
    """The waiting of one process. Everything but the lead is guarded by ``_guard``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: Connection | None = None
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.RLock()
        self._leading = threading.Lock()
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._channels: dict[bytes, _Channel] = {}
        #: Channels that nobody wants, the longest idle first, and those whose result has been handed out.
        self._idle: dict[bytes, None] = {}
        self._ended: list[bytes] = []
        self._wants: dict[Want, None] = {}
        #: Keys of each question under way, in the order of asking; None: a pulse.
        self._asked: deque[Sequence[bytes] | None] = deque()
        #: The thread that serves watches, and what wakes it; its ``found`` says that a watch has something to be told.
        self._thread: threading.Thread | None = None
        self._server = Want(())

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, want: Want, deadline: float) -> dict[str, bytes]:
        """What was found for ``want``; nothing when the deadline (monotonic) passed. ``StoreUnavailable``."""
        if self._pid != os.getpid():
            self._reset()
        try:
            self._join(want)
            while not want.found and want.error is None:
                left = deadline - monotonic()
                if left <= 0:
                    break
                if self._leading.acquire(blocking=False):
                    try:
                        self._lead(want, deadline)
                    finally:
                        self._leading.release()
                else:
                    want.signal.acquire(timeout=min(left, threading.TIMEOUT_MAX))
        finally:
            self._leave(want)
            self._hand_over()
        if want.error is not None and not want.found:
            raise want.error
        return want.found

    def watch(self, want: Want) -> None:
        """Tell ``want`` of each of its results from a thread of ours; that thread sees to the connection, too."""
        if self._pid != os.getpid():
            self._reset()
        with self._guard:
            self._wants[want] = None
            try:
                # Without a connection the thread is at it already; connecting here too, one watch after the other,
                # would keep everybody from the guard for as long as the server is silent.
                if self._thread is None or self._connection is not None:
                    self._join(want)
            except StoreUnavailable as error:
                log.warning("results cannot be watched now: %s", error, extra={"action": "watch"})
            except TaloError:
                self.cancel(want)
                raise
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="talo-redis-results", daemon=True)
                self._thread.start()
            self._server.wake()

    def cancel(self, want: Want) -> None:
        """End a watch."""
        with self._guard:
            self._leave(want)
            want.ids.clear()
            want.found.clear()

    def forget(self, keys: Collection[bytes]) -> None:
        """What was found of these is no longer true."""
        with self._guard:
            for key in keys:
                if key in self._idle:
                    del self._idle[key], self._channels[key]
                    self._ended.append(key)

    def close(self) -> None:
        """End every wait with ``StoreUnavailable``, and the connection."""
        if self._pid != os.getpid():
            self._reset()
            return
        with self._guard:
            for want in [want for want in self._wants if want.tell]:
                self.cancel(want)
            self._break(StoreUnavailable("the store was closed"))

    # -- joining and leaving --------------------------------------------------------------------------------------

    def _join(self, want: Want) -> None:
        """Enter ``want``; subscribe to what is new and ask for it, in one write; take what is known already."""
        with self._guard:
            self._drop_if_dead()
            self._wants[want] = None
            connection = want.joined = self._connected()
            new: list[bytes] = []
            keys = self._client.keys
            for task_id in tuple(want.ids):
                key = keys.result(task_id)
                channel = self._channels.get(key)
                if channel is None:
                    channel = self._channels[key] = _Channel(task_id)
                    new.append(key)
                channel.wants.append(want)
                self._idle.pop(key, None)
                if channel.payload is not None:
                    self._fulfil(channel, key, channel.payload)
            if new or len(self._idle) + len(self._ended) > _LINGERING:
                self._write(connection, self._unsubscribed() + self._subscribed(new))

    def _subscribed(self, keys: Sequence[bytes]) -> bytes:
        commands: list[bytes] = []
        for at in range(0, len(keys), _STEP):
            step = keys[at : at + _STEP]
            commands += (pack(b"SUBSCRIBE", *step), pack(b"MGET", *step))
            self._asked.append(step)
        return b"".join(commands)

    def _unsubscribed(self) -> bytes:
        """The command that ends subscriptions which nobody came back for."""
        now, old = monotonic(), list[bytes]()
        for key in self._idle:
            if len(self._idle) - len(old) <= _LINGERING and now - self._channels[key].idle_since < _LINGER:
                break
            old.append(key)
        for key in old:
            del self._idle[key], self._channels[key]
        ended, self._ended = self._ended + old, []
        return pack(b"UNSUBSCRIBE", *ended) if ended else b""

    def _leave(self, want: Want) -> None:
        with self._guard:
            self._wants.pop(want, None)
            keys = self._client.keys
            now = monotonic()
            for task_id in want.ids:
                key = keys.result(task_id)
                channel = self._channels.get(key)
                if channel is None or want not in channel.wants:
                    continue
                channel.wants.remove(want)
                if not channel.wants:
                    channel.idle_since = now
                    self._idle[key] = None

    # -- the lead -------------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """See that somebody reads, if anybody waits."""
        if not self._wants or self._leading.locked():
            return
        with self._guard:
            heir = next((want for want in self._wants if want.tell is None), self._server)
            heir.wake()

    def _lead(self, want: Want, deadline: float) -> None:
        """Read for all, until ``want`` is fulfilled or the deadline passes."""
        silent = 0
        while not want.found and want.error is None:
            connection = self._connection
            left = deadline - monotonic()
            if connection is None or left <= 0:
                return
            ready = connection.poll(min(left, _PULSE))
            with self._guard:
                if connection is not self._connection:
                    connection.close()
                    continue
                try:
                    if ready:
                        silent = 0
                        connection.drain(self._answer)
                    elif left > _PULSE:
                        silent += 1
                        self._feel_pulse(connection, silent)
                except StoreUnavailable as error:
                    self._break(error)
                    connection.close()

    def _feel_pulse(self, connection: Connection, silent: int) -> None:
        if silent > 1:
            raise StoreUnavailable(f"{self._client.place.shown} does not answer")
        self._asked.append(None)
        connection.write(pack(b"PING"), self._client.deadline())

    def _answer(self, reply: Any) -> None:
        keys = self._asked.popleft()
        if isinstance(reply, Refusal):
            error = as_error(reply, self._client.place.shown)
            if isinstance(error, Misdirected) and self._connection is not None:
                self._client.redirect(self._connection, error)
            raise error if isinstance(error, StoreUnavailable) else StoreUnavailable(str(error)) from reply
        if keys is None:
            return
        for key, payload in zip(keys, reply, strict=True):
            channel = self._channels.get(key)
            if channel is None:
                continue
            channel.answered = True
            if payload is not None and is_ready(payload):
                self._fulfil(channel, key, payload)

    def _hear(self, push: Sequence[Any]) -> None:
        if push[0] == b"message":
            channel = self._channels.get(push[1])
            if channel is not None and channel.answered and is_ready(push[2]):
                self._fulfil(channel, push[1], push[2])

    def _fulfil(self, channel: _Channel, key: bytes, payload: bytes) -> None:
        """A result is there: hand it out and be done with its channel, or keep it for who comes back."""
        if not channel.wants:
            channel.payload = payload
            return
        for want in channel.wants:
            want.ids.discard(channel.task_id)
            want.found[channel.task_id] = payload
            if want.tell is not None:
                self._server.found[channel.task_id] = b""
                self._server.wake()
            else:
                want.wake()
        del self._channels[key]
        self._ended.append(key)

    # -- watches --------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Tell watches what is found, and lead when nobody else does; connect again when the connection breaks."""
        server, pause = self._server, 0.1
        while self._call_back():
            try:
                self._rejoin()
                if self._leading.acquire(blocking=False):
                    try:
                        self._lead(server, monotonic() + _IDLE)
                    finally:
                        self._leading.release()
                    self._hand_over()
                elif not server.found:
                    server.signal.acquire(timeout=_IDLE)
                pause = 0.1
            except TaloError as error:
                log.warning("watching results: %s", error, extra={"action": "watch"})
                server.signal.acquire(timeout=pause)
                pause = min(pause * 2, 5.0)

    def _rejoin(self) -> None:
        """Subscribe the watches that are not on the present connection."""
        with self._guard:
            for want in [want for want in self._wants if want.tell is not None]:
                if want.joined is None or want.joined is not self._connection:
                    self._join(want)

    def _call_back(self) -> bool:
        """Tell the watches what was found, outside the guard: they may call us. False when none is left."""
        while True:
            with self._guard:
                watches = [want for want in self._wants if want.tell is not None]
                due = next((want for want in watches if want.found), None)
                if due is None:
                    self._server.found.clear()
                    if not watches:
                        self._thread = None
                    return bool(watches)
                task_id, payload = due.found.popitem()
                tell = due.tell
                if not due.ids and not due.found:
                    del self._wants[due]
            assert tell is not None
            try:
                tell(task_id, payload)
            except Exception:  # a caller's fault must not end the waiting of others
                log.exception("a watcher of results failed", extra={"action": "watch", "task_id": task_id})

    # -- the connection -------------------------------------------------------------------------------------------

    def _drop_if_dead(self) -> None:
        """A connection that died while nobody read it must not fail who comes now."""
        connection = self._connection
        if connection is None or self._leading.locked():
            return
        try:
            if connection.poll(0):
                connection.drain(self._answer)
        except StoreUnavailable as error:
            self._break(error)

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._client.connection()
            connection.connect(self._client.deadline())
            connection.on_push = self._hear
            self._connection = connection
        return self._connection

    def _write(self, connection: Connection, data: bytes) -> None:
        try:
            connection.write(data, self._client.deadline())
        except StoreUnavailable as error:
            self._break(error)
            raise

    def _break(self, error: StoreUnavailable) -> None:
        """The connection is no good: whoever waits is told, watches are joined again by their thread."""
        connection, self._connection = self._connection, None
        self._channels.clear()
        self._idle.clear()
        self._ended.clear()
        self._asked.clear()
        self._server.wake()
        for want in self._wants:
            if want.tell is None:
                want.error = error
                want.wake()
        if connection is not None:
            if self._leading.locked():
                connection.shutdown()
            else:
                connection.close()
