"""Which app and which task are the current ones, and the proxies through which user code reaches them.

Owns the process-wide current and default app, the list of living apps, and what ``shared_task`` and ``shared=True``
promise to apps that come later. Nothing inside Talo reads the current app: it serves module-level user code
(``current_app``, ``shared_task``) and signatures made without an app. This is the one file in which ``__getattr__`` is
allowed: a proxy cannot be written without it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from talo.canvas.signature import use_app_source
from talo.execution.request import current_frame

__all__ = [
    "Proxy",
    "apps",
    "chosen_app",
    "current_app",
    "current_task",
    "get_current_app",
    "get_current_task",
    "set_current_app",
    "set_default_app",
]


class Proxy:
    """Stands for whatever ``get()`` returns at the moment of use."""

    __slots__ = ("_Proxy__get", "__weakref__")

    def __init__(self, get: Callable[[], Any]) -> None:
        object.__setattr__(self, "_Proxy__get", get)

    def _get_current_object(self) -> Any:
        return object.__getattribute__(self, "_Proxy__get")()

    @property
    def __class__(self) -> Any:
        return type(self._get_current_object())

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise AttributeError("the class of what a proxy stands for cannot be set through it")

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__dict__

    @property
    def __doc__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__doc__

    @property
    def __module__(self) -> Any:  # type: ignore[override]
        return self._get_current_object().__module__

    @property
    def __wrapped__(self) -> Any:
        return self._get_current_object().__wrapped__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get_current_object(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._get_current_object(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._get_current_object(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._get_current_object()(*args, **kwargs)

    def __bool__(self) -> bool:
        return bool(self._get_current_object())

    def __eq__(self, other: object) -> bool:
        return bool(self._get_current_object() == _unwrap(other))

    def __ne__(self, other: object) -> bool:
        return bool(self._get_current_object() != _unwrap(other))

    def __hash__(self) -> int:
        return hash(self._get_current_object())

    def __repr__(self) -> str:
        return repr(self._get_current_object())

    def __str__(self) -> str:
        return str(self._get_current_object())

    def __dir__(self) -> list[str]:
        return dir(self._get_current_object())

    def __len__(self) -> int:
        return len(self._get_current_object())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._get_current_object())

    def __contains__(self, item: Any) -> bool:
        return item in self._get_current_object()

    def __getitem__(self, key: Any) -> Any:
        return self._get_current_object()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._get_current_object()[key] = value

    def __or__(self, other: Any) -> Any:
        return self._get_current_object() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._get_current_object()

    def __enter__(self) -> Any:
        return self._get_current_object().__enter__()

    def __exit__(self, *exc_info: Any) -> Any:
        return self._get_current_object().__exit__(*exc_info)

    def __reduce__(self) -> Any:
        return self._get_current_object().__reduce__()


def _unwrap(value: Any) -> Any:
    return value._get_current_object() if type(value) is Proxy else value


class _State:
    """The process-wide facts; every write holds ``lock``."""

    lock = threading.RLock()
    current: Any = None
    default: Any = None
    #: Makes the app of last resort; ``app.app`` sets it, because this module cannot know the class.
    make_default: Callable[[], Any] | None = None
    #: Every app that has not been garbage collected or closed.
    apps: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()
    #: What to run on every app when it is finalised, by its maker; None stands for ``shared_task``, which outlives
    #: every app.
    shared: ClassVar[list[tuple[weakref.ref[Any] | None, Callable[[Any], Any]]]] = []


def apps() -> list[Any]:
    """Every app of this process that is still alive."""
    return list(_State.apps)


def set_current_app(app: Any) -> None:
    """Make ``app`` what ``current_app`` stands for, in all threads."""
    _State.current = app


def set_default_app(app: Any) -> None:
    """Make ``app`` the one of last resort."""
    _State.default = app


def get_current_app() -> Any:
    """The app made current last, else the default one; one is created if the process has none."""
    if _State.current is not None:
        return _State.current
    with _State.lock:
        if _State.default is None:
            if _State.make_default is None:
                raise RuntimeError("no app has been created")
            _State.default = _State.make_default()
        return _State.default


def chosen_app() -> Any:
    """The app made current last; None where there is none but, perhaps, the one of last resort."""
    return _State.current


def get_current_task() -> Any:
    """The task that runs in this thread or coroutine, or None."""
    frame = current_frame()
    return frame.task if frame is not None else None


def register_app(app: Any) -> None:
    """Remember a new app, without keeping it alive."""
    _State.apps.add(app)


def deregister_app(app: Any) -> None:
    """Forget an app that was closed, and what it shares; it is not current any more."""
    _State.apps.discard(app)
    with _State.lock:
        _State.shared = [entry for entry in _State.shared if entry[0] is None or entry[0]() not in (None, app)]
        if _State.current is app:
            _State.current = None
        if _State.default is app:
            _State.default = None


def share(maker: Any, construct: Callable[[Any], Any]) -> None:
    """Run ``construct(app)`` on every app when it is finalised, for as long as ``maker`` (an app, or None: for
    ever) lives."""
    with _State.lock:
        _State.shared = [entry for entry in _State.shared if entry[0] is None or entry[0]() is not None]
        _State.shared.append((weakref.ref(maker) if maker is not None else None, construct))


def shared_constructors(app: Any) -> list[Callable[[Any], Any]]:
    """What others share with ``app``."""
    with _State.lock:
        return [
            construct
            for maker, construct in _State.shared
            if maker is None or ((owner := maker()) is not None and owner is not app)
        ]


def use_default_factory(make: Callable[[], Any]) -> None:
    """Say how to create the app of last resort."""
    _State.make_default = make


current_app: Any = Proxy(get_current_app)
current_task: Any = Proxy(get_current_task)

use_app_source(get_current_app)
