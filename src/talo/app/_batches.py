"""Many calls on their way, a batch at a time: while the store takes one, the next is made ready.

Owns how many are sent for sure. What a batch consists of is its caller's: ``app.bulk`` and ``app.workflows``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from talo.app._call import NOTHING

if TYPE_CHECKING:
    from talo.app.send import Prepared, Sender

__all__ = ["Batches"]


class Batches:
    """Sends batches in their order; a context that ends when the last one is sent, or is known not to be."""

    def __init__(self, sender: Sender, options: Mapping[str, Any] = NOTHING) -> None:
        self._sender = sender
        self._options = options
        #: Calls that have been sent for sure, from the first on.
        self.sent = 0
        self._failed = False
        self._begun: tuple[Callable[[], bool], int] | None = None

    def send(self, batch: Sequence[Prepared]) -> None:
        """Begin to send a batch, and see the one before it to its end. Raises what a send raises, of either."""
        before, self._begun = self._begun, None
        try:
            self._begun = self._sender.begin(batch, self._options), len(batch)
        finally:
            self._finish(before)

    def end(self) -> bool:
        """See the last batch to its end; False if an outlet has it now, and not the store."""
        begun, self._begun = self._begun, None
        return self._finish(begun)

    def _finish(self, begun: tuple[Callable[[], bool], int] | None) -> bool:
        if begun is None:
            return True
        wait, count = begun
        failed, self._failed = self._failed, True
        stored = wait()
        # Behind one that failed nothing counts, though it may be there.
        if not failed:
            self._failed = False
            self.sent += count
        return stored

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
