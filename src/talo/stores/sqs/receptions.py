"""What messages have been charged that go back to SQS as they are: SQS counts every reception, and not all are charges.

Owns a note for each such message in the side store: up to which count of its receptions everything is settled, and what
it has been charged by then. Of later receptions nobody has been heard. Called by ``broker``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import msgspec

from talo.errors import OperationalError
from talo.stores.base import ResultMeta, Settlement, Store
from talo.stores.sqs.ledger import Held

__all__ = ["Note", "Receptions"]

_NAME = "talo.sqs.receptions/"
#: API reference, CreateQueue: SQS keeps a message for 14 days at most, in seconds.
_KEPT = 1_209_600.0


class Note(msgspec.Struct):
    """After so many receptions a message has been charged ``deliveries``."""

    receptions: int = 0
    deliveries: int = 0
    suspect: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Note).decode


class Receptions:
    """The notes of one place. Without a side store there are none, and every reception counts."""

    def __init__(self, side: Store | None) -> None:
        self._side = side

    def notes(self, messages: Sequence[str]) -> Mapping[str, Note]:
        """Those there are about these messages, by SQS's id."""
        if self._side is None or not messages:
            return {}
        found = self._side.results.get([_NAME + message for message in messages])
        return {name.removeprefix(_NAME): _decode(payload) for name, payload in found.items()}

    def note(self, pairs: Sequence[tuple[Settlement, Held]]) -> None:
        """These are about to go back."""
        if self._side is None or not pairs:
            return
        metas = []
        for settlement, held in pairs:
            suspect = held.suspect or settlement.suspect
            payload = _encode(Note(held.receptions, held.deliveries + settlement.charge, suspect))
            metas.append(ResultMeta(task_id=_NAME + held.message, status="PENDING", payload=payload, expires=_KEPT))
        self._side.results.store(metas)

    def forget(self, ended: Sequence[Held]) -> None:
        """These messages are no more."""
        names = [_NAME + held.message for held in ended if held.receptions > 1]
        if self._side is not None and names:
            # It expires by itself, too.
            with contextlib.suppress(OperationalError):
                self._side.results.forget(names)
