"""The app of workflows, with messages and results in two places, torn where no step covers both.

``TORN=dies``: whoever has sent what an end frees is killed before it can remember that, once for each end.
``TORN=together``: continuations of groups come twice, and two of one group find at the same moment that it is open.

Files beside the trace tell of each end who has come to it, and who has remembered it (``closed``).
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from talo.canvas.advance import CHORD
from talo.stores.base import Settlement
from talo.stores.closings import Closings
from talo.stores.rabbitmq.broker import RabbitBroker
from talo.stores.sqs.broker import SqsBroker
from talo.wire.message import Message
from tests.apps.flows import app
from tests.support import eventually

__all__ = ["app"]

_to_rabbitmq, _to_sqs, _void, _close = RabbitBroker.send, SqsBroker._send, Closings.void, Closings.close


def _file(name: str, of: object) -> Path:
    return Path(f"{os.environ['TRACE']}-{hashlib.sha256(name.encode()).hexdigest()[:16]}-{of}")


def _close_after(self: Closings, names: Sequence[str]) -> None:
    for name in names:
        if os.environ["TORN"] == "dies" and not (came := _file(name, "came")).exists():
            came.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    _close(self, names)
    for name in names:
        _file(name, f"closed-{os.getpid()}").touch()


def _doubled(messages: Sequence[Message]) -> list[Message]:
    return [each for message in messages for each in [message] * (1 + (message.task == CHORD))]


def _twice_to_rabbitmq(self: RabbitBroker, messages: Sequence[Message], *, timeout: float | None = None) -> None:
    _to_rabbitmq(self, _doubled(messages), timeout=timeout)


def _twice_to_sqs(self: SqsBroker, messages: Sequence[Message]) -> None:
    _to_sqs(self, _doubled(messages))


def _void_together(self: Closings, settlements: Sequence[Settlement]) -> set[int]:
    void = _void(self, settlements)
    for index, each in enumerate(settlements):
        if each.closes is not None and not each.closes.startswith("once:") and index not in void:
            _file(each.closes, f"came-{os.getpid()}").touch()
            eventually(lambda of=each.closes: _two_have_come(of), timeout=60)  # type: ignore[misc]
    return void


def _two_have_come(name: str) -> None:
    found = _file(name, "came-*")
    assert len(list(found.parent.glob(found.name))) >= 2


if "TORN" in os.environ:
    Closings.close = _close_after  # type: ignore[method-assign]
if os.environ.get("TORN") == "together":
    Closings.void = _void_together  # type: ignore[method-assign]
    RabbitBroker.send, SqsBroker._send = _twice_to_rabbitmq, _twice_to_sqs  # type: ignore[method-assign]
