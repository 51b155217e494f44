"""Where a call goes: from its options, its task and the settings to queues, exchange and routing key.

Owns the queues an app knows and the routers of ``task_routes``. Order of precedence, as Celery documents it: options
of the call, options of the task, routers, the default queue. Callers: ``app.send``; the worker asks ``Queues`` what it
consumes from.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from talo.errors import ImproperlyConfigured, QueueNotFound
from talo.util.names import import_path
from talo.wire.queues import Exchange, Queue, as_queue

__all__ = ["Queues", "Route", "Router", "worker_direct"]

#: What of a route or of a call decides the destination.
DESTINATION = ("queue", "exchange", "routing_key")
#: What stands before the name of a queue whose tasks have moved to Talo (setting ``task_cutover``).
MOVED = "talo."
#: The suffix that Celery gives to a worker's own queue.
DIRECT_SUFFIX = ".dq2"


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue that only the worker of this node name consumes from (setting ``worker_direct``)."""
    if isinstance(hostname, Queue):
        return hostname
    return Queue(f"{hostname}{DIRECT_SUFFIX}", exchange=Exchange("C.dq2", type="direct"), routing_key=hostname)


class Queues(dict[str, Queue]):
    """The queues of an app by name (and by alias), and those a worker consumes from.

    Reading a name that is not there makes such a queue, unless ``create_missing`` is off: then it raises
    ``QueueNotFound``.
    """

    def __init__(
        self,
        queues: Iterable[Any] | Mapping[str, Any] | None = None,
        *,
        default_exchange: Exchange | None = None,
        default_routing_key: str | None = None,
        create_missing: bool = True,
        max_priority: int | None = None,
    ) -> None:
        super().__init__()
        self.default_exchange = default_exchange
        self.default_routing_key = default_routing_key
        self.create_missing = create_missing
        self.max_priority = max_priority
        self._selected: dict[str, Queue] | None = None
        if isinstance(queues, Mapping):
            for name, options in queues.items():
                self.add(name, **options) if isinstance(options, Mapping) else self.add(options)
        else:
            for queue in queues or ():
                self.add(queue)

    def __missing__(self, name: str) -> Queue:
        if not self.create_missing:
            raise QueueNotFound(
                f"queue {name!r} is not in task_queues ({', '.join(sorted(self)) or 'which is empty'}) and "
                "task_create_missing_queues is off"
            )
        return self.add(self.new_missing(name))

    def new_missing(self, name: str) -> Queue:
        """A queue of that name with an exchange and key of the same name."""
        return Queue(name, exchange=Exchange(name, type="direct"), routing_key=name)

    def add(self, queue: Any, **options: Any) -> Queue:
        """Add a queue object, or one made from a name and options; return it."""
        if isinstance(queue, str):
            exchange = options.pop("exchange", None)
            kind = options.pop("exchange_type", None)
            options.setdefault("routing_key", options.pop("binding_key", None))
            if isinstance(exchange, str) or kind:
                exchange = Exchange(exchange or queue, type=kind or "direct")
            queue = Queue(queue, exchange=exchange, **options)
        made = self._completed(as_queue(queue))
        self[made.name] = made
        if made.alias:
            self[made.alias] = made
        if self._selected is not None:
            self._selected.setdefault(made.name, made)
        return made

    def _completed(self, queue: Queue) -> Queue:
        if not queue.exchange.name and self.default_exchange is not None:
            queue.exchange = self.default_exchange
        if not queue.routing_key:
            queue.routing_key = self.default_routing_key or queue.name
        if self.max_priority is not None and queue.max_priority is None:
            queue.max_priority = self.max_priority
        return queue

    def select(self, names: str | Iterable[str]) -> None:
        """Consume from these queues only (``-Q``); missing ones are made."""
        wanted = [n for n in names.split(",") if n] if isinstance(names, str) else list(names)
        # Under its own name, also where an alias (a broadcast's) was given.
        self._selected = {queue.name: queue for queue in map(self.__getitem__, wanted)}

    def select_add(self, queue: Any, **options: Any) -> Queue:
        """Consume from one more queue."""
        made = self.add(queue, **options)
        if self._selected is not None:
            self._selected[made.name] = made
        return made

    def deselect(self, names: str | Iterable[str]) -> None:
        """Do not consume from these queues (``-X``)."""
        unwanted = {n for n in names.split(",") if n} if isinstance(names, str) else set(names)
        self._selected = {
            name: queue for name, queue in self.consume_from.items() if not {name, queue.alias} & unwanted
        }

    def select_moved(self) -> None:
        """Consume, in place of each queue, from the one that its moved tasks go to."""
        names = dict.fromkeys(queue.name for queue in self.values())
        self.select([moved(name) for name in names])

    @property
    def consume_from(self) -> dict[str, Queue]:
        """What a worker consumes from: the selected queues, else all."""
        if self._selected is not None:
            return self._selected
        return {queue.name: queue for queue in self.values()}

    def bound(self, exchange: str, routing_key: str) -> list[Queue]:
        """The queues that an exchange passes this key to, by the rules of AMQP."""
        if not exchange:
            return [self[routing_key]]
        seen = {q.name: q for q in self.values() if q.exchange.name == exchange}
        return [q for q in seen.values() if _passes(q.exchange.type, q.routing_key, routing_key)]


