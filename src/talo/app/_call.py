"""What the options of one call mean: their names, and what each becomes in a message.

Pure: it knows neither app nor store. Callers: ``app.send``, and ``app.task`` for eager calls.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from talo.app._options import check_limits
from talo.settings import Settings
from talo.wire._times import parse_iso
from talo.wire.protocol import Embed

__all__ = [
    "ALIKE",
    "HEADERS",
    "NOTHING",
    "NO_EMBED",
    "USED",
    "SendOptions",
    "as_tuple",
    "check_call",
    "delivery_mode",
    "embed_of",
    "listed",
    "repr_levels",
    "times_of",
]


#: Deeper than any text that is kept of a value.
_DEEPEST = 100


class SendOptions(TypedDict, total=False):
    """Options of ``apply_async``, ``send_task`` and of signatures. What is not listed travels as a property of the
    message."""

    task_id: str
    countdown: float
    spread: float
    eta: dt.datetime | str | float
    expires: float | dt.datetime | str
    shadow: str | None
    retry: bool
    retry_policy: Mapping[str, Any] | None
    time_limit: float
    soft_time_limit: float
    queue: Any
    exchange: Any
    routing_key: str
    priority: int
    serializer: str
    compression: str | None
    link: Any
    link_error: Any
    add_to_parent: bool
    ignore_result: bool
    headers: Mapping[str, Any]
    group_id: str | None
    group_index: int | None
    retries: int
    chord: Any
    chain: Sequence[Any] | None
    reply_to: str | None
    root_id: str | None
    parent_id: str | None
    replaced_task_nesting: int
    stamped_headers: Sequence[str] | None
    stamps: Mapping[str, Any]
    argsrepr: str
    kwargsrepr: str
    origin: str
    delivery_mode: int | str
    timeout: float


#: What is used up on the way; the rest of the options becomes properties of the message.
USED = frozenset(SendOptions.__annotations__) | {
    "connection",
    "producer",
    "publisher",
    "router",
    "result_cls",
    "route_name",
    "task_type",
    "mandatory",
    "immediate",
    "declare",
    "confirm_timeout",
    "exchange_type",
    "content_type",
    "content_encoding",
    "logfile",
    "loglevel",
}
#: Options that mean the same for every call that has them, at whatever time.
ALIKE = frozenset(
    {
        "add_to_parent",
        "compression",
        "delivery_mode",
        "exchange",
        "ignore_result",
        "immediate",
        "mandatory",
        "priority",
        "queue",
        "result_cls",
        "retry",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "task_type",
        "time_limit",
        "timeout",
    }
)
#: Options that are headers under the same name.
HEADERS = ("shadow", "group_index", "retries", "argsrepr", "kwargsrepr", "origin", "replaced_task_nesting")
_MODES = {"transient": 1, "persistent": 2}
_TEXT = ((str,), "a text")
_WHOLE = ((int,), "a whole number")
_SECONDS = ((int, float), "a number of seconds")
_YES_NO = ((bool,), "True or False")
_DICT = ((Mapping,), "a dict")
#: What an option must be, and how that is said. Those that are not here are checked where they are used.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "task_id": _TEXT,
    "shadow": _TEXT,
    "routing_key": _TEXT,
    "serializer": _TEXT,
    "compression": _TEXT,
    "reply_to": _TEXT,
    "group_id": _TEXT,
    "root_id": _TEXT,
    "parent_id": _TEXT,
    "priority": _WHOLE,
    "retries": _WHOLE,
    "group_index": _WHOLE,
    "time_limit": _SECONDS,
    "soft_time_limit": _SECONDS,
    "timeout": _SECONDS,
    "ignore_result": _YES_NO,
    "add_to_parent": _YES_NO,
    "retry": _YES_NO,
    "headers": _DICT,
    "retry_policy": _DICT,
}
NOTHING: dict[str, Any] = {}
NO_EMBED: Embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def check_call(name: Any, kwargs: Any, options: Mapping[str, Any]) -> None:
    """``TypeError`` for a name, keyword arguments or an option of the wrong type; it names the option."""
    if type(name) is not str:
        raise TypeError(f"the name of a task is a text, not {name!r}")
    if kwargs is not None and type(kwargs) is not dict and not isinstance(kwargs, Mapping):
        raise TypeError(f"task {name}: kwargs must be a dict, not {type(kwargs).__name__}")
    for key, value in options.items():
        rule = _TYPES.get(key)
        if rule is not None and value is not None:
            kinds, words = rule
            if not isinstance(value, kinds) or (value.__class__ is bool and bool not in kinds):
                raise TypeError(f"task {name}: {key} must be {words}, not {value!r}")
        elif key in ("link", "link_error"):
            for signature in listed(value) or ():
                if not isinstance(signature, Mapping):
                    raise TypeError(f"task {name}: {key} must be a signature or several, not {signature!r}")


def times_of(
    name: str, options: Mapping[str, Any], now: float, zone: dt.tzinfo
) -> tuple[float | dt.datetime | None, float | dt.datetime | None]:
    """When the call is due and when it is over: epoch seconds or datetimes, None where not said.

    ``TypeError`` and ``ValueError`` name the option; ``ValueError`` also for a soft limit above the hard one.
    """
    countdown, eta, expires = options.get("countdown"), options.get("eta"), options.get("expires")
    if countdown is not None:
        eta = now + _seconds(name, "countdown", countdown)
    elif isinstance(eta, str):
        eta = _from_text(name, "eta", eta, zone)
    elif eta is not None and not isinstance(eta, dt.datetime):
        eta = _seconds(name, "eta", eta)
    if (spread := options.get("spread")) is not None:
        # Each call draws for itself: it needs to know of no other.
        eta = _later(now if eta is None else eta, random.random() * _seconds(name, "spread", spread))
    if isinstance(expires, str):
        expires = _from_text(name, "expires", expires, zone)
    elif expires is not None and not isinstance(expires, dt.datetime):
        expires = now + _seconds(name, "expires", expires)
    check_limits(options.get("time_limit"), options.get("soft_time_limit"))
    return eta, expires


def _later(moment: float | dt.datetime, seconds: float) -> float | dt.datetime:
    return moment + dt.timedelta(seconds=seconds) if isinstance(moment, dt.datetime) else moment + seconds


def embed_of(options: Mapping[str, Any]) -> Embed:
    """The follow-ups of a call as they stand in its body; empty if there are none."""
    link, link_error = options.get("link"), options.get("link_error")
    chain, chord = options.get("chain"), options.get("chord")
    if link is None and link_error is None and chain is None and chord is None:
        return {}
    return {"callbacks": listed(link), "errbacks": listed(link_error), "chain": chain, "chord": chord}


def listed(value: Any) -> list[Any] | None:
    """One or several signatures as a list; None if there are none."""
    if value is None:
        return None
    if isinstance(value, list | tuple | set):
        return list(value) or None
    return [value]


def delivery_mode(value: int | str) -> int:
    """The number of a delivery mode: 1 transient, 2 persistent. ``ValueError`` for any other."""
    mode = _MODES.get(value, value) if isinstance(value, str) else value
    if mode not in (1, 2):
        raise ValueError(f"delivery_mode must be 1 (transient) or 2 (persistent), not {value!r}")
    return int(mode)


def as_tuple(name: str, args: Any) -> tuple[Any, ...]:
    """Positional arguments that came as some other iterable; ``TypeError`` for a text or mapping, which is a slip."""
    if isinstance(args, str | bytes | Mapping):
        raise TypeError(f"task {name}: args must be a list or tuple, not {type(args).__name__}")
    return tuple(args)


def _seconds(name: str, key: str, value: Any) -> float:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"task {name}: {key} must be a number of seconds, not {value!r}") from None


def _from_text(name: str, key: str, value: str, zone: dt.tzinfo) -> float:
    try:
        return parse_iso(value, zone)
    except ValueError as exc:
        raise ValueError(f"task {name}: {key} {value!r} is no ISO 8601 time: {exc}") from exc


def repr_levels(conf: Settings) -> int:
    """Return how many levels of a value are shown in headers and logs."""
    levels = conf.task_repr_maxlevels
    return _DEEPEST if levels is None else levels
