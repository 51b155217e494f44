"""Telling the workers that what they may start has changed, and waiting until they have heard.

Owns the question, who is waited for, and for how long. The change itself stands in the store before
(``app.revocations``); a worker that hears reads it before its next start, and so does one that comes later. Answered by
the agents (``worker.agent``); called by whoever changes marks.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from talo.stores.base import Locks, Store

__all__ = ["HEARD_WITHIN", "QUESTION", "Hearing", "answer"]

log = logging.getLogger("talo.app")

#: The channel on which agents are told to look.
QUESTION = "talo.revoked"
#: What stands in front of the channel on which they say that they have.
ANSWER = "talo.heard."
#: The kind of mark by which owners of leases are known where their broker does not tell of them.
ATTENDING = "attending"
#: Seconds for which an answer is waited for. An agent answers within milliseconds unless its process stands still.
HEARD_WITHIN = 2.0
#: The same for those who did not answer the last time.
FOR_SILENT = 0.1
#: Seconds between two looks at who is still there: who has gone need not answer.
LOOK = 0.25


class Hearing:
    """Tells the workers of one app, and remembers who did not answer: it is not waited for so long again."""

    def __init__(self, app: Any) -> None:
        self._app = app
        #: Owners that have not answered in time: their process stands still, or their machine is gone and their lease
        #: is not over yet.
        self._silent: set[str] = set()

    def tell(self, within: float = HEARD_WITHIN) -> list[str]:
        """Tell every worker to read the marks anew; return the owners of leases (children) that have not confirmed it
        within so many seconds, none of them if all have.

        When it returns an empty list, nothing that the marks forbid passes its check any more. With ``within`` 0 it
        tells and does not wait.
        """
        state = self._app.state_store
        deaf = self.living() if within > 0 else set()
        if not deaf:
            state.bus.publish(QUESTION, b"")
            return []
        channel = f"{ANSWER}{uuid.uuid4().hex}"
        began = time.monotonic()
        with state.bus.subscribe([channel]) as ear:
            state.bus.publish(QUESTION, channel.encode())
            while deaf:
                patience = within if deaf - self._silent else min(within, FOR_SILENT)
                if (left := began + patience - time.monotonic()) <= 0:
                    break
                heard = ear.get(min(left, LOOK))
                deaf &= self.living() if heard is None else deaf - set(msgspec.json.decode(heard[1], type=list[str]))
        if deaf - self._silent:
            names = sorted(deaf)
            log.warning(
                "Revoked, but not confirmed within %g s by %s: it starts nothing of that as soon as it hears",
                within,
                ", ".join(names),
                extra={"action": "revoke", "owners": names},
            )
        self._silent = deaf
        return sorted(deaf)

    def living(self) -> set[str]:
        """Those that may start tasks: owners whose lease holds. An agent has no slots."""
        if (locks := self._register()) is not None:
            return set(locks.all_marked(ATTENDING))
        return {each.owner for each in self._app.store.broker.owners() if each.slots > 0 and each.remaining > 0}

    def attend(self, owners: Iterable[str], lease: float) -> None:
        """Have these owners waited for, for ``lease`` seconds; nothing to do where their broker tells of them. An owner
        attends before it reads the marks, so that a change of which it does not know knows of it."""
        if (locks := self._register()) is not None and (marks := dict.fromkeys(owners, lease)):
            locks.mark(ATTENDING, marks)

    def leave(self, owner: str) -> None:
        """Have an owner that is dead waited for no more."""
        if (locks := self._register()) is not None:
            locks.unmark(ATTENDING, [owner])

    def _register(self) -> Locks | None:
        """Where owners say that they are there; None where it is not needed, or nothing keeps it."""
        state = self._app.state_store
        return None if state is None or self._app.store.features.tells_owners else state.locks


def answer(state: Store, question: bytes, owners: list[str]) -> None:
    """Say for these children that they will read the marks before they start anything."""
    channel = question.decode(errors="replace")
    if channel.startswith(ANSWER):
        state.bus.publish(channel, msgspec.json.encode(owners))
