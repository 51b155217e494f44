"""How deliveries of SQS end, in the order that loses nothing when it breaks off.

Owns what a batch of settlements keeps beside SQS before its messages end: results and parts, follow-ups, the dead. The
order is explained in ``docs/internals/sqs.md``. Called by ``broker``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from talo.errors import NotSupported
from talo.stores.base import Death, Delivery, Settlement, Store, Verdict
from talo.stores.closings import Closings
from talo.stores.sqs.ledger import Held
from talo.stores.sqs.messages import delivery_of
from talo.stores.sqs.shelf import Shelf
from talo.wire.message import Message

__all__ = ["Ending", "Endings"]

log = logging.getLogger(__name__)

Pair = tuple[Settlement, Held]


@dataclass(slots=True)
class Ending:
    """What is left to do in SQS after all else is kept: what goes back, what is deleted; and the groups closed."""

    again: list[Pair] = field(default_factory=list)
    delete: list[Held] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


class Endings:
    """Ends batches for one store. Without a side store nothing can be kept but messages. ``tell`` is called with what
    no settlement names, before ``send`` is."""

    def __init__(
        self,
        side: Store | None,
        shelf: Shelf | None,
        send: Callable[[Sequence[Message]], None],
        tell: Callable[[Sequence[Message]], None],
    ) -> None:
        self._side = side
        self._closings = None if side is None else Closings(side)
        self._shelf = shelf
        self._send = send
        self._tell = tell

    def keep(self, pairs: Sequence[Pair]) -> Ending:
        """Keep everything that these ends mean beside SQS and send what follows; return what is left to do."""
        ending = Ending()
        effective = self._open(pairs, ending)
        self._results(effective)
        follow = [message for settlement, _ in effective for message in self._follow(settlement)]
        if freed := self._parts(effective):
            self._tell(freed)
            follow += freed
        if follow:
            self._send(follow)
        dead = []
        for settlement, held in effective:
            if settlement.verdict is Verdict.AGAIN:
                ending.again.append((settlement, held))
            elif settlement.verdict is Verdict.DEAD:
                charged = held._replace(deliveries=held.deliveries + settlement.charge)
                dead.append((delivery_of(charged), settlement.death or Death(reason="unknown")))
        if dead:
            self._bury(dead)
        kept = {id(held) for _, held in ending.again}
        ending.delete = [held for _, held in pairs if id(held) not in kept]
        return ending

    def close(self, ending: Ending) -> None:
        """Remember the continuations that have run, and forget their groups."""
        if self._closings is not None:
            self._closings.close(ending.closed)

    def _open(self, pairs: Sequence[Pair], ending: Ending) -> list[Pair]:
        """Without those whose group was closed before: of these nothing but the message ends."""
        if self._closings is None:
            return list(pairs)
        void = self._closings.void([settlement for settlement, _ in pairs])
        effective = [pair for index, pair in enumerate(pairs) if index not in void]
        ending.closed = [settlement.closes for settlement, _ in effective if settlement.closes is not None]
        return effective

    def _results(self, pairs: Sequence[Pair]) -> None:
        metas = [meta for s, _ in pairs for meta in ((s.result, *s.also) if s.result is not None else s.also)]
        if metas:
            self._needed("results").results.store(metas)
        runs = [settlement.run for settlement, _ in pairs if settlement.run is not None]
        if runs and self._side is not None and self._side.history is not None:
            self._side.history.record(runs)

    def _parts(self, pairs: Sequence[Pair]) -> list[Message]:
        parts = [settlement.part for settlement, _ in pairs if settlement.part is not None]
        return self._needed("groups").results.add_parts(parts) if parts else []

    def _follow(self, settlement: Settlement) -> Sequence[Message]:
        if settlement.closes is None or self._closings is None:
            return settlement.follow
        return self._closings.freed(settlement)

    def _bury(self, dead: Sequence[tuple[Delivery, Death]]) -> None:
        if self._shelf is not None:
            self._shelf.bury(dead)
            return
        for _, death in dead:
            log.error(
                "A message is deleted, for sqs:// has no store beside it for dead letters: %s: %s",
                death.reason,
                death.text,
                extra={"action": "dropped", "task_id": death.task_id},
            )

    def _needed(self, what: str) -> Store:
        if self._side is None:
            raise NotSupported(f"sqs:// keeps no {what}: set result_backend to the URL of a store that does")
        return self._side
