"""What every schedule is: a rule that says when the next run falls due.

Owns Celery's protocol (``is_due``, ``remaining_estimate``, ``now``, ``tz``, ``app``) over one pure function,
``following``. It knows no entry and no store: they are ``beat``'s. Called by ``beat`` and by applications, which may
subclass ``BaseSchedule``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from talo.schedules._zones import UTC, as_zone, aware

__all__ = ["BaseSchedule", "schedstate", "use_current_app"]


class schedstate(NamedTuple):
    """Whether a run is due, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule:
    """When something should run. Times are aware; a naive one is read in the schedule's zone."""

    #: Finds the app of a schedule that was given none; set by the app's floor.
    _current_app: ClassVar[Callable[[], Any] | None] = None
    #: Where the app and the zone are kept; of the class, since subclasses may not call ``__init__``, or set ``tz``
    #: before they do.
    _app: Any = None
    _tz: dt.tzinfo | None = None

    def __init__(self, nowfun: Callable[[], dt.datetime] | None = None, app: Any = None, tz: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app
        if tz is not None:
            self.tz = tz

    @property
    def app(self) -> Any:
        """The app whose zone and settings count."""
        if self._app is None and BaseSchedule._current_app is not None:
            return BaseSchedule._current_app()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> dt.tzinfo:
        """The zone: the schedule's own, else the app's, else UTC."""
        if self._tz is not None:
            return self._tz
        app = self.app
        return as_zone(app.timezone) if app is not None else UTC

    @tz.setter
    def tz(self, zone: Any) -> None:
        self._tz = None if zone is None else as_zone(zone)

    @property
    def utc_enabled(self) -> bool:
        """Whether the app counts in UTC."""
        return bool(self.app.conf.enable_utc) if self.app is not None else True

    def now(self) -> dt.datetime:
        """The time now."""
        return (self.nowfun or (lambda: dt.datetime.now(self.tz)))()

    def to_local(self, dt: dt.datetime) -> dt.datetime:
        """The time in the schedule's zone."""
        return aware(dt, self.tz).astimezone(self.tz)

    def maybe_make_aware(self, dt: dt.datetime, naive_as_utc: bool = True) -> dt.datetime:
        """The time, aware: a naive one is read as UTC, or in the schedule's zone."""
        return aware(dt, UTC if naive_as_utc else self.tz)

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first due time after ``after``, in UTC; None if there is none any more.

        A function of its argument alone where the schedule is Talo's. A subclass that has but ``remaining_estimate``
        is asked for that.
        """
        now = aware(self.now(), self.tz).astimezone(UTC)
        due = now + self.remaining_estimate(after)
        return max(due, aware(after, self.tz).astimezone(UTC) + dt.timedelta(milliseconds=1))

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        """How long until the run after ``last_run_at``; negative if it is over."""
        due = self.following(last_run_at)
        now = aware(self.now(), self.tz)
        return dt.timedelta.max if due is None else due - now.astimezone(UTC)

    def is_due(self, last_run_at: dt.datetime) -> schedstate:
        """Whether the run after ``last_run_at`` is due, and seconds until the next look."""
        rest = self.remaining_estimate(last_run_at).total_seconds()
        if rest > 0:
            return schedstate(False, rest)
        return schedstate(True, max(0.0, self.remaining_estimate(self.now()).total_seconds()))

    def __eq__(self, other: object) -> Any:
        if isinstance(other, BaseSchedule):
            return other.nowfun == self.nowfun
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # what is equal may be edited later


def use_current_app(find: Callable[[], Any]) -> None:
    """Let schedules without an app find one."""
    BaseSchedule._current_app = staticmethod(find)
