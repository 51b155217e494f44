"""The frame around the function of a task with secret arguments: opens them, and lets none of them out by an exception.

Owns what is done to such an exception: its texts, those of its causes and notes included, lose the values, and the
frames that it came through lose their variables, which trackers of errors would show. Because this stands around the
function itself, it holds for every way of calling it: worker, eager run, error callback, ``map``, plain call. Set up
by the app, once for each task that has marks.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from talo.errors import SealError
from talo.execution.request import current_frame
from talo.execution.secrets import Secrets
from talo.wire.sealed import MASK

__all__ = ["opening"]

#: Shorter texts are found in any text, and are no secrets.
_LEAST = 4


def opening(function: Callable[..., Any], name: str, secrets: Secrets) -> Callable[..., Any]:
    """Return ``function`` of the task ``name`` so that it takes sealed arguments. ``opens`` is the function itself."""
    run: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            given = secrets.opened(name, args, kwargs)
            try:
                returned = await function(*given.args, **given.kwargs)
            except BaseException as exc:
                if (veiled := _veiled(exc, given.values)) is exc:
                    raise
                raise veiled from None
            _veil_retry(given.values)
            return returned
    else:

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            given = secrets.opened(name, args, kwargs)
            try:
                returned = function(*given.args, **given.kwargs)
            except BaseException as exc:
                if (veiled := _veiled(exc, given.values)) is exc:
                    raise
                raise veiled from None
            _veil_retry(given.values)
            return returned

    run.opens = function  # type: ignore[attr-defined]
    return run


def _veil_retry(values: list[Any]) -> None:
    """A retry with ``throw=False`` raises nothing, and tells its reason all the same."""
    frame = current_frame() if values else None
    pending = frame.request.__dict__.get("pending_retry") if frame is not None else None
    if isinstance(pending, BaseException):
        _veiled(pending, values)


def _veiled(exc: BaseException, values: list[Any]) -> BaseException:
    """Take the values out of an exception and of all that hangs on it; return it, or what stands for one that keeps
    them where nobody can reach them."""
    texts = sorted(set(_texts(values)), key=len, reverse=True)
    if not values:
        return exc
    chain = list(_chain(exc, set()))
    for each in chain:
        traceback.clear_frames(each.__traceback__)
        each.args = _clean(each.args, texts)
        vars(each).update({key: _clean(value, texts) for key, value in vars(each).items()})
    if any(text in shown for shown in map(_shown, chain) for text in texts):
        cls = type(exc)
        return SealError(f"{cls.__module__}.{cls.__qualname__}: its text holds a secret argument and is left out")
    return exc


def _chain(exc: BaseException, seen: set[int]) -> Iterator[BaseException]:
    """An exception and those behind it: causes, the reason of a retry, the members of a group."""
    seen.add(id(exc))
    yield exc
    behind = (exc.__cause__, exc.__context__, *exc.args, *vars(exc).values(), *getattr(exc, "exceptions", ()))
    for each in behind:
        if isinstance(each, BaseException) and id(each) not in seen:
            yield from _chain(each, seen)


def _shown(exc: BaseException) -> str:
    """What people will see of an exception."""
    try:
        return f"{exc} {exc!r}"
    except Exception:  # noqa: BLE001  a stranger's __str__, which will raise for whoever shows it, too
        return ""


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """The forms in which secret values may be found in texts."""
    for value in values:
        if isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)
        elif not isinstance(value, bool | None):
            text = value if isinstance(value, str) else str(value)
            for form in (text, repr(text)[1:-1]):
                if len(form) >= _LEAST:
                    yield form


def _clean(value: Any, texts: list[str]) -> Any:
    """A value with the mask in place of every text."""
    if isinstance(value, str):
        for text in texts:
            value = value.replace(text, MASK)
        return value
    if isinstance(value, bytes):
        for text in texts:
            value = value.replace(text.encode(errors="surrogatepass"), MASK.encode())
        return value
    if type(value) in (list, tuple):
        return type(value)(_clean(each, texts) for each in value)
    if type(value) is dict:
        return {key: _clean(each, texts) for key, each in value.items()}
    return MASK if isinstance(value, int | float) and str(value) in texts else value
