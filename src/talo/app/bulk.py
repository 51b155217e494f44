"""Bulk sends: many calls, a batch at a time, and how far such a send has come.

Owns the batches, and the count that is kept under a key: a batch is confirmed by the store first and counted then, so
whoever goes on after a crash leaves nothing out, and repeats one batch at most, under the same ids. What a call becomes
is ``app.send``'s. Callers: users.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from talo.app._batches import Batches
from talo.app._call import NOTHING
from talo.app._calls import Calls
from talo.app.result import AsyncResult
from talo.app.send import Own, Prepared, Sender
from talo.app.workflows import KEPT
from talo.stores.base import ResultBackend

__all__ = ["BulkDoors"]

log = logging.getLogger("talo.app")

#: The space of all keys. Another one would begin every send anew.
_KEYS = UUID("6b0f2f5e-6f0b-4a44-9b0e-0d6a3c1f7a52")


class BulkDoors:
    """What an app offers of bulk sends: mixed into ``Talo``."""

    if TYPE_CHECKING:
        _sender: Sender
        records: ResultBackend

    def send_many(
        self, calls: Iterable[Any], *, batch: int = 1_000, key: str | None = None, **options: Any
    ) -> list[AsyncResult[Any]]:
        """Send many calls in batches; return their results in order.

        A call is a signature, or a tuple ``(task or name, args, kwargs, options)`` that may end early. ``calls`` may
        be a generator: it is read as it is sent. ``options`` hold for every call that does not say otherwise.

        With a ``key`` the same calls sent under it once more go on after those that were confirmed, whatever became of
        the process that began; when all are, nothing is sent. The ids follow from the key. A note on what is raised
        says how far it came, ``bulk_sent`` says it at any time. Errors: also those of the store that keeps results.
        """
        tally = None if key is None else Tally(self.records, key)
        return Bulk(self, self._sender, batch, options, tally).send(calls)

    def bulk_sent(self, key: str) -> int:
        """How many calls have been sent under this key; kept for 30 days."""
        return Tally(self.records, key).read()


class Tally:
    """How many calls of one bulk send the store has confirmed, and the ids of all of them."""

    def __init__(self, records: ResultBackend, key: str) -> None:
        self.key = key
        self._records = records
        self._space = uuid5(_KEYS, key)

    def read(self) -> int:
        """How many there were when a batch was confirmed last."""
        return int(self._records.get_group(str(self._space)) or 0)

    def note(self, count: int) -> None:
        """So many there are now."""
        self._records.store_group(str(self._space), str(count).encode(), KEPT)

    def id_of(self, place: int) -> str:
        """The id of the call at this place, the same each time."""
        return str(uuid5(self._space, str(place)))


class Bulk:
    """One bulk send."""

    def __init__(
        self, app: Any, sender: Sender, batch: int, options: Mapping[str, Any], tally: Tally | None = None
    ) -> None:
        self._sender = sender
        self._batch = batch
        self._tally = tally
        self._reader = Calls(app, sender.forms, options)
        self._eager = app.conf.task_always_eager
        self._results: list[AsyncResult[Any]] = []
        self._waiting: list[Prepared] = []
        self._batches = Batches(sender, options)

    def send(self, calls: Iterable[Any]) -> list[AsyncResult[Any]]:
        """Send calls as they come; what was sent before an error is named in its note."""
        before = self._counted()
        try:
            with self._batches:
                for place, call in enumerate(calls):
                    self._take(place, call, sent=place < before)
                self._flush()
        except Exception as exc:
            again = "" if self._tally is None else f"; send them again with key={self._tally.key!r} to go on from there"
            exc.add_note(f"send_many: {self._batches.sent} calls had been sent before this{again}")
            raise
        return self._results

    def _counted(self) -> int:
        """How many calls others have sent under the key."""
        if self._tally is None or self._eager:
            return 0
        sent = self._batches.sent = self._tally.read()
        if sent:
            log.info(
                "%d calls of the bulk send %r were sent before: going on after them", sent, self._tally.key,
                extra={"action": "resume", "bulk": self._tally.key},
            )  # fmt: skip
        return sent

    def _take(self, place: int, call: Any, *, sent: bool) -> None:
        (name, task, check, common, form), args, kwargs, own = self._reader.read(call)
        if check is not None:
            check(args or (), kwargs or NOTHING)
        if own:
            common = {**common, **own}
            form = self._sender.forms.find(name, common)
        if self._eager and task is not None:
            more = {key: value for key, value in common.items() if key != "task_type"}
            self._results.append(task.apply_async(args, kwargs, **more))
            return
        task_id = common.get("task_id") or (None if self._tally is None else self._tally.id_of(place))
        prepared = self._sender.prepared(name, args, kwargs, common, form, Own(task_id))
        if sent:
            self._results.append(self._sender.result(prepared))
            return
        self._waiting.append(prepared)
        if len(self._waiting) >= self._batch:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._batches.send(waiting)
        # Nothing begins before the batch before it is counted; what an outlet has taken depends on a transaction, whose
        # end will tell of all of it at once.
        if self._tally is not None and self._batches.end():
            self._tally.note(self._batches.sent)
        self._results.extend(self._sender.result(prepared) for prepared in waiting)
        self._reader.forget()
