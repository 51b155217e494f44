"""Monitors of periodic tasks in Sentry: a check-in opens when a run is sent, and closes when the run has ended.

Owns what a schedule is to Sentry, and the headers that lead a run to its check-in; they are those of Sentry's
integration for Celery, so either's beat may send what the other's worker runs. Called by ``integration``."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from sentry_sdk.crons import MonitorStatus, capture_checkin

from talo import states
from talo.schedules.text import to_data

__all__ = ["Monitors", "close_check_in", "open_check_in"]

log = logging.getLogger("talo.beat")

_SLUG, _CONFIG, _ID = "sentry-monitor-slug", "sentry-monitor-config", "sentry-monitor-check-in-id"
#: Sentry's units of intervals that are whole minutes, in seconds, the largest first.
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
#: How a run ends as its monitor sees it; in any other state it goes on. What is REJECTED may come back: if it does not,
#: the monitor's own time limit says so.
_STATUS = {
    states.SUCCESS: MonitorStatus.OK,
    states.IGNORED: MonitorStatus.OK,
    states.FAILURE: MonitorStatus.ERROR,
    states.REVOKED: MonitorStatus.ERROR,
}


class Monitors:
    """Which schedules are monitored: all that Sentry can follow, but those whose names match one of ``exclude``."""

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        self._exclude = [re.compile(pattern) for pattern in exclude]
        self._complained: set[str] = set()

    def mark(self, name: str, schedule: Any, headers: dict[str, Any]) -> None:
        """Lead the run that is sent with these headers to a check-in of its own."""
        if any(pattern.search(name) for pattern in self._exclude):
            return
        config = _config_of(schedule)
        if config is not None:
            headers.update({_SLUG: name, _CONFIG: config, _ID: uuid4().hex})
        elif name not in self._complained:
            self._complained.add(name)
            log.warning("Sentry cannot monitor the periodic task %r: its schedule is %r", name, schedule)


def open_check_in(headers: Mapping[str, Any]) -> None:
    """The message with these headers is sent: its run is awaited, if it is monitored."""
    _capture(headers, MonitorStatus.IN_PROGRESS)


def close_check_in(headers: Mapping[str, Any] | None, state: str) -> None:
    """The run with these headers has ended in this state, if that is an end."""
    if headers and state in _STATUS:
        _capture(headers, _STATUS[state])


def _capture(headers: Mapping[str, Any], status: str) -> None:
    slug, check_in = headers.get(_SLUG), headers.get(_ID)
    if isinstance(slug, str) and isinstance(check_in, str):
        config: Any = headers.get(_CONFIG)
        capture_checkin(slug, check_in, status, monitor_config=config)


def _config_of(schedule: Any) -> dict[str, Any] | None:
    """The schedule as Sentry takes it; None for what it does not know: neither cron line nor whole minutes."""
    data = to_data(schedule) or {}
    when: dict[str, Any] | None = None
    if "from" in data or "until" in data:
        return None
    if "cron" in data:
        when = {"type": "crontab", "value": data["cron"]}
    elif "every" in data:
        for unit, size in _UNITS:
            if data["every"] >= size and data["every"] % size == 0:
                when = {"type": "interval", "value": int(data["every"] // size), "unit": unit}
                break
    return when and {"schedule": when, "timezone": str(schedule.tz)}