def moved(queue: str) -> str:
    """The queue that the moved tasks of a queue go to."""
    return queue if queue.startswith(MOVED) else f"{MOVED}{queue}"


def _passes(kind: str, pattern: str | None, key: str) -> bool:
    if kind == "fanout":
        return True
    if kind == "topic":
        return _topic(pattern or "").fullmatch(key) is not None
    return pattern == key


def _topic(pattern: str) -> re.Pattern[str]:
    """AMQP topic patterns: words between dots, ``*`` one word, ``#`` any number of them."""
    parts = [r"[^.]+" if w == "*" else r"#" if w == "#" else re.escape(w) for w in pattern.split(".")]
    text = r"\.".join(parts)
    text = text.replace(r"\.#\.", r"(?:\.[^.]+)*\.").replace(r"#\.", r"(?:[^.]+\.)*").replace(r"\.#", r"(?:\.[^.]+)*")
    return re.compile(text.replace("#", r".*"))


class Route(NamedTuple):
    """A destination: the queues that get a copy each (nearly always one), the delivery facts, and further options
    of the route."""

    queues: tuple[str, ...]
    exchange: str
    routing_key: str
    options: dict[str, Any]


class _MapRoute:
    """Names, globs and compiled patterns → destinations; exact names first, then patterns in their order."""

    static = True

    def __init__(self, pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        self.exact: dict[str, Any] = {}
        self.patterns: list[tuple[re.Pattern[str], Any]] = []
        for key, route in pairs.items() if isinstance(pairs, Mapping) else pairs:
            if isinstance(key, re.Pattern):
                self.patterns.append((key, route))
            elif any(c in key for c in "*?["):
                self.patterns.append((re.compile(fnmatch.translate(key)), route))
            else:
                self.exact[key] = route

    def __call__(self, name: str, *_: Any, **__: Any) -> Any:
        if name in self.exact:
            return self.exact[name]
        return next((route for pattern, route in self.patterns if pattern.match(name)), None)


def _routers(routes: Any) -> list[Callable[..., Any]]:
    """Turn any form of ``task_routes`` into functions ``(name, args, kwargs, options, task=None)``."""
    if routes is None:
        return []
    if not isinstance(routes, list | tuple) or _is_pairs(routes):
        routes = (routes,)
    return [_router(route) for route in routes]


def _is_pairs(routes: Any) -> bool:
    return (
        isinstance(routes, list | tuple)
        and bool(routes)
        and all(
            isinstance(item, list | tuple)
            and len(item) == 2
            and isinstance(item[0], str | re.Pattern)
            and (item[1] is None or isinstance(item[1], str | Mapping))
            for item in routes
        )
    )


def _router(route: Any) -> Callable[..., Any]:
    if isinstance(route, Mapping) or _is_pairs(route):
        return _MapRoute(route)
    if isinstance(route, str):
        try:
            route = import_path(route)
        except (ImportError, AttributeError) as exc:
            raise ImproperlyConfigured(f"task_routes: cannot import router {route!r}: {exc}") from exc
        if isinstance(route, Mapping):
            return _MapRoute(route)
    if isinstance(route, type):
        route = route()
    method = getattr(route, "route_for_task", None)
    if method is not None:
        return lambda name, args, kwargs, *_, **__: method(name, args, kwargs)
    if not callable(route):
        raise ImproperlyConfigured(f"task_routes: {route!r} is no mapping, function, router object or path of one")
    return route  # type: ignore[no-any-return]


class Router:
    """Finds the destination of each call; made from the settings, and made anew when they change."""

    def __init__(self, conf: Any) -> None:
        default_queue = conf.task_default_queue
        self.default_queue: str = default_queue
        kind = conf.task_default_exchange_type or "direct"
        self.default_exchange = Exchange(conf.task_default_exchange or default_queue, type=kind)
        self.default_key: str = conf.task_default_routing_key or default_queue
        self.queues = Queues(
            conf.task_queues or (Queue(default_queue, exchange=self.default_exchange, routing_key=self.default_key),),
            default_exchange=self.default_exchange,
            default_routing_key=self.default_key,
            create_missing=conf.task_create_missing_queues,
            max_priority=conf.task_queue_max_priority,
        )
        if conf.task_cutover:
            self.queues.select_moved()
        self._cutover = _MapRoute((pattern, True) for pattern in conf.task_cutover)
        self._routers = _routers(conf.task_routes)
        self.static = all(isinstance(r, _MapRoute) for r in self._routers)
        self._known: dict[tuple[str, Any], Route] = {}

    def route(self, name: str, options: Mapping[str, Any], args: Any, kwargs: Any, task: Any = None) -> Route:
        """The destination of one call. Answers that depend on nothing but the task's name and queue are remembered."""
        queue = options.get("queue")
        simple = (
            self.static
            and (queue is None or type(queue) is str)
            and options.get("exchange") is None
            and options.get("routing_key") is None
        )
        if not simple:
            return self._find(name, options, args, kwargs, task)
        known = self._known.get((name, queue))
        if known is None:
            known = self._find(name, {"queue": queue}, args, kwargs, task)
            if len(self._known) < 10_000:  # names come from callers of send_task and must not grow without bound
                self._known[name, queue] = known
        return known

    def _find(self, name: str, options: Mapping[str, Any], args: Any, kwargs: Any, task: Any) -> Route:
        chosen = self._ask(name, options, args, kwargs, task)
        if any(options.get(key) is not None for key in DESTINATION):
            # The call's own destination replaces the route's; the route's other options stay.
            explicit = {key: options[key] for key in DESTINATION if options.get(key) is not None}
            if "queue" not in explicit and "exchange" not in explicit:
                explicit = {**{k: chosen[k] for k in DESTINATION if k in chosen}, **explicit}
            target = explicit
        else:
            target = {k: chosen[k] for k in DESTINATION if chosen.get(k) is not None}
        further = {k: v for k, v in chosen.items() if k not in DESTINATION}
        route = self._resolve(name, target, further)
        if not self.moves(name):
            return route
        queues = tuple(moved(queue) for queue in route.queues)
        return Route(queues, "", queues[0], route.options)

    def moves(self, name: str) -> bool:
        """Whether calls of this task go to Talo's queues while a fleet moves (setting ``task_cutover``)."""
        return self._cutover(name) is not None

    def _ask(self, name: str, options: Mapping[str, Any], args: Any, kwargs: Any, task: Any) -> dict[str, Any]:
        for router in self._routers:
            answer = router(name, args or (), kwargs or {}, dict(options), task=task)
            if answer is None:
                continue
            if isinstance(answer, Mapping):
                return dict(answer)
            return {"queue": answer}
        return {}

    def _resolve(self, name: str, target: Mapping[str, Any], further: dict[str, Any]) -> Route:
        queue, exchange, key = (target.get(k) for k in DESTINATION)
        exchange = getattr(exchange, "name", exchange)
        if queue is None and exchange is not None:
            return self._through_exchange(name, exchange, key, further)
        if queue is None and key is not None:
            found = self.queues.bound(self.default_exchange.name, key)
            if found:
                return Route(tuple(q.name for q in found), self.default_exchange.name, key, further)
        made = self.queues[queue or self.default_queue] if queue is None or isinstance(queue, str) else as_queue(queue)
        if made.exchange.type == "direct" and (exchange is None or key is None):
            # A direct queue is reached through AMQP's default exchange, by its name, whatever key is given beside it.
            return Route((made.name,), "", made.name, further)
        exchange, key = exchange or made.exchange.name, key or made.routing_key or made.name
        # A queue of a topic or fanout exchange names the exchange; the key decides who gets a copy.
        found = self.queues.bound(exchange, key) or [made]
        return Route(tuple(q.name for q in found), exchange, key, further)

    def _through_exchange(self, name: str, exchange: str, key: str | None, further: dict[str, Any]) -> Route:
        key = key or self.default_key
        found = self.queues.bound(exchange, key)
        if not found:
            raise QueueNotFound(
                f"task {name}: no queue of task_queues is bound to exchange {exchange!r} with a key that takes "
                f"{key!r}, so nobody would ever get it"
            )
        return Route(tuple(q.name for q in found), exchange, key, further)
