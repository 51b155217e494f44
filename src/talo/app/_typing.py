"""``@app.task`` and ``@shared_task`` as type checkers see them.

Owns the overloads: bare or with options, with ``bind=True`` (the first parameter is the task itself), plain functions
and ``async def``.
What the decorator does is ``_decorator``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from talo.app.task import CoroutineTask, Task

__all__ = ["TaskDecorator"]

P = ParamSpec("P")
R = TypeVar("R")


class _Maker(Protocol):
    """``@app.task(...)``: what is left is to give it the function."""

    @overload
    def __call__(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...


class _BoundMaker(Protocol):
    """``@app.task(bind=True, ...)``: the function's first parameter is the task."""

    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


class TaskDecorator:
    """The method ``task`` of an app."""

    if TYPE_CHECKING:
        _make_task: Callable[..., Any]

    @overload
    def task(self, fun: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, *, bind: Literal[True], **options: Any) -> _BoundMaker: ...
    @overload
    def task(self, *, bind: Literal[False] = ..., **options: Any) -> _Maker: ...
    def task(self, *args: Any, **options: Any) -> Any:
        """Make a function a task: ``@app.task`` or ``@app.task(bind=True, max_retries=5, ...)``.

        Unknown options become attributes of the task. ``ImproperlyConfigured`` for an option that is misspelt or of a
        wrong type.
        """
        return decorate(self._make_task, args, options)


def decorate(make: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Apply ``make(fun, **options)`` now, or return the decorator that will."""
    if not args:
        return lambda fun: make(fun, **options)
    if len(args) > 1 or not callable(args[0]):
        raise TypeError("@task takes the function, or options by keyword")
    return make(args[0], **options)
