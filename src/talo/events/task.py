"""One task, as its events tell it. Owned by ``state``.

Events may overtake each other, between machines above all. What an event says about the task counts whenever it
comes, unless a later one has said otherwise; the state never goes back within a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from talo import states

__all__ = ["Task"]

_STATES = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}
_FIELDS = (
    "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried", "revoked",
    "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp", "runtime",
    "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent", "parent_id", "children",
)  # fmt: skip
#: What an event may say about the task; anything else is not taken.
_TOLD = frozenset(_FIELDS) - {
    "uuid", "state", "worker", "client", "root", "parent", "children", "clock", "timestamp", *_STATES,
}  # fmt: skip
_INFO = ("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key",
         "root_id", "parent_id")  # fmt: skip


class Task:
    """Facts about one task; a name that no event has told is None."""

    name: str | None = None
    received: float | None = None
    sent: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    args: str | None = None
    kwargs: str | None = None
    eta: Any = None
    expires: Any = None
    retries: int | None = None
    worker: Any = None
    result: Any = None
    exception: str | None = None
    timestamp: float | None = None
    runtime: float | None = None
    traceback: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    client: str | None = None
    state: str = states.PENDING
    clock: int = 0

    _fields = _FIELDS
    _defaults: Mapping[str, Any] = {}

    def __init__(
        self, uuid: str | None = None, cluster_state: Any = None, children: Iterable[Any] | None = None, **fields: Any
    ) -> None:
        self.uuid = uuid or ""
        self.cluster_state = cluster_state
        self.children_ids: set[str] = {getattr(child, "uuid", child) for child in children or ()}
        self.__dict__.update(fields)

    def event(self, type_: str, fields: Mapping[str, Any]) -> None:
        """Take in an event of this task; a type that nobody knows is kept as a state of the user's own."""
        clock, timestamp = _number(fields.get("clock"), 0), _number(fields.get("timestamp"), 0.0)
        state = _STATES.get(type_, type_.upper())
        past = self._is_past(state, (clock, timestamp))
        told = {name: value for name, value in fields.items() if name in _TOLD and value is not None}
        if past:
            # It adds what is not known yet.
            told = {name: value for name, value in told.items() if getattr(self, name) is None}
        self.__dict__.update(told)
        if type_ in _STATES:
            setattr(self, type_, timestamp)
        if not past:
            self.state, self.clock, self.timestamp = state, int(clock), timestamp

    def _is_past(self, state: str, when: tuple[float, float]) -> bool:
        """Whether a later state is known. Within one run the more final state is the later one, whatever the clocks
        say; a retry lies between two runs, and there the clocks decide."""
        if states.RETRY in (state, self.state):
            return when < (self.clock, self.timestamp or 0.0)
        return states.precedence(state) > states.precedence(self.state)

    # -- asking

    @property
    def id(self) -> str:
        """Its id."""
        return self.uuid

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    @property
    def origin(self) -> Any:
        """Who sent it, else who runs it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def parent(self) -> Task | None:
        """The task that sent it, if it is known."""
        return self._known(self.parent_id)

    @property
    def root(self) -> Task | None:
        """The first task of its workflow, if it is known."""
        return self._known(self.root_id)

    @property
    def children(self) -> list[Task]:
        """The tasks that it sent, as far as they are known."""
        return [task for uuid in sorted(self.children_ids) if (task := self._known(uuid)) is not None]

    def _known(self, uuid: str | None) -> Task | None:
        if uuid is None or self.cluster_state is None:
            return None
        return self.cluster_state.tasks.get(uuid)  # type: ignore[no-any-return]

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] = ()) -> dict[str, Any]:
        """What is known of these fields, or of those that one shows."""
        names = [*(_INFO if fields is None else fields), *extra]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Every field; other tasks and the worker by their ids."""
        return {name: _plain(name, getattr(self, name)) for name in _FIELDS}

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __reduce__(self) -> Any:
        fields = {name: value for name, value in self.__dict__.items() if name not in ("cluster_state", "children_ids")}
        return _task, (type(self), fields, sorted(self.children_ids))

    def __repr__(self) -> str:
        return f"<Task: {self.name or self.uuid}({self.uuid}) {self.state} clock:{self.clock}>"


def _task(cls: type[Task], fields: dict[str, Any], children: list[str]) -> Task:
    return cls(children=children, **fields)


def _plain(name: str, value: Any) -> Any:
    if name in ("root", "parent"):
        return None if value is None else value.uuid
    if name == "children":
        return [child.uuid for child in value]
    return value.hostname if name == "worker" and value is not None else value


def _number(value: Any, default: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
