"""The traced app in a project whose import starts a thread that never ends, and for which Python waits at its end."""

from __future__ import annotations

import threading

from tests.apps.traced import app

__all__ = ["app"]

threading.Thread(target=threading.Event().wait).start()
