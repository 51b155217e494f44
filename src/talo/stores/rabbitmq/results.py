"""Results sent back to who asked (``rpc://``), in Celery's form.

Owns the reply queues of this process: one for each thread that sends, named like its id, read by whoever waits here.
A result that was read is remembered here for a while and nowhere else: no other process can ask for it. Groups and
chords need a store that keeps things (``absent``). Called by ``store`` and ``app.result``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from time import monotonic

import msgspec

from talo.errors import OperationalError
from talo.states import READY_STATES
from talo.stores.base import ResultMeta, Settlement, Watch
from talo.stores.rabbitmq.absent import NoResults
from talo.stores.rabbitmq.channel import Channel, Letter
from talo.stores.rabbitmq.client import Client
from talo.stores.rabbitmq.connection import Connection
from talo.stores.rabbitmq.frames import properties, read_properties
from talo.stores.rabbitmq.owner import Held
from talo.wire.message import Message

__all__ = ["RpcResults"]

#: Results that a process remembers.
_MOST = 10_000


class _Status(msgspec.Struct):
    status: str = ""


_status = msgspec.json.Decoder(_Status)


class RpcResults(NoResults):
    """Results as messages to who asked. ``here`` gives the reply queue of the calling thread."""

    def __init__(self, client: Client, here: Callable[[], str], expires: float | None) -> None:
        self._client = client
        self._here = here
        self._expires = expires
        self._queues: set[str] = set()
        self._channel: Channel | None = None
        self._known: OrderedDict[str, bytes] = OrderedDict()
        client.on_lost.append(self._lose)

    def _lose(self) -> None:
        self._channel = None

    # -- asking -------------------------------------------------------------------------------------------------------

    def before_send(self, connection: Connection, messages: Sequence[Message], deadline: float) -> None:
        """Have a reply queue before somebody may answer."""
        here = self._here()
        if any(message.properties.get("reply_to") == here for message in messages):
            self._listen(connection, here, deadline)

    def _listen(self, connection: Connection, queue: str | None, deadline: float) -> None:
        fresh = self._channel is None or not self._channel.open
        if fresh:
            self._channel = connection.channel(deadline)
            self._channel.on_letter = self._take_in
        assert self._channel is not None
        missing = set(self._queues) if fresh else set()
        if queue is not None and queue not in self._queues:
            missing.add(queue)
        arguments = {} if self._expires is None else {"x-expires": int(self._expires * 1000)}
        for name in missing:
            self._channel.declare_queue(name, deadline, durable=True, auto_delete=True, arguments=arguments)
            self._channel.consume(name, name, deadline, no_ack=True)
            self._queues.add(name)

    def _take_in(self, letter: Letter) -> None:
        task_id = read_properties(letter.header).get("correlation_id")
        if task_id is not None:
            known = self._known.get(task_id)
            if known is None or not _is_ready(known):
                self._known[task_id] = letter.body
            while len(self._known) > _MOST:
                self._known.popitem(last=False)

    def get(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            self._listen(connection, None, deadline)
            return {each: self._known[each] for each in task_ids if each in self._known}

    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        found: dict[str, bytes] = {}

        def look(connection: Connection) -> bool:
            self._listen(connection, None, self._client.deadline())
            connection.take_in()
            for task_id in task_ids:
                payload = self._known.get(task_id)
                if payload is not None and _is_ready(payload):
                    found[task_id] = payload
            return bool(found)

        self._client.await_(look, monotonic() + (1e9 if timeout is None else timeout))
        return found

    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        return _Watcher(self, task_ids, tell)

    def forget(self, task_ids: Sequence[str]) -> None:
        for task_id in task_ids:
            self._known.pop(task_id, None)

    # -- answering ----------------------------------------------------------------------------------------------------

    def store(self, results: Sequence[ResultMeta]) -> None:
        deadline = self._client.deadline()
        with self._client.using(deadline) as connection:
            self._send(connection, [(meta, meta.reply_to) for meta in results], deadline)

    def answer(
        self, connection: Connection, settlements: Sequence[Settlement], held: Sequence[Held], deadline: float
    ) -> None:  # fmt: skip
        """Send what these settlements bring to who asked for it. What they close is remembered by nobody: a step that
        is repeated sends its successor again."""
        told: list[tuple[ResultMeta, str | None]] = []
        for settlement, of in zip(settlements, held, strict=True):
            if settlement.part is not None:
                self.refuse("counts no chords")
            asked_by = of.message.properties.get("reply_to")
            metas = [*([settlement.result] if settlement.result is not None else []), *settlement.also]
            told += [(meta, meta.reply_to or asked_by) for meta in metas]
        self._send(connection, told, deadline)

    def _send(self, connection: Connection, told: Sequence[tuple[ResultMeta, str | None]], deadline: float) -> None:
        letters = [("", reply_to, _properties(meta), meta.payload) for meta, reply_to in told if reply_to]
        if letters:
            # Who asked may have gone: then nobody is to hear it.
            self._client.publisher(connection, deadline).publish(letters, deadline, mandatory=False)


class _Watcher(Watch):
    """Tells of results from a thread of its own."""

    def __init__(self, results: RpcResults, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> None:
        self._results = results
        self._wanted = set(task_ids)
        self._tell = tell
        self._over = threading.Event()
        threading.Thread(target=self._run, name="talo-watch", daemon=True).start()

    def _run(self) -> None:
        while self._wanted and not self._over.is_set():
            try:
                found = self._results.wait(list(self._wanted), 1.0)
            except OperationalError:
                self._over.wait(0.5)
                continue
            for task_id, payload in found.items():
                self._wanted.discard(task_id)
                if not self._over.is_set():
                    self._tell(task_id, payload)

    def cancel(self) -> None:
        self._over.set()


def _is_ready(payload: bytes) -> bool:
    """Whether the document is of an ended task. What is not JSON is taken for one: only those come in that form."""
    try:
        return _status.decode(payload).status in READY_STATES
    except msgspec.MsgspecError:
        return True


def _properties(meta: ResultMeta) -> bytes:
    json = meta.payload[:1] == b"{"
    return properties(
        {
            "content_type": "application/json" if json else "application/data",
            "content_encoding": "utf-8" if json else "binary",
            "headers": {},
            "delivery_mode": 1,
            "priority": 0,
            "correlation_id": meta.task_id,
        }
    )
