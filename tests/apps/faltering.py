"""The traced app in a project whose processes have trouble at their start or end. ``FALTERS``: what happens to each in
turn, the last for ever: ``well``, ``exit:CODE`` at its start, ``nap:SECONDS`` before it starts, ``stay:SECONDS`` before
it ends. ``STARTS``: a file that counts them."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from talo import signals
from tests.apps.traced import app

__all__ = ["app"]


def start(**_: Any) -> None:
    """Begin as it is this process's turn."""
    with open(os.environ["STARTS"], "ab") as file:
        file.write(b"1")
        file.flush()
        number = file.tell()
    ways = os.environ["FALTERS"].split()
    way, _, much = ways[min(number, len(ways)) - 1].partition(":")
    if way == "exit":
        sys.exit(int(much))
    if way == "nap":
        time.sleep(float(much))
    if way == "stay":
        signals.worker_process_shutdown.connect(lambda **_: time.sleep(float(much)), weak=False)


signals.worker_process_init.connect(start, weak=False)
