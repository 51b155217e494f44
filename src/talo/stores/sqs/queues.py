"""Queues of SQS: their names, URLs and limits.

Owns the rule from a queue's name to SQS's, looking its URL up, and creating one that is missing. A queue is created
only when somebody sends to it or a worker is told to consume it; there is no other queue. Called by ``broker``."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from talo.errors import ImproperlyConfigured, StoreUnavailable
from talo.stores.sqs.address import Address
from talo.stores.sqs.connection import Connection, Denied, QueueMissing

__all__ = ["Queue", "Queues", "name_of"]

#: API reference, CreateQueue: 80 characters, ``.fifo`` included.
_LONGEST = 80
_FIFO = ".fifo"
_OTHERS = re.compile(r"[^A-Za-z0-9_-]")
#: The limit of a queue is looked at again after so many seconds.
_FRESH = 300.0
#: What a message may be long at least, in every queue that was not made smaller on purpose.
_USUAL_LIMIT = 262_144
#: What a ping asks for: the right to look a queue up is one that everybody needs anyway.
_PING = "celery"


class Queue(NamedTuple):
    """One queue as SQS knows it."""

    name: str
    url: str
    client: Any
    poller: Any
    #: Bytes that a message, and a batch, may have.
    limit: int
    fifo: bool


def name_of(queue: str, prefix: str = "") -> str:
    """SQS's name for a queue: a dot becomes a dash, everything else that SQS does not allow an underscore, as Celery
    does it. ``ImproperlyConfigured`` when it is too long."""
    fifo = queue.endswith(_FIFO)
    stem = prefix + (queue.removesuffix(_FIFO) if fifo else queue)
    name = _OTHERS.sub("_", stem.replace(".", "-")) + (_FIFO if fifo else "")
    if len(name) > _LONGEST:
        raise ImproperlyConfigured(f"SQS takes queue names of {_LONGEST} characters, {name!r} has {len(name)}")
    return name


class Queues:
    """The queues that this process knows. ``note`` is told the name of each."""

    def __init__(self, address: Address, connection: Connection, note: Callable[[str], None]) -> None:
        self._address = address
        self._connection = connection
        self._note = note
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Queue]] = {}

    def get(self, name: str) -> Queue:
        """The queue; it is created if it is missing and not forbidden by ``predefined_queues``."""
        known = self._known.get(name)
        if known is not None and time.monotonic() - known[0] < _FRESH:
            return known[1]
        with self._lock:
            queue = self._look_up(name)
            if known is None:
                self._note(name)
            self._known[name] = time.monotonic(), queue
            return queue

    def find(self, name: str) -> Queue | None:
        """The queue if it exists; creates nothing."""
        known = self._known.get(name)
        if known is not None:
            return known[1]
        try:
            return self._described(name, self._url(name))
        except (QueueMissing, ImproperlyConfigured):
            return None

    def forget(self, name: str) -> None:
        """It is not as it was: look again."""
        self._known.pop(name, None)

    def _look_up(self, name: str) -> Queue:
        try:
            return self._described(name, self._url(name))
        except QueueMissing as error:
            if self._address.predefined:
                raise QueueMissing(
                    f"there is no queue {self._url(name)}, which predefined_queues calls {name}: create it, or correct "
                    "its URL, region or credentials"
                ) from error
        return self._described(name, self._created(name_of(name, self._address.prefix)))

    def _created(self, actual: str) -> str:
        client = self._connection.client()
        attributes = {"FifoQueue": "true"} if actual.endswith(_FIFO) else {}
        try:
            with self._connection.translated():
                return str(client.create_queue(QueueName=actual, Attributes=attributes)["QueueUrl"])
        except Denied as error:
            raise Denied(f"there is no queue {actual}, and it may not be created. {error}") from error

    def _url(self, name: str) -> str:
        predefined = self._address.predefined
        if predefined:
            if name not in predefined:
                raise ImproperlyConfigured(
                    f"predefined_queues has no queue {name}; it has {', '.join(sorted(predefined))}"
                )
            return predefined[name].url
        client = self._connection.client()
        with self._connection.translated():
            return str(client.get_queue_url(QueueName=name_of(name, self._address.prefix))["QueueUrl"])

    def _described(self, name: str, url: str) -> Queue:
        own = self._address.predefined.get(name)
        client = self._connection.client(of=own)
        poller = self._connection.client(polls=True, of=own)
        limit = _number(self.attributes_of(client, url, "MaximumMessageSize"), "MaximumMessageSize", _USUAL_LIMIT)
        return Queue(name, url, client, poller, limit, url.endswith(_FIFO))

    def attributes_of(self, client: Any, url: str, *names: str) -> Mapping[str, str]:
        """Some attributes of a queue."""
        with self._connection.translated():
            found = client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        attributes: Mapping[str, str] = found.get("Attributes", {})
        return attributes

    def numbers(self, name: str) -> tuple[int, int, int]:
        """Ready, delayed and held messages, as SQS guesses them; zeros for a queue that does not exist."""
        queue = self.find(name)
        if queue is None:
            return 0, 0, 0
        fields = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        )
        try:
            found = self.attributes_of(queue.client, queue.url, *fields)
        except QueueMissing:
            self.forget(name)
            return 0, 0, 0
        ready, delayed, held = (_number(found, field, 0) for field in fields)
        return ready, delayed, held

    def ping(self) -> None:
        """Reach SQS, or raise ``StoreUnavailable`` or ``AccessRefused``."""
        predefined = self._address.predefined
        if predefined:
            self.get(next(iter(predefined)))
            return
        try:
            self._url(_PING)
        except (QueueMissing, Denied):
            return  # it has answered; whose policy names its queues may not ask for this one


def _number(attributes: Mapping[str, str], name: str, default: int) -> int:
    value = attributes.get(name, "")
    if value and not value.isdigit():
        raise StoreUnavailable(f"SQS says {name} is {value!r}")
    return int(value) if value else default
