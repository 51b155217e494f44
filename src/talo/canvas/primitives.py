"""What several calls make together: chain, group, chord, and the bulk forms map, starmap and chunks.

Owns their shape as data and the fixing of ids (``freeze``); the rules of ``|`` are ``algebra``'s, what is to be sent
``plan``'s, sending the app's. Callers: user code, and ``plan``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from talo.canvas.algebra import members_of, normal
from talo.canvas.members import Members, read
from talo.canvas.place import Place
from talo.canvas.signature import Signature, maybe_signature

__all__ = ["BULK", "MAP", "chain", "chord", "chunks", "group", "xmap", "xstarmap"]

#: The tasks that call another one for each of many arguments: one argument an item, or all arguments of one call.
MAP, STARMAP, CHUNKS = BULK = ("celery.map", "celery.starmap", "celery.chunks")


def _signatures(tasks: Iterable[Any], app: Any) -> list[Signature]:
    return [_signature(task, app) for task in tasks]


def _signature(task: Any, app: Any) -> Signature:
    signature = task if isinstance(task, Signature) else maybe_signature(task, app=app)
    if not isinstance(signature, Signature):
        made = getattr(signature, "s", None)
        if made is None:
            raise TypeError(f"a workflow is made of signatures, not of {task!r}")
        signature = made()
    return signature.group() if isinstance(signature, chunks) else signature


def _given(tasks: tuple[Any, ...]) -> Iterable[Any]:
    """The tasks, given one by one or as one iterable."""
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping) and isinstance(tasks[0], Iterable):
        return tasks[0]
    return tasks


class _Composed(Signature):
    """Several calls that are sent as one."""

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it with these further arguments and options; return the handle of its last result."""
        if route_name is not None:
            options["route_name"] = route_name
        return self.app.send_workflow(self, args, kwargs, options)

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now, with all that follows; return the handle of its last result."""
        return self.app.apply_workflow(self, args, kwargs, options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it."""
        return self.apply_async(args, kwargs)

    @property
    def app(self) -> Any:
        """Its own app, else that of one of its tasks, else the current one."""
        known = self._known_app()
        return known if known is not None else Signature.app.fget(self)  # type: ignore[attr-defined]

    def _known_app(self) -> Any:
        if self._app is not None:
            return self._app
        return next((app for each in self._some() if (app := each._known_app()) is not None), None)

    @property
    def type(self) -> Any:
        """The task object of its name, if the app has one."""
        return self.app.tasks.get(self["task"])

    def _inner(self) -> list[Signature]:
        return list(self["kwargs"].get("tasks") or ())

    def _some(self) -> Iterable[Signature]:
        """Enough of what it is made of to know the app by."""
        return self._inner()

    def flatten_links(self) -> list[Any]:
        """Every callback linked to it and to what it is made of."""
        return [*super().flatten_links(), *itertools.chain.from_iterable(t.flatten_links() for t in self._inner())]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        del memo
        return self.clone()


