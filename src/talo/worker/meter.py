"""The meter: what one process of a worker has settled, in shared memory, as numbers under bounded labels.

One writer (the child of a share, or the agent), one reader (``worker.metrics``, in the agent). It outlives its child:
the next one on the same share counts on. Where nobody may ask for metrics it counts the ends of each task and no more.
Written by the settler and the undertaker, after the store has taken the settlements."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from talo.stores.base import Lease, Settlement
from talo.stores.history import BUCKETS, tally

__all__ = ["BOUNDS", "MOST_QUEUES", "MOST_TASKS", "OTHER", "SIZE", "Bounded", "Kind", "Meter", "Row", "totals"]

#: Upper bounds of the exported histograms in seconds: every second one of the store's, 1 ms to about five hours.
BOUNDS = BUCKETS[::2]
#: The label of everything beyond the bounds.
OTHER = "other"
#: Different queues, and different reasons of dead letters, that get a label of their own.
MOST_QUEUES = 100
#: The highest ``metrics_max_tasks``: there is room for so many.
MOST_TASKS = 500

#: Room for rows, for their labels, and for the numbers of each, in numbers of eight bytes.
_ROWS, _LABELS, _NUMBERS = 2048, 32, 16
_ROW = _LABELS + _NUMBERS
#: How many rows there are; refused settlements; leases of owners that were lost.
_USED, _REFUSED, _LOST = 0, 1, 2
_HEAD = 8
#: Rows that combinations of task, queue and state may take; the rest is kept for what has one label.
_MOST_COMBINED = 1024
#: Bytes of a label that count.
_LONGEST = 110
#: The number in which the sum of seconds stands, behind the buckets and what is above them.
_SUM = len(BOUNDS) + 1

#: Bytes of one process's part. Of pages that are not touched there is none.
SIZE = (_HEAD + _ROWS * _ROW) * 8


class Kind:
    """What a row counts, and so which labels it has."""

    #: Ends: task, queue, state.
    ENDED = "e"
    #: Run times: task.
    RAN = "r"
    #: Waiting times: queue.
    WAITED = "w"
    #: Dead letters: reason.
    DEAD = "d"


class Row(NamedTuple):
    """One row as it was read: counters have one number, histograms a count for each of ``BOUNDS``, one for what is
    above, and the sum of seconds."""

    kind: str
    labels: tuple[str, ...]
    numbers: Sequence[float]


class Bounded:
    """Lets the first ``most`` different labels through; the others are one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = {OTHER}

    def __call__(self, label: str) -> str:
        if label in self._known:
            return label
        # OTHER is known beside them.
        if len(self._known) > self._most:
            return OTHER
        self._known.add(label)
        return label


