"""The handle of one task's result.

Owns what users ask about a sent task. Where results are kept is the store's, how they are written ``wire.results``'s.
Made by ``app.send`` and ``Talo.AsyncResult``.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from talo import states
from talo.app.aio import ResultTwins
from talo.app.archives import archived, find_results
from talo.app.current import get_current_app
from talo.app.dependencies import DependencyGraph
from talo.app.outlets import refuse_unsent
from talo.errors import IncompleteStream, TaskError, TimeoutError
from talo.execution.request import current_frame
from talo.wire.results import ResultDoc, ResultNode, decode_result, read_tuple

__all__ = [
    "AsyncResult",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "results_from_tuples",
]

R = TypeVar("R")

E_WOULD_BLOCK = """Never call result.get() within a task!

It waits for a worker's slot while it holds one, so workers may wait for each other for ever. Link the tasks instead
(chain, link, chord), or, if you know that a slot is free, pass disable_sync_subtasks=False.
"""

_join: ContextVar[bool | None] = ContextVar("talo_join", default=None)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let results be waited for inside a task."""
    token = _join.set(True)
    try:
        yield
    finally:
        _join.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse to wait for results, also outside of tasks."""
    token = _join.set(False)
    try:
        yield
    finally:
        _join.reset(token)


def assert_will_not_block() -> None:
    """``RuntimeError`` if waiting here would hold a worker's slot."""
    allowed = _join.get()
    if allowed is None:
        frame = current_frame()
        allowed = frame is None or frame.request.called_directly or frame.request.is_eager
    if not allowed:
        raise RuntimeError(E_WOULD_BLOCK)


