"""What an app offers to watch and steer workers: ``app.control``, ``app.events``, ``app.clock``.

Owns making these parts at their first use, of classes that a subclass of the app may replace. Mixed into ``Talo``."""

from __future__ import annotations

from typing import Any

from talo.app.control import Control
from talo.app.events import Events
from talo.util.clock import LamportClock
from talo.util.names import import_path

__all__ = ["RemoteDoors"]


class RemoteDoors:
    """Mixed into ``Talo``. The parts belong to one app and live as long as it."""

    #: Classes that a subclass may replace; a text is the dotted path of one.
    control_cls: Any = Control
    events_cls: Any = Events

    _control: Any = None
    _events: Any = None
    _clock: LamportClock | None = None

    @property
    def control(self) -> Control:
        """Commands to workers, and questions: ``app.control.inspect().active()``."""
        if self._control is None:
            self._control = _made(self.control_cls, self)
        return self._control  # type: ignore[no-any-return]

    @property
    def events(self) -> Events:
        """Telling and hearing what happens to tasks and workers."""
        if self._events is None:
            self._events = _made(self.events_cls, self)
        return self._events  # type: ignore[no-any-return]

    @property
    def clock(self) -> LamportClock:
        """Counts the messages of events and remote control."""
        if self._clock is None:
            self._clock = LamportClock()
        return self._clock


def _made(cls: Any, app: Any) -> Any:
    return (import_path(cls) if isinstance(cls, str) else cls)(app)
