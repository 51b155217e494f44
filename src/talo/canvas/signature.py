"""A task call as data: what to call, with which arguments and options, to be sent now, later, or by somebody else.

Owns the dict form (it travels inside messages, so it stays plain JSON), partial arguments and the register of forms
that grow from it (``subtask_type``). Does not know how anything is sent: that is asked of the app that the signature
was made for. Callers: user code,
``app.task`` (``.s()``, ``.si()``), ``app.send`` and ``execution`` (callbacks).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, ClassVar, Protocol, TypeVar
from uuid import uuid4

from talo.canvas.algebra import join
from talo.canvas.place import Place
from talo.canvas.stamping import StampingVisitor, stamp, stamp_links
from talo.errors import NotRegistered

__all__ = ["SignatureApp", "Signature", "maybe_signature", "signature", "subtask", "use_app_source"]

S = TypeVar("S", bound="Signature")
Maker = TypeVar("Maker", bound="type[Signature]")


class SignatureApp(Protocol):
    """What a signature asks of its app."""

    @property
    def tasks(self) -> Mapping[str, Any]: ...
    @property
    def thread_oid(self) -> str: ...
    @property
    def secrets(self) -> Any: ...
    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any: ...
    def AsyncResult(self, id: str) -> Any: ...
    def GroupResult(self, id: str, results: Any) -> Any: ...
    def send_workflow(self, signature: Any, args: Any, kwargs: Any, options: Any) -> Any: ...
    def apply_workflow(self, signature: Any, args: Any, kwargs: Any, options: Any) -> Any: ...


def _no_app() -> SignatureApp:
    raise RuntimeError("this signature belongs to no app, and none has been created yet")


class _Source:
    """Where signatures without an app of their own find one; ``app.current`` sets it."""

    get: Callable[[], Any] = staticmethod(_no_app)


def use_app_source(get: Callable[[], Any]) -> None:
    """Let signatures that were made without an app ask ``get()`` for one when they need it."""
    _Source.get = staticmethod(get)


class Signature(dict[str, Any]):
    """One call of one task. Keys: ``task, args, kwargs, options, subtask_type, immutable``.

    A mutable signature takes further arguments when it is called (they go in front, as the result of the task before
    does); an immutable one ignores them.
    """

    #: Classes by ``subtask_type``.
    TYPES: ClassVar[dict[str, type[Signature]]] = {}

    _app: Any = None
    _type: Any = None

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Any = None,
        **more: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        name = task
        if not isinstance(task, str) and task is not None:
            self._type = task
            name = task.name
        elif type is not None:
            self._type = type
        super().__init__(
            task=name,
            args=tuple(args or ()),
            kwargs=dict(kwargs) if kwargs else {},
            options={**options, **more} if options else more,
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # -- what it holds

    @property
    def task(self) -> str:
        """The name of the task."""
        return self["task"]  # type: ignore[no-any-return]

    @task.setter
    def task(self, value: str) -> None:
        self["task"] = value

    @property
    def name(self) -> str:
        """The name of the task."""
        return self["task"]  # type: ignore[no-any-return]

    @property
    def args(self) -> Any:
        """Positional arguments so far."""
        return self["args"]

    @args.setter
    def args(self, value: Any) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments so far."""
        return self["kwargs"]  # type: ignore[no-any-return]

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self["kwargs"] = value

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``apply_async``."""
        return self["options"]  # type: ignore[no-any-return]

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def subtask_type(self) -> str | None:
        """Which composed form this is; None for a plain call."""
        return self.get("subtask_type")

    @subtask_type.setter
    def subtask_type(self, value: str | None) -> None:
        self["subtask_type"] = value

    @property
    def immutable(self) -> bool:
        """Whether arguments given later are ignored."""
        return bool(self.get("immutable"))

    @immutable.setter
    def immutable(self, value: bool) -> None:
        self["immutable"] = value

    @property
    def id(self) -> str | None:
        """The task id, once frozen."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sends this one, once known."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """The id of the first task of the workflow, once known."""
        return self.options.get("root_id")

    @property
    def app(self) -> Any:
        """The app that sends it: its own, or the current one."""
        return self._app if self._app is not None else _Source.get()

    def _known_app(self) -> Any:
        """Its own app, or None."""
        return self._app

    @property
    def type(self) -> Any:
        """The task object. ``NotRegistered`` if this process does not know the task."""
        if self._type is not None:
            return self._type
        try:
            return self.app.tasks[self["task"]]
        except KeyError:
            raise NotRegistered(self["task"]) from None

    # -- sending

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """``apply_async`` with these further arguments."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        route_name: str | None = None,
        **options: Any,
    ) -> Any:
        """Send it with these further arguments and options; return the result handle.

        A task that this process does not know is sent by its name.
        """
        all_args, all_kwargs, all_options = self._merge(args, kwargs, options)
        if route_name is not None:
            all_options["route_name"] = route_name
        task = self._type if self._type is not None else self.app.tasks.get(self["task"])
        if task is None:
            return self.app.send_task(self["task"], all_args, all_kwargs, **all_options)
        return task.apply_async(all_args, all_kwargs, **all_options)

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now; return an ``EagerResult``."""
        all_args, all_kwargs, all_options = self._merge(args, kwargs, options)
        return self.type.apply(all_args, all_kwargs, **all_options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task's function here, without a message and without a result."""
        all_args, all_kwargs, _ = self._merge(args, kwargs, None)
        return self.type(*all_args, **all_kwargs)

    def __or__(self, other: Any) -> Any:
        """``a | b``: first this, then ``other`` with its result. Neither is changed."""
        if not isinstance(other, Signature):
            if not isinstance(other, Mapping):
                return NotImplemented
            other = Signature.from_dict(other, app=self._app)
        return join([self, other])

    def __invert__(self) -> Any:
        """Send it and wait for its value."""
        return self.apply_async().get()

    def _merge(
        self, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
        own_args, own_kwargs, own_options = self["args"] or (), self["kwargs"] or {}, self["options"] or {}
        merged_options = {**own_options, **options} if options else dict(own_options)
        if self.get("immutable"):
            return tuple(own_args), dict(own_kwargs), merged_options
        return (
            (*args, *own_args) if args else tuple(own_args),
            {**own_kwargs, **kwargs} if kwargs else dict(own_kwargs),
            merged_options,
        )

    # -- deriving

    def clone(self: S, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> S:
        """Return a copy with further arguments and options. Nothing in it is shared with this one."""
        all_args, all_kwargs, all_options = self._merge(args, kwargs, options)
        fields = {
            **self,
            "args": all_args,
            "kwargs": all_kwargs,
            "options": copy.deepcopy(all_options),
        }
        twin = self.from_dict(fields, app=self._app)
        twin._type = self._type
        return twin  # type: ignore[return-value]

    partial = clone

    def replace(self: S, args: Any = None, kwargs: Any = None, options: Any = None) -> S:
        """Return a copy in which what is given *replaces* arguments, keywords or options."""
        twin = self.clone()
        if args is not None:
            twin.args = args
        if kwargs is not None:
            twin.kwargs = kwargs
        if options is not None:
            twin.options = options
        return twin

    def set(self: S, immutable: bool | None = None, **options: Any) -> S:
        """Change options in place; return itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Ignore later arguments, or take them again."""
        self["immutable"] = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Fix the task id (and the place in a workflow) before sending; return the result handle of that id."""
        return self._freeze_at(Place(_id, group_id, chord, root_id, parent_id, group_index))

    _freeze = freeze

    def _freeze_at(self, place: Place) -> Any:
        options = self["options"]
        tid = options.setdefault("task_id", place.id or str(uuid4()))
        options.setdefault("reply_to", self.app.thread_oid)
        options.update(place.options())
        if place.group_id:
            options.setdefault("group_id", place.group_id)
        return self.app.AsyncResult(tid)

    # -- callbacks

    def link(self, callback: Any) -> Any:
        """Send ``callback`` with the return value when this succeeds; return ``callback``. Adding it twice does
        nothing."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Send ``errback`` when this fails; return ``errback``. Adding it twice does nothing."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self: S, errback: Any) -> S:
        """``link_error`` that returns this signature."""
        self.link_error(errback)
        return self

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> None:
        """Put stamps on this and all that it is made of: those that ``visitor`` says, and ``headers``."""
        stamp(self, visitor, append_stamps, headers)

    def stamp_links(self, visitor: StampingVisitor | None, append_stamps: bool = False, **headers: Any) -> None:
        """Put stamps on what is linked to this, callbacks and error callbacks, and not on itself."""
        stamp_links(self, visitor, append_stamps, headers)

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Append to a list option unless it is there already; return ``value``."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Append one or several values to a list option."""
        self._list_option(key).extend(value if isinstance(value, list | tuple | set) else [value])

    def _list_option(self, key: str) -> list[Any]:
        # A tuple or a lone signature may stand there, given by the user or read from a message.
        items = self.options.get(key)
        if not isinstance(items, list):
            items = [] if items is None else list(items) if isinstance(items, tuple | set) else [items]
            self.options[key] = items
        return items

    def flatten_links(self) -> list[Any]:
        """This signature and, recursively, every callback linked to it."""
        links = self.options.get("link") or []
        inner = (
            maybe_signature(link, app=self._app) for link in (links if isinstance(links, list | tuple) else [links])
        )
        return [self, *itertools.chain.from_iterable(link.flatten_links() for link in inner)]

    # -- as data

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[Maker], Maker]:
        """Class decorator: ``from_dict`` makes dicts whose ``subtask_type`` is ``name`` (else the class name) of
        this class."""

        def register(subclass: Maker) -> Maker:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> Signature:
        """Return the signature that the dict describes, of the class its ``subtask_type`` names."""
        kind = d.get("subtask_type")
        maker = Signature.TYPES.get(kind) if kind else None
        if maker is not None and maker is not cls and maker.from_dict.__func__ is not Signature.from_dict.__func__:  # type: ignore[attr-defined]
            return maker.from_dict(d, app=app)
        target = maker or Signature
        made = target.__new__(target)
        dict.__init__(made, d)
        made._app = app
        for key, empty in (("args", ()), ("kwargs", {}), ("options", {})):
            if made.get(key) is None:
                made[key] = copy.copy(empty)
        made.setdefault("subtask_type", None)
        made.setdefault("immutable", False)
        return made

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self),)

    def __copy__(self: S) -> S:
        return self._twin(dict(self))

    def __deepcopy__(self: S, memo: dict[int, Any]) -> S:
        return self._twin(copy.deepcopy(dict(self), memo))

    def _twin(self: S, fields: dict[str, Any]) -> S:
        twin = type(self).__new__(type(self))
        dict.__init__(twin, fields)
        twin._app, twin._type = self._app, self._type
        return twin

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as Python text, with these further arguments."""
        all_args, all_kwargs, _ = self._merge(args, kwargs, None)
        all_args, all_kwargs = self.app.secrets.shown(self["task"], all_args, all_kwargs, partial=not self.immutable)
        inner = [repr(a) for a in all_args] + [f"{k}={v!r}" for k, v in all_kwargs.items()]
        return f"{self['task']}({', '.join(inner)})"

    def __repr__(self) -> str:
        return self.reprcall()


def _rebuild(fields: dict[str, Any]) -> Signature:
    return Signature.from_dict(fields)


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature:
    """Make a signature of a task, its name, or a dict; a signature is copied.

    With a task or name: ``signature("add", args=(2, 2), countdown=10)``; any keyword of ``Signature`` is taken.
    """
    app = kwargs.get("app")
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=app)
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """Turn a dict into a signature, leave None alone, and give an app to a signature that has none."""
    if d is None:
        return None
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, MutableMapping):
        d = Signature.from_dict(d, app=app)
    if app is not None and isinstance(d, Signature):
        d._app = app
    return d
