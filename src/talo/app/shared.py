"""``shared_task``: tasks of a library or a reusable application, which knows no app.

Owns the stand-in that becomes, at each use, the task of whatever app is the current one. It may be used before any app
exists.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from talo.app import current
from talo.app._decorator import task_from_fun
from talo.app._typing import _BoundMaker, _Maker, decorate

if TYPE_CHECKING:
    from talo.app.task import CoroutineTask, Task

__all__ = ["app_or_default", "shared_task"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def shared_task(fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
@overload
def shared_task(fun: Callable[P, R], /) -> Task[P, R]: ...
@overload
def shared_task(*, bind: Literal[True], **options: Any) -> _BoundMaker: ...
@overload
def shared_task(*, bind: Literal[False] = ..., **options: Any) -> _Maker: ...
def shared_task(*args: Any, **options: Any) -> Any:
    """Make a function a task of every app, those to come included; takes what ``app.task`` takes."""
    return decorate(_share, args, options)


def _share(fun: Callable[..., Any], **options: Any) -> Any:
    for key in ("shared", "lazy", "filter"):
        options.pop(key, None)
    name = options.get("name")

    def construct(app: Any) -> Any:
        return task_from_fun(app, fun, **options)

    current.share(None, construct)
    for app in current.apps():
        if app.finalized:
            construct(app)

    def of_current_app() -> Any:
        app = current.get_current_app()
        return app.tasks[name or app.gen_task_name(fun.__name__, fun.__module__)]

    return current.Proxy(of_current_app)


def app_or_default(app: Any = None) -> Any:
    """Return ``app``, or the current one if it is None."""
    return app if app is not None else current.get_current_app()
