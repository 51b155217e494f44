"""Where results and history go: with the settlement where broker and results are one place, before it where they are
two, nowhere where there is no store for them.

Chosen once per process. Called by the settler and the undertaker, on what they are about to hand to the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from talo.stores.base import ResultBackend, Settlement, Store
from talo.stores.closings import Closings
from talo.stores.history import History

__all__ = ["Split", "split_of"]

Split = Callable[[Sequence[Settlement]], Sequence[Settlement]]


def split_of(store: Store, results: Store | None, state: Store | None = None, *, history: bool = True) -> Split:
    """Return what makes settlements fit for these stores; ``state`` keeps the history of a broker that keeps none.
    Without ``history`` nobody does: records were made for the metrics only."""
    split: Split
    if results is None:
        split = _bare
    elif store.same_as(results):
        split = _whole
    else:
        # What is closed is remembered with the messages, where their store can, and else with the results.
        remembers = store.features.atomic or not results.features.locks
        split = partial(_apart, store, results.results, None if remembers else Closings(results))
    if not history:
        return partial(_told, None, split)
    if store.history is not None:
        return split
    return partial(_told, None if state is None else state.history, split)


def _told(history: History | None, split: Split, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """History first, since it may be told twice and must not be missing."""
    runs = [s.run for s in settlements if s.run is not None]
    if not runs:
        return split(settlements)
    if history is not None:
        history.record(runs)
    return split([msgspec.structs.replace(s, run=None) if s.run is not None else s for s in settlements])


def _whole(settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    return settlements


def _apart(
    store: Store, results: ResultBackend, closings: Closings | None, settlements: Sequence[Settlement]
) -> Sequence[Settlement]:
    """Results and parts first, then what the parts complete: a crash before the settlement repeats, and loses
    nothing. With ``closings`` also what a group or a step frees, so that it is sent before it counts as closed."""
    void = closings.void(settlements) if closings is not None else frozenset[int]()
    live = {index: s for index, s in enumerate(settlements) if index not in void}
    metas = [meta for s in live.values() for meta in ((s.result, *s.also) if s.result is not None else s.also)]
    if metas:
        results.store(metas)
    parts = [s.part for s in live.values() if s.part is not None]
    freed = results.add_parts(parts) if parts else []
    closing = {i: s for i, s in live.items() if s.closes is not None} if closings is not None else {}
    freed += [message for s in closing.values() for message in Closings.freed(s)]
    if freed:
        store.broker.send(freed)
    if closings is not None:
        closings.close([s.closes for s in closing.values() if s.closes is not None])
    return [_ended(s) if index in void else _rest(s, sent=index in closing) for index, s in enumerate(settlements)]


def _rest(s: Settlement, *, sent: bool) -> Settlement:
    """What is left to the broker; nothing to send where that has been ``sent``."""
    if sent:
        return msgspec.structs.replace(s, result=None, also=(), part=None, closes=None, follow=())
    if s.result is not None or s.also or s.part is not None:
        return msgspec.structs.replace(s, result=None, also=(), part=None)
    return s


def _ended(s: Settlement) -> Settlement:
    """The end of a lease and of nothing else."""
    return Settlement(lease=s.lease, run=s.run)


def _bare(settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    return [
        msgspec.structs.replace(s, result=None, also=()) if s.result is not None or s.also else s for s in settlements
    ]
