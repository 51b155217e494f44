"""Small things of kombu, billiard and vine that plug-ins import beside Celery.

Owns what is not worth a module of its own; queues are ``wire.queues``'s, connections ``compat.messaging``'s. Reached
only where the real libraries are not installed.
"""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from talo.errors import SecurityError
from talo.settings.secret import hide_password
from talo.wire import compression, serializers
from talo.wire import new_id as uuid
from talo.wire.repr import saferepr

__all__ = [
    "BILLIARD_VERSION",
    "KOMBU_VERSION",
    "VINE_VERSION",
    "PoolWorker",
    "barrier",
    "billiard_version",
    "bytes_to_str",
    "compress",
    "cpu_count",
    "current_process",
    "dumps",
    "ensure_bytes",
    "json_dumps",
    "json_loads",
    "kombu_version",
    "loads",
    "maybe_sanitize_url",
    "promise",
    "queue_declare_ok_t",
    "register",
    "register_after_fork",
    "safe_repr",
    "safe_str",
    "str_to_bytes",
    "to_timestamp",
    "uuid",
    "vine_version",
]

KOMBU_VERSION, kombu_version = (5, 6, 2), "5.6.2"
BILLIARD_VERSION, billiard_version = (4, 2, 4), "4.2.4"
VINE_VERSION, vine_version = (5, 1, 0), "5.1.0"


class queue_declare_ok_t(NamedTuple):
    """What declaring a queue tells."""

    queue: str
    message_count: int
    consumer_count: int


def maybe_sanitize_url(url: Any, mask: str = "**") -> Any:
    """A URL with its password hidden; anything else as it is."""
    del mask
    return hide_password(url) if isinstance(url, str) and "://" in url else url


# -- text


def bytes_to_str(value: Any) -> Any:
    """Bytes as text; anything else as it is."""
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def str_to_bytes(value: Any) -> Any:
    """Text as bytes; anything else as it is."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def ensure_bytes(value: Any) -> bytes:
    """Bytes of anything."""
    return value if isinstance(value, bytes) else str(value).encode()


def safe_str(value: Any, errors: str = "replace") -> str:
    """A text of anything, whatever its own methods do."""
    return value.decode("utf-8", errors) if isinstance(value, bytes) else str(value)


def safe_repr(value: Any, errors: str = "replace") -> str:
    """The repr of anything, bounded."""
    del errors
    return saferepr(value, 10_000, 100)


# -- serializers


def json_dumps(value: Any, **_options: Any) -> str:
    """JSON text, with the types that messages may hold."""
    return serializers.JSON.dumps(value).decode()


def json_loads(text: Any, **_options: Any) -> Any:
    """The value of JSON."""
    return serializers.JSON.loads(text.encode() if isinstance(text, str) else bytes(text))


def dumps(data: Any, serializer: str | None = None) -> tuple[str, str, Any]:
    """(content type, encoding, payload) of a value."""
    codec = serializers.get(serializer or "json")
    payload = codec.dumps(data)
    return codec.content_type, codec.content_encoding, bytes_to_str(payload) if codec.name == "json" else payload


def loads(data: Any, content_type: str, content_encoding: str = "utf-8", accept: Any = None, **_more: Any) -> Any:
    """The value of a payload, if its type is accepted."""
    del content_encoding
    codec = serializers.get(content_type)
    if accept is not None and codec.content_type not in serializers.accept(accept):
        raise SecurityError(f"content of type {codec.content_type} is not accepted")
    return codec.loads(data.encode() if isinstance(data, str) else bytes(data))


def register(name: str, encoder: Any, decoder: Any, content_type: str, content_encoding: str = "utf-8") -> None:
    """Add a serializer."""
    text = content_encoding in ("utf-8", "us-ascii")
    reader = (lambda data: decoder(data.decode())) if text else decoder
    serializers.register(name, encoder, reader, content_type, content_encoding)


def compress(body: bytes, content_type: str) -> tuple[bytes, str]:
    """A compressed body and the name of the compression."""
    return compression.compress(body, content_type)


# -- processes and time


def cpu_count() -> int:
    """How many processors there are."""
    return os.cpu_count() or 1


def current_process() -> Any:
    """This process, with the attributes that billiard's have."""
    process = multiprocessing.current_process()
    if not hasattr(process, "index"):
        process.index = None  # type: ignore[attr-defined]
    return process


def register_after_fork(obj: Any, func: Callable[[Any], Any]) -> None:
    """Call ``func(obj)`` in every forked child."""
    os.register_at_fork(after_in_child=lambda: func(obj))


class PoolWorker:
    """billiard's pool process, which some plug-ins wrap so as to be called when a child ends. Talo calls it then."""

    def workloop(self, *_args: Any, **_kwargs: Any) -> Any:
        """A child's work, which is over when this is called."""


def to_timestamp(value: Any, default_timezone: Any = None, time: Callable[[], float] = time.monotonic) -> float:
    """A moment on the monotonic clock."""
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=default_timezone or dt.UTC)
        return time() + (moment - dt.datetime.now(dt.UTC)).total_seconds()
    return float(value)


# -- promises


class promise:
    """A callback that may be fulfilled once; ``then`` adds what is called with its value."""

    def __init__(self, fun: Any = None, args: Any = None, kwargs: Any = None, callback: Any = None, **_more: Any):
        self.fun, self.args, self.kwargs = fun, args or (), kwargs or {}
        self.ready = self.failed = self.cancelled = False
        self.value: Any = None
        self._listeners: list[Any] = [] if callback is None else [callback]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.cancelled or self.ready:
            return None
        self.ready = True
        given = (*self.args, *args)
        self.value = self.fun(*given, **{**self.kwargs, **kwargs}) if self.fun is not None else given
        for listener in self._listeners:
            listener(self.value) if self.fun is not None else listener(*given)
        return self.value

    def then(self, callback: Any, on_error: Any = None) -> Any:
        """Call ``callback`` with the value, at once if it is there."""
        del on_error
        if self.ready:
            callback(self.value)
        else:
            self._listeners.append(callback)
        return callback

    def cancel(self) -> None:
        """Never call anything."""
        self.cancelled = True

    def throw(self, exc: BaseException | None = None, *_args: Any, **_kwargs: Any) -> None:
        """Fail."""
        self.failed = True
        if exc is not None:
            raise exc


class barrier:
    """Calls back when all of its promises are fulfilled."""

    def __init__(self, promises: Any = None, args: Any = None, kwargs: Any = None, callback: Any = None, **_more: Any):
        self._whole = promise(None, args, kwargs, callback)
        self._left = 0
        self.finalized = False
        for each in promises or ():
            self.add(each)
        if promises is not None:
            self.finalize()

    def add(self, each: Any) -> None:
        """Wait for one more."""
        self._left += 1
        each.then(self)

    def __call__(self, *_args: Any, **_kwargs: Any) -> None:
        self._left -= 1
        if self.finalized and self._left <= 0:
            self._whole()

    def then(self, callback: Any, on_error: Any = None) -> Any:
        """Call ``callback`` at the end."""
        return self._whole.then(callback, on_error)

    def finalize(self) -> None:
        """No more are to come."""
        self.finalized = True
        if self._left <= 0:
            self._whole()
