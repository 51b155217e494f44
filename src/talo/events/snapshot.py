"""Cameras: a look at the state every so often.

Owns the rhythm; what is done with the state is a subclass's ``on_shutter``. Used by ``talo events --camera`` and by
``app.events``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from talo.events.state import State
from talo.util.names import import_path
from talo.util.signal import Signal

__all__ = ["Polaroid", "evcam"]


class Polaroid:
    """Calls ``on_shutter(state)`` every ``freq`` seconds from a thread of its own, while it is installed.

    ``cleanup_freq``: seconds between two calls of ``on_cleanup``; ``maxrate`` (``10/m``) bounds the shutter.
    """

    timer: Any = None
    shutter_signal = Signal("camera.shutter", ("state",))
    cleanup_signal = Signal("camera.cleanup")
    #: Forget finished tasks after each picture.
    clear_after = False

    def __init__(
        self,
        state: State,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        del timer
        self.app = app
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self._least = 0.0 if not maxrate else 1.0 / maxrate
        self._last = float("-inf")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def install(self) -> None:
        """Begin. Doing it twice changes nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="talo-camera", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        cleanup = time.monotonic() + self.cleanup_freq
        while not self._ended.wait(self.freq):
            self.capture()
            if time.monotonic() >= cleanup:
                cleanup = time.monotonic() + self.cleanup_freq
                self.cleanup()

    def on_shutter(self, state: State) -> None:
        """Do something with the state; nobody changes it meanwhile."""

    def on_cleanup(self) -> None:
        """Delete what is old."""

    def shutter(self) -> None:
        """Take a picture, unless the last one is too fresh."""
        now = time.monotonic()
        if now - self._last >= self._least:
            self._last = now
            self.shutter_signal.send(sender=self.state, state=self.state)
            self.on_shutter(self.state)

    def capture(self) -> None:
        """Take a picture of a state that stands still."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def cleanup(self) -> None:
        """Let what is old be deleted."""
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def cancel(self) -> None:
        """End. Idempotent."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)

    def __enter__(self) -> Polaroid:
        self.install()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()


def evcam(
    camera: str | type[Polaroid],
    app: Any,
    freq: float = 1.0,
    maxrate: float | None = None,
    ready: Callable[[], Any] | None = None,
) -> None:
    """Run a camera (a class or its dotted path) over the events of an app until ``KeyboardInterrupt``. ``maxrate`` is
    pictures a second; ``ready`` is called when it listens."""
    cls: Any = import_path(camera) if isinstance(camera, str) else camera
    state = app.events.State()
    with cls(state, app=app, freq=freq, maxrate=maxrate):
        receiver = app.events.Receiver(None, handlers={"*": state.event})
        try:
            for number, _ in enumerate(receiver.itercapture(limit=None)):
                if number == 0 and ready is not None:
                    ready()
        except KeyboardInterrupt:
            return
