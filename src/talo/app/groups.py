"""Handles of many results: the result set, and the result of a group.

Owns waiting for many at once (one watch for all of them, no thread per result), saving and restoring. One result is
``app.result``'s. Made by ``canvas`` through ``Talo.GroupResult``, and by user code.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from talo import states
from talo.app.archives import archived, find_group, find_results
from talo.app.current import get_current_app
from talo.app.outlets import refuse_unsent
from talo.app.result import AsyncResult, assert_will_not_block
from talo.errors import TimeoutError
from talo.util.optional import load
from talo.wire import serializers
from talo.wire.results import ResultNode, group_tuple, read_tuple

__all__ = ["GroupResult", "Progress", "ResultSet", "result_from_tuple"]

R = TypeVar("R")


class Progress(NamedTuple):
    """How far a group or chord has come."""

    done: int
    total: int
    failed: int = 0

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.done / self.total if self.total else 1.0


class ResultSet(Generic[R]):
    """Several results, in order; each may be of a task or of a group."""

    def __init__(self, results: Iterable[Any], app: Any = None, ready_barrier: Any = None, **_more: Any) -> None:
        del ready_barrier
        self._app = app
        self.results: list[Any] = list(results)
        self._watches: tuple[Any, ...] = ()

    @property
    def app(self) -> Any:
        """The app of its results, else the current one."""
        if self._app is None:
            self._app = next((each._app for each in self.results if each._app is not None), None) or get_current_app()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def backend(self) -> Any:
        """Where the results are looked for."""
        return self.app.backend

    # -- as a collection

    def add(self, result: Any) -> None:
        """Add a result unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a result (or id); ``KeyError`` if it is not there."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Remove a result if it is there."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add those that are not there yet."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Remove all."""
        self.results.clear()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        return self.results == other.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(r.id) for r in self.results)}]>"

    # -- asking

    def _leaves(self) -> list[AsyncResult[Any]]:
        """The results of tasks, those inside of groups too."""
        found: list[AsyncResult[Any]] = []
        for result in self.results:
            found.extend(result._leaves() if isinstance(result, ResultSet) else [result])
        return found

    def _refresh(self) -> list[AsyncResult[Any]]:
        """Ask for everything that is not known to be ready, in one go; return the leaves."""
        leaves = self._leaves()
        unknown = [leaf for leaf in leaves if leaf._doc is None and not leaf.ignored]
        if unknown:
            payloads = find_results(self.app, self.backend, [leaf.id for leaf in unknown])
            for leaf in unknown:
                if (payload := payloads.get(leaf.id)) is not None:
                    leaf._take(payload)
        return leaves

    def _states(self) -> list[str]:
        return [_state(leaf) for leaf in self._refresh()]

    def progress(self) -> Progress:
        """How many have ended, of how many, and how many of these failed."""
        found = self._states()
        return Progress(
            sum(state in states.READY_STATES for state in found),
            len(found),
            sum(state in states.PROPAGATE_STATES for state in found),
        )

    def completed_count(self) -> int:
        """How many have succeeded."""
        return sum(state == states.SUCCESS for state in self._states())

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(state in states.READY_STATES for state in self._states())

    def waiting(self) -> bool:
        """Whether any has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have succeeded."""
        return all(state == states.SUCCESS for state in self._states())

    def failed(self) -> bool:
        """Whether any has failed."""
        return any(state == states.FAILURE for state in self._states())

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise what the first failed one raised."""
        self._refresh()
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    @property
    def supports_native_join(self) -> bool:
        """Whether all can be waited for at once: every store can."""
        return True

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
        progress: bool = False,
    ) -> list[R]:
        """Wait for all and return their values in order, or raise what one of them raised as soon as it did.

        ``timeout`` in seconds is for all together: ``talo.errors.TimeoutError``. ``propagate=False`` puts exceptions
        among the values. ``callback`` gets (task id, value) of each; with ``progress`` a bar shows how far it is.
        """
        del no_ack
        if disable_sync_subtasks:
            assert_will_not_block()
        arrivals = self._arrivals(timeout, interval, on_interval)
        for leaf in _with_bar(arrivals, len(self._leaves())) if progress else arrivals:
            if on_message is not None:
                on_message(leaf._get_task_meta())
            if propagate:
                leaf.maybe_throw()
        return [self._value(result, propagate, callback) for result in self.results]

    join = get
    join_native = get

    @staticmethod
    def _value(result: Any, propagate: bool, callback: Any) -> Any:
        if isinstance(result, ResultSet):
            return [ResultSet._value(inner, propagate, callback) for inner in result.results]
        if result.ignored:
            return None
        value = result.maybe_throw(propagate=propagate)
        if callback is not None:
            callback(result.id, value)
        return value

    def iterate(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5
    ) -> Iterator[tuple[str, Any]]:
        """(task id, value) of each task as it ends."""
        assert_will_not_block()
        for leaf in self._arrivals(timeout, interval, None):
            yield leaf.id, leaf.maybe_throw(propagate=propagate)

    def iter_native(self, timeout: float | None = None, interval: float = 0.5, **_more: Any) -> Iterator[Any]:
        """(task id, stored document) of each task as it ends."""
        for leaf in self._arrivals(timeout, interval, None):
            yield leaf.id, leaf._get_task_meta()

    def _arrivals(
        self, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None
    ) -> Iterator[AsyncResult[Any]]:
        """Each task's result as soon as it is ready: one watch for all, whatever their number."""
        leaves = self._leaves()
        if leaves:
            refuse_unsent(leaves[0].app.outlets, (leaf.id for leaf in leaves))
            old = archived(leaves[0].app, [leaf.id for leaf in leaves])
            for leaf in leaves:
                if leaf.id in old:
                    leaf._take(old[leaf.id])
        open_: dict[str, AsyncResult[Any]] = {}
        for leaf in leaves:
            if leaf.ignored or (leaf._doc is not None and leaf._doc.status in states.READY_STATES):
                yield leaf
            else:
                open_[leaf.id] = leaf
        if not open_:
            return
        came: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        watch = self.backend.watch(list(open_), lambda task_id, payload: came.put((task_id, payload)))
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while open_:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                pause = left if on_interval is None else interval if left is None else min(interval, left)
                try:
                    task_id, payload = came.get(timeout=pause)
                except queue.Empty:
                    if deadline is not None and time.monotonic() >= deadline:
                        left_over = f"{len(open_)} results of the group have not come"
                        raise TimeoutError(f"The operation timed out: {left_over}") from None
                    if on_interval is not None:
                        on_interval()
                    continue
                leaf = open_.pop(task_id)
                leaf._take(payload)
                yield leaf
        finally:
            watch.cancel()

    def then(self, callback: Callable[[Any], Any], on_error: Any = None, weak: bool = False) -> Any:
        """Call ``callback`` (``on_error`` if one failed and there is one) with this once all are ready."""
        del weak
        leaves = {leaf.id: leaf for leaf in self._leaves() if leaf._doc is None and not leaf.ignored}
        missing = set(leaves)

        def told() -> None:
            (on_error if on_error is not None and self.failed() else callback)(self)

        def tell(task_id: str, payload: bytes) -> None:
            leaves[task_id]._take(payload)
            missing.discard(task_id)
            if not missing:
                told()

        if leaves:
            self._watches = (*self._watches, self.backend.watch(list(leaves), tell))
        else:
            told()
        return self

    # -- acting

    def forget(self) -> None:
        """Delete the stored results."""
        leaves = self._leaves()
        for leaf in leaves:
            leaf._doc = None
        self.backend.forget([leaf.id for leaf in leaves])

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep every task of it from starting, all in one step; otherwise as ``AsyncResult.revoke``."""
        del connection
        ids, how = self._revoked_ids(), signal or "SIGTERM"
        self.app.control.revoke(ids, terminate=terminate, signal=how, reply=wait, timeout=timeout)

    def _revoked_ids(self) -> list[str]:
        return [leaf.id for leaf in self._leaves()]


class GroupResult(ResultSet[R]):
    """The results of a group, under the group's id."""

    parent: Any = None
    ignored = False

    def __init__(
        self, id: str | None = None, results: Iterable[Any] = (), parent: Any = None, app: Any = None, **more: Any
    ) -> None:
        if id is None:
            raise ValueError("a GroupResult needs the id of the group")
        super().__init__(results, app=app, **more)
        self.id = id
        if parent is not None:
            self.parent = parent

    @property
    def children(self) -> list[Any]:
        """The results of its members."""
        return self.results

    def _revoked_ids(self) -> list[str]:
        # The id of the group is its members' root if nothing stood before them: what follows them is meant, too.
        return [self.id, *super()._revoked_ids()]

    # -- as data

    def as_tuple(self) -> Any:
        """``((id, parent), members)``, the form in which results travel."""
        parent = self.parent.as_tuple() if self.parent is not None else None
        return group_tuple(self.id, [result.as_tuple() for result in self.results], parent)

    def as_list(self) -> list[str]:
        """The ids of the group's members and of its parents."""
        return [self.id, *(self.parent.as_list() if self.parent is not None else [])]

    def save(self, backend: Any = None) -> None:
        """Keep it in the result store, for ``restore``."""
        conf = self.app.conf
        payload = serializers.get(conf.result_serializer).dumps({"result": self.as_tuple()})
        (backend or self.backend).store_group(self.id, payload, conf.result_expires)

    def delete(self, backend: Any = None) -> None:
        """Delete what ``save`` kept."""
        (backend or self.backend).forget_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: Any = None, app: Any = None) -> Any:
        """The group that was saved under this id, or None."""
        app = app or get_current_app()
        payload = find_group(app, backend or app.backend, id)
        if payload is None:
            return None
        document = serializers.get(app.conf.result_serializer).loads(payload)
        return result_from_tuple(document["result"], app)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return other.id == self.id and other.results == self.results and other.parent == self.parent
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.id, self.results, self.parent)

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(r.id) for r in self.results)}]>"


def result_from_tuple(item: Any, app: Any = None) -> Any:
    """The result that ``as_tuple`` made ``item`` of: of a task, or of a group."""
    return item if isinstance(item, AsyncResult | ResultSet) else _from_node(read_tuple(item), app)


def _from_node(node: ResultNode, app: Any) -> Any:
    parent = _from_node(node.parent, app) if node.parent is not None else None
    if node.children is None:
        return AsyncResult(node.id, app=app, parent=parent)
    return GroupResult(node.id, [_from_node(child, app) for child in node.children], parent=parent, app=app)


def _state(leaf: AsyncResult[Any]) -> str:
    if leaf.ignored:
        return states.SUCCESS
    return leaf._doc.status if leaf._doc is not None else states.PENDING


def _with_bar(arrivals: Iterator[AsyncResult[Any]], total: int) -> Iterator[AsyncResult[Any]]:
    """The same arrivals, with a bar on the terminal that shows how many there were."""
    track = load("rich.progress", "rich").track
    yield from track(arrivals, description="tasks", total=total, transient=True)
