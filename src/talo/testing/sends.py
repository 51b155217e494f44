"""What an app sends, caught before it reaches the broker.

Owns the outlet ``Sends`` and the plain form ``Sent`` of a message for assertions. Used by the fixture ``talo_sends``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from talo.app.outlets import Outlet
from talo.wire import serializers
from talo.wire.message import Message
from talo.wire.protocol import decode

if TYPE_CHECKING:
    from talo.app.app import Talo

__all__ = ["Sends", "Sent", "captured"]


@dataclass(frozen=True)
class Sent:
    """One message, as it would have gone to the broker."""

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    #: Epoch seconds; None: at once.
    due: float | None
    message: Message


class Sends(Outlet, Sequence[Sent]):
    """Every send since it began, in order; nothing of it reaches a broker."""

    def __init__(self, app: Talo) -> None:
        self._app = app
        self._sent: list[Sent] = []

    def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
        del publish
        self._sent.extend(self._read(message) for message in messages)
        return True

    def holding(self, task_id: str) -> str | None:
        caught = any(sent.id == task_id for sent in self._sent)
        return "nothing: this test catches its sends, and nobody runs them" if caught else None

    def of(self, task: Any) -> list[Sent]:
        """Those of one task, or of a name."""
        name = task if isinstance(task, str) else task.name
        return [sent for sent in self._sent if sent.task == name]

    def clear(self) -> None:
        """Forget what was sent so far."""
        self._sent.clear()

    def _read(self, message: Message) -> Sent:
        call = decode(message, serializers.accept(self._app.conf.accept_content), self._app.timezone)
        return Sent(call.id, call.task, tuple(call.args), dict(call.kwargs), message.queue, message.due, message)

    def __len__(self) -> int:
        return len(self._sent)

    def __getitem__(self, index: Any) -> Any:
        return self._sent[index]

    def __repr__(self) -> str:
        return f"<Sends: {[(sent.task, sent.args, sent.kwargs) for sent in self._sent]!r}>"


@contextlib.contextmanager
def captured(app: Talo) -> Iterator[Sends]:
    """Within it, what the app sends is caught: last of all, so what waits for a commit is caught at the commit."""
    sends = Sends(app)
    app.outlets.insert(0, sends)
    try:
        yield sends
    finally:
        app.outlets.remove(sends)
