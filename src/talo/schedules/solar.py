"""Solar schedules: ``solar("sunset", latitude, longitude)``.

Owns the nine events and their search; where the sun stands is ``ephem``'s (extra ``solar``). Called by ``beat``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar

from talo.schedules._zones import UTC, aware
from talo.schedules.base import BaseSchedule
from talo.util.optional import load

__all__ = ["solar"]

#: Event -> (which of the observer's searches, the sun's height at the horizon, whether its centre counts). A quarter
#: of a degree for the sun's radius and a half for refraction make sunrise and sunset, as almanacs have it.
_EVENTS: dict[str, tuple[str, str, bool]] = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", False),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}
#: Near the poles the sun stays up, or down, for up to half a year.
_DAYS = 370


class solar(BaseSchedule):
    """Runs at an event of the sun's day at a place. On days without the event (polar summers) it does not run."""

    _all_events: ClassVar[frozenset[str]] = frozenset(_EVENTS)

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], dt.datetime] | None = None,
        app: Any = None,
        tz: Any = None,
    ) -> None:
        """``ValueError`` for an unknown event or place, ``MissingExtra`` without ephem."""
        super().__init__(nowfun, app, tz)
        if event not in _EVENTS:
            raise ValueError(f'Argument event "{event}" is invalid, must be one of {", ".join(sorted(_EVENTS))}.')
        if not -90 <= lat <= 90:
            raise ValueError(f"Argument latitude {lat} is invalid, must be between -90 and 90.")
        if not -180 <= lon <= 180:
            raise ValueError(f"Argument longitude {lon} is invalid, must be between -180 and 180.")
        self.event, self.lat, self.lon = event, lat, lon
        self._ephem: Any = load("ephem", "ephem", "solar")

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first event after ``after``, in UTC; None if there is none within a year."""
        start = aware(after, self.tz).astimezone(UTC)
        for days in range(_DAYS):
            # A whole second later: the search may find the event that it starts from, a fraction off.
            found = self._search(start + dt.timedelta(days=days, seconds=1))
            if found is not None:
                return found
        return None

    def _search(self, start: dt.datetime) -> dt.datetime | None:
        search, horizon, center = _EVENTS[self.event]
        ephem = self._ephem
        observer = ephem.Observer()
        observer.lat, observer.lon = str(self.lat), str(self.lon)
        observer.elevation, observer.pressure, observer.horizon = 0, 0, horizon
        observer.date = start.replace(tzinfo=None)
        options = {} if search == "next_transit" else {"use_center": center}
        try:
            found = getattr(observer, search)(ephem.Sun(), **options)
        except ephem.CircumpolarError:
            return None
        due: dt.datetime = found.datetime().replace(tzinfo=UTC, microsecond=0)
        return due if due > start - dt.timedelta(seconds=1) else None

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> Any:
        return type(self), (self.event, self.lat, self.lon)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, solar):
            return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)
        return NotImplemented

    __hash__ = None
