"""The traced app in a project whose import starts threads that hold locks nearly all the time: those of the log
handlers, of the imports and of standard error. A process that is forked meanwhile inherits them as they are."""

from __future__ import annotations

import importlib
import logging
import random
import sys
import threading
import time
from collections.abc import Callable

from tests.apps.traced import app

__all__ = ["app"]


def _hold_handlers() -> None:
    for handler in [*logging.getLogger().handlers, *logging.getLogger("talo").handlers]:
        with handler.lock or threading.Lock():
            time.sleep(random.uniform(0.0, 0.01))


def _hold_imports() -> None:
    sys.modules.pop("colorsys", None)
    importlib.import_module("colorsys")


def _hold_standard_error() -> None:
    sys.stderr.flush()


def _for_ever(hold: Callable[[], None]) -> None:
    while True:
        hold()
        time.sleep(0.001)


for _hold in (_hold_handlers, _hold_imports, _hold_standard_error):
    threading.Thread(target=_for_ever, args=(_hold,), daemon=True).start()
