"""The options of a task: those that nobody set read the app's settings, those that somebody set are checked.

Owns the descriptors behind the class attributes of ``Task`` and the check of decorator keywords. Callers: ``app.task``
and
``app._decorator``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from inspect import getattr_static
from typing import Any

from talo.errors import ImproperlyConfigured
from talo.util.names import distance, nearest

__all__ = ["EXECUTION_OPTIONS", "AtMostOnce", "FromApp", "FromConf", "check_options", "explicit_options"]

#: Options of a task that are options of each of its sends too.
EXECUTION_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
    "ignore_result",
)


class FromConf:
    """An attribute that reads a setting of the task's app until a class or an object sets it."""

    __slots__ = ("setting",)

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __get__(self, task: Any, owner: type) -> Any:
        return getattr(task.app.conf, self.setting) if task is not None else None


class FromApp:
    """The same for an attribute of the app itself."""

    __slots__ = ("attribute",)

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def __get__(self, task: Any, owner: type) -> Any:
        return getattr(task.app, self.attribute) if task is not None else None


class AtMostOnce:
    """Whether a task must never start twice: asked for as such, or by ``acks_late=False`` of the task, or of the
    app."""

    __slots__ = ()

    def __get__(self, task: Any, owner: type) -> Any:
        return task.acks_late is False if task is not None else None


def explicit_options(task: Any, names: Collection[str]) -> dict[str, Any]:
    """Return those of the named options that the task itself sets, not its app's settings."""
    found = {}
    for name in names:
        if not isinstance(getattr_static(task, name, None), FromConf):
            value = getattr(task, name)
            if value is not None:
                found[name] = value
    return found


#: What the option must be, and how that is said.
_NUMBER = ((int, float), "a number")
_SECONDS = ((int, float, dt.timedelta), "a number of seconds")
_YES_NO = ((bool,), "True or False")
_WHOLE = ((int,), "a whole number")
_TEXT = ((str,), "a text")
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "name": _TEXT,
    "bind": _YES_NO,
    "max_retries": _WHOLE,
    "default_retry_delay": _SECONDS,
    "time_limit": _NUMBER,
    "soft_time_limit": _NUMBER,
    "ignore_result": _YES_NO,
    "acks_late": _YES_NO,
    "at_most_once": _YES_NO,
    "max_deliveries": _WHOLE,
    "dead_letter": _YES_NO,
    "track_started": _YES_NO,
    "serializer": _TEXT,
    "compression": _TEXT,
    "routing_key": _TEXT,
    "priority": _WHOLE,
    "rate_limit": ((str, int, float), "a number or a text like '10/m'"),
    "retry_backoff": ((bool, int, float), "True, False or a number of seconds"),
    "retry_backoff_max": _NUMBER,
    "retry_jitter": _YES_NO,
    "retry_kwargs": ((dict,), "a dict"),
    "secret": ((str, tuple, list, set, frozenset), "the names of parameters"),
}
_EXCEPTIONS = ("autoretry_for", "dont_autoretry_for", "throws")
#: A slip or two; a plug-in's own option is further from every known one than that.
_SLIPS = 2


def check_options(task: str, options: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the options with exceptions as tuples and durations as seconds.

    ``ImproperlyConfigured`` for a wrong type, a soft limit above the hard one, or a name that is a near miss of a
    known one. Other unknown names are kept: they are the attributes of somebody's plug-in.
    """
    checked = dict(options)
    for key, value in options.items():
        if key not in known:
            _refuse_near_miss(task, key, known)
        elif value is not None and key in _TYPES:
            kinds, words = _TYPES[key]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise ImproperlyConfigured(f"task {task}: {key} must be {words}, not {value!r}")
            if isinstance(value, dt.timedelta):
                checked[key] = value.total_seconds()
        elif key in _EXCEPTIONS:
            checked[key] = _exceptions(task, key, value)
    check_limits(checked.get("time_limit"), checked.get("soft_time_limit"))
    return checked


def check_limits(hard: float | None, soft: float | None) -> None:
    """``ValueError`` if the soft limit comes after the hard one."""
    if hard is not None and soft is not None and soft > hard:
        raise ValueError(f"soft_time_limit ({soft}) must be less than or equal to time_limit ({hard})")


def _exceptions(task: str, key: str, value: Any) -> tuple[type[BaseException], ...]:
    if value is None:
        return ()
    classes = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ImproperlyConfigured(f"task {task}: {key} must hold exception classes, not {cls!r}")
    return classes


def _refuse_near_miss(task: str, key: str, known: Collection[str]) -> None:
    meant = nearest(key, known)
    if meant is None or len(key) < 5:
        return
    slips = distance(key, meant)
    if slips <= (_SLIPS if len(meant) > 8 else 1):
        raise ImproperlyConfigured(f"task {task}: unknown option {key!r}; did you mean {meant!r}?")
