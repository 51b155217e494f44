"""What a running task knows about its own message, and which task runs in this thread or coroutine.

Owns ``Context`` (Celery's ``task.request``) and the stack of frames; it is filled by ``execution.run`` and read by
``app.task``. The stack is one context variable for all tasks, so it is right in threads and coroutines alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from typing import Any

from talo.canvas.plan import STANDING
from talo.wire.sent import SENT

__all__ = [
    "Context",
    "Frame",
    "RequestStack",
    "carried_by",
    "carry",
    "current_frame",
    "enter",
    "leave",
    "request_of",
    "worker_frame",
]

#: Names of protocol 2's own headers; what else a message carries is the user's and appears in ``Context.headers``.
STANDARD_HEADERS = frozenset(
    [
        "lang",
        "task",
        "id",
        "shadow",
        "eta",
        "expires",
        "group",
        "group_index",
        "retries",
        "timelimit",
        "root_id",
        "parent_id",
        "argsrepr",
        "kwargsrepr",
        "origin",
        "ignore_result",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "compression",
        "celery_beat_task",
        "redelivered",
        *STANDING,
        SENT,
    ]
)


class Carried(dict[str, str]):
    """Headers that whatever is sent on a run's end gets: the trace that it goes on with. A type of its own, which no
    message can bring."""


class Context:
    """The request of one run. Message headers, the user's included, are attributes; what is absent reads as its
    default."""

    id: str | None = None
    task: str | None = None
    args: Any = None
    kwargs: Any = None
    callbacks: Any = None
    errbacks: Any = None
    chain: Any = None
    chord: Any = None
    children: list[Any] | None = None
    called_directly: bool = True
    correlation_id: str | None = None
    delivery_info: dict[str, Any] | None = None
    eta: str | None = None
    expires: str | float | None = None
    group: str | None = None
    group_index: int | None = None
    hostname: str | None = None
    ignore_result: bool | None = False
    is_eager: bool = False
    lang: str | None = None
    logfile: str | None = None
    loglevel: int | None = None
    origin: str | None = None
    parent_id: str | None = None
    properties: dict[str, Any] | None = None
    retries: int = 0
    reply_to: str | None = None
    replaced_task_nesting: int = 0
    root_id: str | None = None
    shadow: str | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    taskset: str | None = None
    timelimit: Any = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    utc: bool | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    #: What the task adds to its own end (``canvas.advance.Ending``).
    ending: Any = None
    #: The message's own headers, all of them; None when there was no message.
    message_headers: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Context:
        """Build from a dict that becomes the context's own."""
        self = cls.__new__(cls)
        self.__dict__ = fields
        return self

    @property
    def headers(self) -> dict[str, Any] | None:
        """The headers that the sender added to the standard ones; None if there are none."""
        if self.message_headers is None:
            return None
        return {k: v for k, v in self.message_headers.items() if k not in STANDARD_HEADERS} or None

    @headers.setter
    def headers(self, value: dict[str, Any] | None) -> None:
        self.message_headers = value

    @property
    def standing(self) -> dict[str, Any]:
        """The headers that say where in a workflow the message stands."""
        came = self.message_headers or {}
        return {name: came[name] for name in STANDING if name in came}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field or header by name."""
        return getattr(self, key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set fields."""
        fields = dict(*args, **kwargs)
        if "headers" in fields:
            fields["message_headers"] = fields.pop("headers")
        self.__dict__.update(fields)

    def clear(self) -> None:
        """Forget every field."""
        self.__dict__.clear()

    def as_execution_options(self) -> dict[str, Any]:
        """Return the options with which the same call can be sent again."""
        limit_hard, limit_soft = self.timelimit or (None, None)
        extras: dict[str, Any] = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": limit_soft,
            "time_limit": limit_hard,
            "headers": {**(self.headers or {}), **self.standing} or None,
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamped_headers:
            extras["stamped_headers"] = self.stamped_headers
            extras["stamps"] = self.stamps
        return extras

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"


class Frame:
    """One running task on the stack of this thread or coroutine."""

    __slots__ = ("called", "previous", "request", "task")

    def __init__(self, task: Any, request: Context, previous: Frame | None) -> None:
        self.task = task
        self.request = request
        self.previous = previous
        #: The function has been come to: by an overriding ``__call__``, or there was no message to begin with.
        self.called = request.called_directly


_top: ContextVar[Frame | None] = ContextVar("talo_frame", default=None)


def current_frame() -> Frame | None:
    """Return the innermost running task's frame, or None outside of tasks."""
    return _top.get()


def worker_frame() -> Frame | None:
    """Return the frame of the innermost task that is run here, not called as a function, or None."""
    frame = _top.get()
    while frame is not None and frame.request.called_directly:
        frame = frame.previous
    return frame


def enter(task: Any, request: Context) -> Token[Frame | None]:
    """Make ``task`` the running one; give the token to ``leave``."""
    return _top.set(Frame(task, request, _top.get()))


def leave(token: Token[Frame | None]) -> None:
    """End what ``enter`` began."""
    _top.reset(token)


def _frames() -> Iterator[Frame]:
    frame = _top.get()
    while frame is not None:
        yield frame
        frame = frame.previous


def request_of(task: Any) -> Context | None:
    """Return the innermost request of this very task, or None when it is not running here."""
    for frame in _frames():
        if frame.task is task:
            return frame.request
    return None


class RequestStack:
    """The frames of one task as a stack, for extensions that push requests of their own."""

    __slots__ = ("_task", "_tokens")

    def __init__(self, task: Any) -> None:
        self._task = task
        self._tokens: list[Token[Frame | None]] = []

    @property
    def top(self) -> Context | None:
        """The innermost request."""
        return request_of(self._task)

    def push(self, request: Context) -> None:
        """Enter a request."""
        self._tokens.append(enter(self._task, request))

    def pop(self) -> Context | None:
        """Leave the request entered last."""
        request = self.top
        if self._tokens:
            leave(self._tokens.pop())
        return request

    def __len__(self) -> int:
        return sum(frame.task is self._task for frame in _frames())


def carry(request: Context, headers: Mapping[str, str]) -> None:
    """Give these headers to whatever is sent on the end of this run."""
    request.__dict__["carried"] = Carried({**carried_by(request), **headers})


def carried_by(request: Context) -> Mapping[str, str]:
    """Return the headers that ``carry`` was given."""
    found = request.__dict__.get("carried")
    return found if type(found) is Carried else {}
