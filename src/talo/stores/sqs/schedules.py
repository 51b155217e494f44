"""Periodic tasks beside SQS: the side store's own schedules, with what they send on its way to SQS.

A tick is claimed in one step of the side store, which also puts the task on the shelf; from there it is promoted at
once by whoever claimed it, and by anybody else if that one dies. Called by ``beat`` and ``control.schedules``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from talo.stores.schedules import Change, Plans, Run, Schedules
from talo.stores.sqs.shelf import Shelf

__all__ = ["SqsSchedules"]


class SqsSchedules(Schedules):
    """The schedules role of ``SqsStore``."""

    def __init__(self, side: Schedules, shelf: Shelf) -> None:
        self._side = side
        self._shelf = shelf

    def read(self, space: str, since: int = 0) -> Plans:
        return self._side.read(space, since)

    def change(self, space: str, changes: Sequence[Change]) -> list[int]:
        sent = [message.queue for change in changes for message in change.messages]
        if not sent:
            return self._side.change(space, changes)
        self._shelf.watch(sent)
        moved = [
            msgspec.structs.replace(change, messages=self._shelf.shelved(change.messages, copied=True))
            for change in changes
        ]
        versions = self._side.change(space, moved)
        self._shelf.look(now=True)
        return versions

    def runs(self, space: str, name: str, limit: int) -> list[Run]:
        return self._side.runs(space, name, limit)
