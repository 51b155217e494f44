"""From a function, or a class with ``run``, to a registered task.

Owns the decorator's own options (``base``, ``bind``, ``filter``, ``shared``, ``pydantic``...) and how the class of a
task is made.
Callers: ``app.app`` (``app.task``, ``register_task``) and ``app.shared``.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from talo.app import current
from talo.app._options import check_options
from talo.app.task import Task
from talo.errors import ImproperlyConfigured, TaloWarning
from talo.util.optional import load

__all__ = ["KNOWN_OPTIONS", "make_task", "task_from_fun"]

#: Keywords that the decorator takes for itself.
_OWN = frozenset(
    {
        "base",
        "bind",
        "filter",
        "lazy",
        "name",
        "shared",
        "pydantic",
        "pydantic_strict",
        "pydantic_context",
        "pydantic_dump_kwargs",
        "override_max_retries",
    }
)
KNOWN_OPTIONS = _OWN | {
    name for name in vars(Task) if not name.startswith("_") and not inspect.isfunction(vars(Task)[name])
}


def make_task(
    app: Any,
    fun: Callable[..., Any],
    *,
    shared: bool = True,
    filter: Callable[[Callable[..., Any]], Any] | None = None,
    lazy: bool = True,
    **options: Any,
) -> Any:
    """Make ``fun`` a task of ``app``, and of every later app if ``shared``; return the task, or what ``filter``
    makes of it."""
    del lazy  # a task is cheap to make, and reads no setting before it is used
    if not callable(fun):
        raise TypeError(f"@task: argument 1 must be a callable, not {fun!r}")
    task = task_from_fun(app, fun, **options)
    if shared:
        current.share(app, lambda other: task_from_fun(other, fun, **options))
    return filter(task) if filter is not None else task


def task_from_fun(
    app: Any,
    fun: Callable[..., Any],
    *,
    name: str | None = None,
    base: type[Task[..., Any]] | None = None,
    bind: bool = False,
    pydantic: bool = False,
    pydantic_strict: bool = False,
    pydantic_context: dict[str, Any] | None = None,
    pydantic_dump_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> Task[..., Any]:
    """Return the app's task of this name; make and register it if there is none."""
    if name is not None and not isinstance(name, str):
        raise ImproperlyConfigured(f"task {fun!r}: name must be a text, not {name!r}")
    name = name or app.gen_task_name(fun.__name__, fun.__module__)
    known = app.registered(name)
    if known is not None:
        _warn_of_second(name, known, fun)
        return known  # type: ignore[no-any-return]
    options = check_options(name, options, KNOWN_OPTIONS)
    body: Callable[..., Any] = fun
    if pydantic:
        body = load_pydantic().validated(
            fun,
            strict=pydantic_strict,
            context=pydantic_context or {"celery_app": app, "celery_task_name": name},
            dump_kwargs=pydantic_dump_kwargs or {"mode": "json"},
        )
    parent = base or app.Task
    fields = {
        "_app": app,
        "name": name,
        "run": body if bind else staticmethod(body),
        "__doc__": fun.__doc__,
        "__module__": fun.__module__,
        "__annotations__": getattr(fun, "__annotations__", {}),
        "__wrapped__": staticmethod(body),
        "__qualname__": getattr(fun, "__qualname__", fun.__name__),
        **options,
    }
    task: Task[..., Any] = type(fun.__name__, (parent,), fields)()
    app.adopt(task)
    return task


def _warn_of_second(name: str, known: Any, fun: Callable[..., Any]) -> None:
    """Tell of another function under the name of a task. The same one comes again with every import of its module."""
    cls = type(known)
    first = f"{cls.__module__}.{cls.__qualname__}"
    second = f"{fun.__module__}.{getattr(fun, '__qualname__', fun.__name__)}"
    if "__wrapped__" in vars(cls) and first != second and "__main__" not in (cls.__module__, fun.__module__):
        warnings.warn(
            f"{first} and {second} are both the task {name!r}: the first one is kept; give one of them another name",
            TaloWarning,
            stacklevel=4,
        )


def load_pydantic() -> Any:
    """The wrapper of pydantic tasks. ``MissingExtra`` if pydantic is not installed."""
    load("pydantic", "pydantic")
    return load("talo.app._pydantic", "pydantic")