@Signature.register_type()
class chain(_Composed):
    """Calls one after the other; each gets the result of the one before as its first argument."""

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        steps = normal(_signatures(_given(tasks), app))
        super().__init__("celery.chain", (), {"tasks": steps}, options=options, subtask_type="chain", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """Its steps."""
        return self["kwargs"]["tasks"]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"]["tasks"] = normal(_signatures(tasks, self._app))

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Return the chain that the dict describes; nothing in it is shared with the dict."""
        kwargs = dict(d.get("kwargs") or {})
        tasks = _signatures(kwargs.pop("tasks", None) or (), app)
        made = cls(*(task.clone() for task in tasks), app=app)
        made["kwargs"] = {**kwargs, **made["kwargs"]}
        return _with_rest(made, d)

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its steps, each with the error callbacks of the chain."""
        tasks = [task.clone() for task in self.tasks]
        for task in tasks:
            for errback in self.options.get("link_error") or ():
                task.link_error(errback)
        return tasks

    def _freeze_at(self, place: Place) -> Any:
        """Fix the ids of all its steps; return the handle of the last result, whose parents are the others."""
        previous = None
        if not self.tasks:
            return None
        *steps, last = self.tasks
        for step in steps:
            previous = _after(previous, step.freeze(root_id=place.root_id))
        end = place._replace(
            id=place.id or self.options.pop("task_id", None),
            parent_id=place.parent_id if not steps else None,
        )
        return _after(previous, last._freeze_at(end))

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or f"<{type(self).__name__}: empty>"


@Signature.register_type()
class group(_Composed):
    """Calls that run beside each other. Called with arguments, each member takes them.

    The members of an iterator that has more than ten thousand are read when the group is sent, and not kept.
    """

    def __init__(self, *tasks: Any, **options: Any) -> None:
        app = options.pop("app", None)
        given = _given(tasks)
        if isinstance(given, group):
            given = given.tasks
        members = (
            read(_signature(task, app) for task in given) if isinstance(given, Iterator) else _signatures(given, app)
        )
        super().__init__("celery.group", (), {"tasks": members}, options=options, subtask_type="group", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """Its members."""
        members = self["kwargs"]["tasks"]
        if isinstance(members, Members):
            members = self["kwargs"]["tasks"] = members.listed()
        return members  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, tasks: Iterable[Any]) -> None:
        self["kwargs"]["tasks"] = _signatures(tasks, self._app)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Return the group that the dict describes; nothing in it is shared with the dict."""
        tasks = _signatures((d.get("kwargs") or {}).get("tasks") or (), app)
        return _with_rest(cls(*([task.clone() for task in tasks],), app=app), d)

    @property
    def streamed(self) -> Members | None:
        """Its members if they can be sent without being kept."""
        members = self["kwargs"]["tasks"]
        return members if isinstance(members, Members) else None

    def _some(self) -> Iterable[Signature]:
        members = self.streamed
        return self._inner() if members is None else (members.first,)

    def __reduce__(self) -> tuple[Any, ...]:
        self["kwargs"]["tasks"] = self.tasks  # an iterator cannot be pickled
        return super().__reduce__()

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Give the members countdowns from ``start`` on, ``step`` seconds apart, beginning again after ``stop``;
        return itself."""
        values = itertools.count(start, step) if stop is None else itertools.cycle(_range(start, stop, step))
        for member, countdown in zip(self.tasks, values, strict=False):
            member.set(countdown=countdown)
        return self

    def link(self, callback: Any) -> Any:
        """Link to the first member: a group has no result of its own. The callback takes no argument of it."""
        return self.tasks[0].link(maybe_signature(callback, self._app, clone=True).set(immutable=True))

    def link_error(self, errback: Any) -> Any:
        """Link to every member."""
        errback = maybe_signature(errback, self._app, clone=True).set(immutable=True)
        for member in self.tasks:
            member.link_error(errback)
        return errback

    def _freeze_at(self, place: Place) -> Any:
        """Fix the ids of the group and of its members; return the handle of the group."""
        gid = self.options.setdefault("task_id", place.id or str(uuid4()))
        members = self["kwargs"]["tasks"] = members_of(self)
        results = [
            member.freeze(group_id=gid, root_id=place.root_id, parent_id=place.parent_id, group_index=index)
            for index, member in enumerate(members)
        ]
        return self.app.GroupResult(gid, results)

    def set_immutable(self, immutable: bool) -> None:
        """Let all members ignore later arguments, or take them again."""
        for member in self.tasks:
            member.set_immutable(immutable)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"group({self.tasks!r})"


@Signature.register_type()
class chord(_Composed):
    """A group, and a body that is called with the list of its results once all members have succeeded."""

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        del args
        header = header if isinstance(header, group) else group(header, app=app)
        if body is not None:
            [body] = _signatures([body], app)
        fields = {"kwargs": dict(kwargs or {}), "header": header, "body": body}
        super().__init__(task, (), fields, options=options, subtask_type="chord", app=app)

    @property
    def tasks(self) -> group:
        """Its header."""
        return self["kwargs"]["header"]  # type: ignore[no-any-return]

    @tasks.setter
    def tasks(self, header: Any) -> None:
        self["kwargs"]["header"] = header if isinstance(header, group) else group(header, app=self._app)

    header = tasks

    @property
    def body(self) -> Any:
        """What is called with the results."""
        return self["kwargs"]["body"]

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = body

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Return the chord that the dict describes; nothing in it is shared with the dict."""
        fields = d.get("kwargs") or {}
        header, body = fields.get("header") or (), fields.get("body")
        if isinstance(header, Mapping):
            header = maybe_signature(header, app, clone=True)
        else:
            header = group([task.clone() for task in _signatures(header, app)], app=app)
        body = None if body is None else _signatures([body], app)[0].clone()
        return _with_rest(cls(header, body, kwargs=fields.get("kwargs"), app=app), d)

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body if one is given."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it; return the handle of the body's result, whose parent is the header's."""
        more = dict(kwargs or {})
        body = more.pop("body", None)
        whole = self if body is None else chord(self.tasks, body, kwargs=self["kwargs"]["kwargs"], app=self._app)
        if whole is not self:
            whole.options.update(self.options)
        if whole.body is None:
            raise TypeError("a chord needs a body: chord(header)(body)")
        return super(chord, whole).apply_async(args, more, route_name, **options)

    def link(self, callback: Any) -> Any:
        """Link to the body."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Link to the body; with ``task_allow_error_cb_on_chord_header`` to every member of the header too."""
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for member in self.tasks.tasks:
                member.link_error(maybe_signature(errback, self._app, clone=True).set(immutable=True))
        self.body.link_error(errback)
        return errback

    def _freeze_at(self, place: Place) -> Any:
        """Fix all ids; return the handle of the body's result, whose parent is the header's."""
        header = self.tasks.freeze(parent_id=place.parent_id, root_id=place.root_id)
        own_id = place.id or self.options.pop("task_id", None)
        if own_id == header.id:  # so Celery names a chord; the body has its own id then
            own_id = None
        return _after(header, self.body._freeze_at(place._replace(id=own_id, parent_id=None)))

    def set_immutable(self, immutable: bool) -> None:
        """Let the body ignore the results, or take them again."""
        self.body.set_immutable(immutable)

    def __length_hint__(self) -> int:
        return len(self.tasks)

    def _inner(self) -> list[Signature]:
        return [*self.tasks.tasks, *([self.body] if self.body is not None else [])]

    def __repr__(self) -> str:
        body = self.body
        return f"chord({self.tasks.tasks!r}, {body!r})" if body is not None else f"<chord without body: {self.tasks!r}>"


class _Bulk(Signature):
    """One task that calls another for each of many arguments."""

    _name = ""

    def __init__(self, task: Any, it: Iterable[Any] = (), app: Any = None, **options: Any) -> None:
        kwargs = {"task": _signatures([task], app)[0], "it": list(it)}
        super().__init__(self._name, (), kwargs, options=options, immutable=True, app=app)


class xmap(_Bulk):
    """One task that calls ``task`` with each item and returns the list of what came out."""

    _name = MAP


class xstarmap(_Bulk):
    """The same with each item as the arguments."""

    _name = STARMAP


class chunks(Signature):
    """Many calls of one task, ``n`` of them in a message."""

    def __init__(self, task: Any, it: Iterable[Any] = (), n: int = 1, app: Any = None, **options: Any) -> None:
        kwargs = {"task": _signatures([task], app)[0], "it": list(it), "n": n}
        super().__init__(CHUNKS, (), kwargs, options=options, immutable=True, app=app)

    def group(self) -> group:
        """The group of starmaps that it stands for."""
        task, it, n = self["kwargs"]["task"], iter(self["kwargs"]["it"]), self["kwargs"]["n"]
        parts = iter(lambda: list(itertools.islice(it, n)), [])
        return group([xstarmap(task, part, app=self._app) for part in parts], app=self._app)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send the group; return its handle."""
        return self.group().apply_async(args, kwargs, route_name, **{**self.options, **options})

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the group here and now."""
        return self.group().apply(args, kwargs, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it."""
        del args
        return self.apply_async(**options)


def _with_rest(made: Signature, d: Mapping[str, Any]) -> Signature:
    """Give a composed signature what its dict says beside its parts."""
    made["args"] = tuple(d.get("args") or ())
    made["options"] = dict(d.get("options") or {})
    made["immutable"] = bool(d.get("immutable"))
    return made


def _after(previous: Any, result: Any) -> Any:
    """Make ``previous`` the parent of the first result among the parents of ``result``; return ``result``."""
    if previous is None:
        return result
    first = result
    while first.parent is not None:
        first = first.parent
    if first is not previous:
        first.parent = previous
    return result


def _range(start: float, stop: float, step: float) -> list[float]:
    values = []
    while start < stop:
        values.append(start)
        start += step
    return values
