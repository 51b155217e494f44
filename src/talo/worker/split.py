"""Where results and history go: with the settlement where broker and results are one place, before it where they are
two, nowhere where there is no store for them.

Chosen once per process. Called by the settler and the undertaker, on what they are about to hand to the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from talo.stores.base import ResultBackend, Settlement, Store
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
        split = partial(_apart, store, results.results)
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


def _apart(store: Store, results: ResultBackend, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Results and parts first, then what the parts complete: a crash before the settlement repeats, and loses
    nothing."""
    metas = [meta for s in settlements for meta in ((s.result, *s.also) if s.result is not None else s.also)]
    if metas:
        results.store(metas)
    parts = [s.part for s in settlements if s.part is not None]
    if parts:
        completed = results.add_parts(parts)
        if completed:
            store.broker.send(completed)
    # What is closed is remembered with the messages, where their store can: a repeated one finds it there.
    remembers = store.features.atomic
    return [
        msgspec.structs.replace(s, result=None, also=(), part=None, closes=s.closes if remembers else None)
        if s.result is not None or s.also or s.part is not None or s.closes is not None
        else s
        for s in settlements
    ]


def _bare(settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    return [
        msgspec.structs.replace(s, result=None, also=()) if s.result is not None or s.also else s for s in settlements
    ]