class Meter:
    """One process's part of the memory. ``most_tasks`` different names of tasks are told apart; without ``times`` only
    they are counted, which costs a settlement nearly nothing."""

    def __init__(self, memory: mmap.mmap, offset: int, most_tasks: int, *, times: bool = True) -> None:
        self._times = times
        self._bytes = memoryview(memory)[offset : offset + SIZE]
        self._numbers = self._bytes.cast("d")
        self._tasks = Bounded(most_tasks)
        self._queues = Bounded(MOST_QUEUES)
        self._reasons = Bounded(MOST_QUEUES)
        #: (kind, labels) -> where the numbers of its row begin; read before the first count.
        self._places: dict[tuple[str, ...], int] = {}

    # -- writing -----------------------------------------------------------------------------------------------------

    def count(self, settlements: Sequence[Settlement], refused: Collection[Lease] = ()) -> None:
        """The store has taken these, but those whose leases were refused."""
        numbers = self._numbers
        if not self._places:
            self._places = self._found()
        if refused:
            gone = set(refused)
            settlements = [settlement for settlement in settlements if settlement.lease not in gone]
            numbers[_REFUSED] += len(gone)
        if not self._times:
            ended = Counter(settlement.run.name for settlement in settlements if settlement.run is not None)
            for name, more in ended.items():
                numbers[self._row(Kind.ENDED, self._tasks(_fit(name)), "", "")] += more
            return
        for (_, name, queue, state), sums in tally(settlement.run for settlement in settlements).items():
            task, place = self._tasks(_fit(name)), self._queues(_fit(queue))
            numbers[self._row(Kind.ENDED, task, place, _fit(state))] += len(sums.runs)
            rows = {"run": self._row(Kind.RAN, task), "wait": self._row(Kind.WAITED, place)}
            for kind, bucket, number, micros in sums.entries():
                numbers[rows[kind] + (bucket + 1) // 2] += number
                numbers[rows[kind] + _SUM] += micros / 1e6
        for settlement in settlements:
            if settlement.death is not None:
                numbers[self._row(Kind.DEAD, self._reasons(_fit(settlement.death.reason)))] += 1

    def note_lease_lost(self) -> None:
        """This process was declared dead by the others, and lives."""
        self._numbers[_LOST] += 1

    def _row(self, *key: str) -> int:
        places = self._places
        at = places.get(key)
        if at is None:
            if key[0] == Kind.ENDED and len(places) >= _MOST_COMBINED and key[1:3] != (OTHER, OTHER):
                return self._row(Kind.ENDED, OTHER, OTHER, key[3])
            at = places[key] = self._new_row(key)
        return at

    def _new_row(self, key: tuple[str, ...]) -> int:
        number = int(self._numbers[_USED])
        start = _HEAD + number * _ROW
        text = "\x1f".join(key).encode()
        self._bytes[start * 8 : start * 8 + len(text)] = text
        # Only now may it be read.
        self._numbers[_USED] = number + 1
        return start + _LABELS

    def _found(self) -> dict[tuple[str, ...], int]:
        """The rows of the child that was here before, whose labels count as known."""
        places = {}
        for number in range(int(self._numbers[_USED])):
            key = self._key(number)
            places[key] = _HEAD + number * _ROW + _LABELS
            for bounded, label in zip(_BOUNDED[key[0]], key[1:], strict=False):
                getattr(self, bounded)(label)
        return places

    def _key(self, number: int) -> tuple[str, ...]:
        start = (_HEAD + number * _ROW) * 8
        return tuple(bytes(self._bytes[start : start + _LABELS * 8]).rstrip(b"\0").decode().split("\x1f"))

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def refused(self) -> int:
        """How many settlements the store refused: others had settled them, or taken them over."""
        return int(self._numbers[_REFUSED])

    @property
    def leases_lost(self) -> int:
        """How often its lease was over although it lived."""
        return int(self._numbers[_LOST])

    def rows(self) -> Iterator[Row]:
        """Everything that was counted."""
        for number in range(int(self._numbers[_USED])):
            kind, *labels = self._key(number)
            at = _HEAD + number * _ROW + _LABELS
            yield Row(kind, tuple(labels), self._numbers[at : at + _NUMBERS].tolist())


def totals(meters: Iterable[Meter]) -> dict[str, int]:
    """How many runs of each task have ended, in all these processes."""
    found: Counter[str] = Counter()
    for meter in meters:
        for kind, labels, numbers in meter.rows():
            if kind == Kind.ENDED:
                found[labels[0]] += int(numbers[0])
    return dict(found)


#: Which bounds the labels of a kind are under.
_BOUNDED: dict[str, tuple[str, ...]] = {
    Kind.ENDED: ("_tasks", "_queues"),
    Kind.RAN: ("_tasks",),
    Kind.WAITED: ("_queues",),
    Kind.DEAD: ("_reasons",),
}


def _fit(label: str) -> str:
    """The label as far as it counts: without what would end it, and as long as a row has room."""
    if label.isascii() and len(label) <= _LONGEST and label.isprintable():
        return label
    text = "".join(each if each.isprintable() else "?" for each in label)
    return text.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
