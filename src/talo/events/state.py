"""What events add up to: the workers and the tasks that a monitor knows.

Owns the sums, bounded in number; an event may come late, twice, or with nonsense in it. One task is ``events.task``'s,
one worker ``events.node``'s. Used by monitors, through ``app.events.State``."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from talo.events.node import Worker as _Worker
from talo.events.task import Task as _Task

__all__ = ["LRUCache", "State"]

_V = TypeVar("_V")


class LRUCache(OrderedDict[str, _V], Generic[_V]):
    """A dictionary that forgets what was not used for longest when it has more than ``limit`` entries."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def touch(self, key: str) -> _V | None:
        """Return the value and make it the youngest."""
        value = self.get(key)
        if value is not None:
            self.move_to_end(key)
        return value

    def __setitem__(self, key: str, value: _V) -> None:
        super().__setitem__(key, value)
        while self.limit and len(self) > self.limit:
            self.popitem(last=False)

    def __reduce__(self) -> Any:
        return _cache, (self.limit, list(self.items()))


def _cache(limit: int | None, items: Iterable[tuple[str, Any]]) -> LRUCache[Any]:
    cache: LRUCache[Any] = LRUCache(limit)
    cache.update(items)
    return cache


class State:
    """Workers by name and tasks by id, as the events of a fleet tell them.

    Any thread may read while one thread calls ``event``; ``freeze_while`` holds events up. ``callback(state, event)``
    hears of each event.
    """

    #: What is made for each new name and id.
    Worker: Any = _Worker
    Task: Any = _Task
    event_count = 0
    task_count = 0

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], Any] | None = None,
        workers: Mapping[str, _Worker] | None = None,
        tasks: Mapping[str, _Task] | None = None,
        taskheap: Any = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[_Worker], Any] | None = None,
        on_node_leave: Callable[[_Worker], Any] | None = None,
        tasks_by_type: Any = None,
        tasks_by_worker: Any = None,
    ) -> None:
        del taskheap, tasks_by_type, tasks_by_worker
        self.event_callback = callback
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.workers: LRUCache[_Worker] = _cache(max_workers_in_memory, (workers or {}).items())
        self.tasks: LRUCache[_Task] = _cache(max_tasks_in_memory, (tasks or {}).items())
        self.handlers: dict[str, Callable[..., Any]] = {}
        self._seen_types: set[str] = set()
        self._mutex = threading.RLock()

    # -- hearing

    def event(self, event: dict[str, Any]) -> tuple[Any, str]:
        """Take an event in; return (what it is about, its type). One without what it needs changes nothing."""
        with self._mutex:
            self.event_count += 1
            if self.event_callback is not None:
                self.event_callback(self, event)
            group, _, subject = str(event.get("type", "")).partition("-")
            if group == "worker" and isinstance(event.get("hostname"), str):
                return self.worker_event(subject, event)
            if group == "task" and isinstance(event.get("uuid"), str):
                return self.task_event(subject, event)
            handler = self.handlers.get(group)
            if handler is not None:
                handler(subject, event)
            return None, subject

    def worker_event(self, type_: str, fields: Mapping[str, Any]) -> tuple[tuple[_Worker, bool], str]:
        """Take in an event of a worker; return ((worker, whether it is new), type)."""
        worker, created = self.get_or_create_worker(fields["hostname"])
        worker.event(type_, fields)
        if type_ == "offline":
            self.workers.pop(worker.hostname, None)
            if self.on_node_leave is not None:
                self.on_node_leave(worker)
        elif created and self.on_node_join is not None:
            self.on_node_join(worker)
        return (worker, created), type_

    def task_event(self, type_: str, fields: Mapping[str, Any]) -> tuple[tuple[_Task, bool], str]:
        """Take in an event of a task; return ((task, whether it is new), type)."""
        task, created = self.get_or_create_task(fields["uuid"])
        hostname = fields.get("hostname")
        if type_ == "sent":
            task.client = hostname
        elif isinstance(hostname, str):
            task.worker = self.get_or_create_worker(hostname)[0]
        task.event(type_, fields)
        if type_ == "received":
            self.task_count += 1
        if task.name:
            self._seen_types.add(task.name)
        if task.parent_id and (parent := self.tasks.get(task.parent_id)) is not None:
            parent.children_ids.add(task.uuid)
        return (task, created), type_

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[_Worker, bool]:
        """Return the worker of this name and whether it is new."""
        worker = self.workers.touch(hostname)
        if worker is not None:
            if kwargs:
                worker.update(kwargs)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[_Task, bool]:
        """Return the task of this id and whether it is new."""
        task = self.tasks.touch(uuid)
        if task is not None:
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    # -- standing still

    def freeze_while(self, fun: Callable[..., Any], *args: Any, clear_after: bool = False, **kwargs: Any) -> Any:
        """Call ``fun`` while no event is taken in; with ``clear_after`` forget finished tasks then."""
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that have ended; without ``ready`` all of them."""
        with self._mutex:
            self._clear_tasks(ready)

    def clear(self, ready: bool = True) -> None:
        """Forget workers too, and the counts."""
        with self._mutex:
            self._clear(ready)

    def _clear_tasks(self, ready: bool = True) -> None:
        going = [uuid for uuid, task in self.tasks.items() if not ready or task.ready]
        for uuid in going:
            del self.tasks[uuid]

    def _clear(self, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0

    # -- asking

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        """(id, task), the latest first; the other way round without ``reverse``."""
        with self._mutex:
            ordered = sorted(self.tasks.values(), key=_order, reverse=reverse)
        return iter([(task.uuid, task) for task in ordered[:limit]])

    tasks_by_timestamp = tasks_by_time

    def tasks_by_type(self, name: str, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, _Task]]:
        """The same, of one name."""
        return self._chosen(lambda task: task.name == name, limit, reverse)

    def tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, _Task]]:
        """The same, of one worker."""
        return self._chosen(lambda task: task.worker is not None and task.worker.hostname == hostname, limit, reverse)

    def _chosen(self, wanted: Callable[[_Task], bool], limit: int | None, reverse: bool) -> Iterator[tuple[str, _Task]]:
        found = [(uuid, task) for uuid, task in self.tasks_by_time(reverse=reverse) if wanted(task)]
        return iter(found[:limit])

    def task_types(self) -> list[str]:
        """Every name that was seen."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[_Worker]:
        """The workers whose last heartbeat is fresh."""
        with self._mutex:
            return iter([worker for worker in self.workers.values() if worker.alive])

    def rebuild_taskheap(self, timetuple: Any = None) -> None:
        """Nothing to do: tasks are put into order when they are asked for."""
        del timetuple

    # -- as data

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> Any:
        return _state, (
            type(self),
            {
                "callback": self.event_callback,
                "workers": dict(self.workers),
                "tasks": dict(self.tasks),
                "max_workers_in_memory": self.max_workers_in_memory,
                "max_tasks_in_memory": self.max_tasks_in_memory,
                "on_node_join": self.on_node_join,
                "on_node_leave": self.on_node_leave,
            },
            (self.event_count, self.task_count, self._seen_types),
        )


def _state(cls: type[State], fields: dict[str, Any], counts: tuple[int, int, set[str]]) -> State:
    state = cls(**fields)
    state.event_count, state.task_count, state._seen_types = counts
    for task in state.tasks.values():
        task.cluster_state = state
    return state


def _order(task: _Task) -> tuple[int, float]:
    return task.clock, task.timestamp or 0.0