class AsyncResult(ResultTwins[R], Generic[R]):
    """Asks the result backend about one task. What is once ready is asked only once."""

    # Defaults on the class keep the handle of a bulk send small.
    parent: AsyncResult[Any] | None = None
    ignored = False
    _backend: Any = None
    _name: str | None = None
    _doc: ResultDoc | None = None
    _watches: tuple[Any, ...] = ()

    def __init__(
        self,
        id: str,
        backend: Any = None,
        task_name: str | None = None,
        app: Any = None,
        parent: AsyncResult[Any] | None = None,
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.id = id
        self._app = app
        if parent is not None:
            self.parent = parent
        if backend is not None:
            self._backend = backend
        if task_name is not None:
            self._name = task_name

    @property
    def app(self) -> Any:
        """The app that it was made by; the current one if by none."""
        return self._app if self._app is not None else get_current_app()

    @property
    def backend(self) -> Any:
        """Where the result is looked for."""
        return self._backend if self._backend is not None else self.app.backend

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    @property
    def task_id(self) -> str:
        """The id of the task."""
        return self.id

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, R], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait until the task is ready, and return what it returned or raise what it raised.

        ``timeout`` in seconds: ``talo.errors.TimeoutError`` when it is over. ``propagate=False`` returns the
        exception. Every ``interval`` seconds ``on_interval`` is called, and with ``follow_parents`` the failure of a
        parent ends the wait. ``callback`` gets (task id, value), ``on_message`` the stored document. ``RuntimeError``
        inside a task, unless ``disable_sync_subtasks=False``.
        """
        del no_ack
        if self._begin_get(disable_sync_subtasks):
            return self._end_get(propagate, callback, on_message)
        follow = follow_parents and propagate and self.parent is not None
        sliced = follow or on_interval is not None
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            pause = left if not sliced else interval if left is None else min(interval, left)
            payload = self.backend.wait([self.id], pause).get(self.id)
            if payload is not None:
                self._take(payload)
                return self._end_get(propagate, callback, on_message)
            if deadline is not None and time.monotonic() >= deadline:
                raise self._timed_out()
            if follow:
                self._check_parents()
            if on_interval is not None:
                on_interval()

    wait = get

    def _begin_get(self, disable_sync_subtasks: bool) -> bool:
        """Refuse where waiting is forbidden; return whether there is nothing to wait for."""
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.ignored or (self._doc is not None and self._doc.status in states.READY_STATES):
            return True
        refuse_unsent(self.app.outlets, (self.id, *(node.id for node in self._parents())))
        for payload in archived(self.app, [self.id]).values():
            self._take(payload)
        return self._doc is not None

    def _take(self, payload: bytes) -> ResultDoc:
        doc = decode_result(payload, self.app.result_accept)
        if doc.status in states.READY_STATES:
            self._doc = doc
        return doc

    def _end_get(
        self,
        propagate: bool,
        callback: Callable[[str, R], Any] | None,
        on_message: Callable[[dict[str, Any]], Any] | None,
    ) -> R:
        if self.ignored:
            return None  # type: ignore[return-value]
        if on_message is not None:
            on_message(self._get_task_meta())
        if propagate:
            self.maybe_throw()
        value: R = self.result
        if callback is not None:
            callback(self.id, value)
        return value

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(f"The operation timed out: task {self.id} has not ended, or nobody knows this id")

    def _check_parents(self) -> None:
        for node in self._parents():
            node.maybe_throw()

    def _parents(self) -> Iterator[AsyncResult[Any]]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def then(
        self,
        callback: Callable[[AsyncResult[R]], Any],
        on_error: Callable[[AsyncResult[R]], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult[R]:
        """Call ``callback`` (``on_error`` if it failed and there is one) with this result once it is ready, from a
        thread of the store's."""
        del weak

        def tell(_task_id: str, payload: bytes) -> None:
            self._take(payload)
            (on_error if on_error is not None and self.failed() else callback)(self)

        self._watches = (*self._watches, self.backend.watch([self.id], tell))
        return self

    # -- asking

    def _document(self) -> ResultDoc | None:
        if self._doc is not None:
            return self._doc
        payload = find_results(self.app, self.backend, [self.id]).get(self.id)
        return self._take(payload) if payload is not None else None

    def _get_task_meta(self) -> dict[str, Any]:
        """The stored document as a dict; ``status`` and ``result`` are always there."""
        doc = self._document()
        if doc is None:
            return {"status": states.PENDING, "result": None, "traceback": None, "children": None, "task_id": self.id}
        fields = {key: getattr(doc, key) for key in doc.__struct_fields__ if key != "extra"}
        return {**doc.extra, **fields, "result": doc.value}

    @property
    def state(self) -> str:
        """The state now; PENDING also for ids that nobody knows."""
        doc = self._document()
        return doc.status if doc is not None else states.PENDING

    status = state

    @property
    def result(self) -> Any:
        """What the task returned, the exception it raised, or the data of an intermediate state."""
        doc = self._document()
        return doc.value if doc is not None else None

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failure as text."""
        return self._field("traceback")  # type: ignore[no-any-return]

    @property
    def children(self) -> list[AsyncResult[Any]] | None:
        """The results of what the task sent; None as long as that is not known. Members of a group stand in it one
        by one."""
        children = self._field("children")
        return results_from_tuples(children, self._app) if children is not None else None

    @property
    def name(self) -> str | None:
        """The name of the task, if known."""
        return self._name or self._field("name")

    @property
    def args(self) -> Any:
        """Positional arguments (with ``result_extended``)."""
        return self._field("args")

    @property
    def kwargs(self) -> Any:
        """Keyword arguments (with ``result_extended``)."""
        return self._field("kwargs")

    @property
    def worker(self) -> str | None:
        """The node name of the worker that ran it (with ``result_extended``)."""
        return self._field("worker")  # type: ignore[no-any-return]

    @property
    def retries(self) -> int | None:
        """How often it was retried (with ``result_extended``)."""
        return self._field("retries")  # type: ignore[no-any-return]

    @property
    def queue(self) -> str | None:
        """The queue that it came from (with ``result_extended``)."""
        return self._field("queue")  # type: ignore[no-any-return]

    @property
    def date_done(self) -> dt.datetime | None:
        """When it ended, with time zone."""
        return self._field("done_at")  # type: ignore[no-any-return]

    def _field(self, name: str) -> Any:
        doc = self._document()
        return getattr(doc, name) if doc is not None else None

    def exists(self) -> bool:
        """Whether anything is stored for this id."""
        return self._document() is not None

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """Whether it has ended well."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Whether it has failed."""
        return self.state == states.FAILURE

    @property
    def supports_native_join(self) -> bool:
        """Whether many results can be waited for at once: every store can."""
        return True

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Raise what the task raised, if it failed."""
        self.maybe_throw(*args, **kwargs)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise what the task raised if it failed (and ``propagate``), else return the value."""
        doc = self._document()
        value = doc.value if doc is not None else None
        if propagate and doc is not None and doc.status in states.PROPAGATE_STATES:
            if not isinstance(value, BaseException):
                # Workers of other languages store no more than the state.
                value = TaskError(f"task {self.id} ended as {doc.status}; its worker did not store what was raised")
            if doc.traceback:
                value.add_note(f"\nThe traceback in the worker:\n{doc.traceback.rstrip()}")
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    # -- following

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[AsyncResult[Any] | None, AsyncResult[Any]]]:
        """(parent, result) of this and all that came of it, breadth first. ``IncompleteStream`` if one is not
        ready, unless ``intermediate``."""
        waiting: list[tuple[AsyncResult[Any] | None, AsyncResult[Any]]] = [(None, self)]
        while waiting:
            parent, node = waiting.pop(0)
            yield parent, node
            if node.ready():
                waiting.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> DependencyGraph:
        """This and all that came of it as a graph; arguments as for ``iterdeps`` and ``DependencyGraph``."""
        graph = DependencyGraph(formatter=formatter)
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    @property
    def graph(self) -> DependencyGraph:
        """This and all that came of it as a graph. ``IncompleteStream`` as long as one is not ready."""
        return self.build_graph()

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[AsyncResult[Any], Any]]:
        """(result, its value) of this and all that came of it, waiting for each; keywords as for ``get``."""
        waiting: list[AsyncResult[Any]] = [self]
        while waiting:
            node = waiting.pop(0)
            if node.ready() or not intermediate:
                yield node, node.get(**kwargs)
                waiting.extend(node.children or ())

    def get_leaf(self) -> Any:
        """The value of the last result that came of this one."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    # -- acting

    def forget(self) -> None:
        """Delete the stored result, and those of its parents."""
        self._doc = None
        self.backend.forget([self.id])
        if self.parent is not None:
            self.parent.forget()

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep the task, and what follows it if it is the root of a workflow, from starting. With ``terminate`` what
        runs of it is to be stopped as well.

        Returns when every worker has heard of it: no task of it starts after that. ``timeout`` bounds the wait (in
        seconds, 2 by default; 0 does not wait); a worker that has not heard within that time is named in a warning,
        and starts nothing of it as soon as it has.
        """
        del connection
        self.app.control.revoke(self.id, terminate=terminate, signal=signal or "SIGTERM", reply=wait, timeout=timeout)

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """The same of all tasks that carry one of these stamps."""
        del connection
        self.app.control.revoke_by_stamped_headers(
            headers, terminate=terminate, signal=signal or "SIGTERM", reply=wait, timeout=timeout
        )

    def reschedule(
        self, countdown: float | dt.timedelta | None = None, eta: dt.datetime | str | float | None = None
    ) -> bool:
        """Let the task wait until another time, and return whether it was waiting: ``app.control.reschedule``."""
        return bool(self.app.control.reschedule(self.id, countdown, eta))

    # -- as data

    def as_tuple(self) -> tuple[Any, Any]:
        """``((id, parent), None)``, the form in which results travel."""
        return (self.id, self.parent.as_tuple() if self.parent is not None else None), None

    def as_list(self) -> list[str]:
        """The ids of this and its parents."""
        return [self.id, *(node.id for node in self._parents())]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> AsyncResult[R]:
        return self.__class__(self.id, self._backend, self._name, self._app, self.parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.id, None, self._name, None, self.parent)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"


def results_from_tuples(items: Iterable[Any], app: Any = None) -> list[AsyncResult[Any]]:
    """The results that tuples describe; the members of a group one by one."""
    found: list[AsyncResult[Any]] = []
    nodes = [read_tuple(item) for item in items]
    while nodes:
        node = nodes.pop(0)
        if node.children is None:
            found.append(_from_node(node, app))
        else:
            nodes[:0] = node.children
    return found


def result_from_tuple(item: Any, app: Any = None) -> AsyncResult[Any]:
    """The result that ``as_tuple`` of one task made ``item`` of."""
    return item if isinstance(item, AsyncResult) else _from_node(read_tuple(item), app)


def _from_node(node: ResultNode, app: Any) -> AsyncResult[Any]:
    parent = _from_node(node.parent, app) if node.parent is not None else None
    return AsyncResult(node.id, app=app, parent=parent)
