"""What a store that keeps history promises: runs that can be searched, and counters that can be summed.

Owns the contract of that one role, beside ``base``, and the arithmetic that every store shares (buckets, periods, the
tally of a batch). ``talo.testing.contract`` holds stores to it. Records come in with settlements; callers that read
are ``control.history``, the command line and the dashboard.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import frexp
from operator import add

import msgspec

__all__ = [
    "BUCKETS",
    "CELLS",
    "PERIODS",
    "Count",
    "Failures",
    "History",
    "Page",
    "RunQuery",
    "RunRecord",
    "Sums",
    "Tally",
    "bucket_of",
    "collect",
    "period_for",
    "quantile",
    "tally",
]

#: Upper bounds of the buckets in seconds, each twice the one before, from 1 ms to about 5 hours; what is longer stands
#: in one more.
BUCKETS: tuple[float, ...] = tuple(0.001 * 2**n for n in range(25))

#: The numbers of a counter, of which each is a sum: how many ended, microseconds that they ran and waited, and how many
#: are in each bucket by run time and by waiting time. Every store keeps them as one row, in this order.
_RAN, _WAITED, _RUN_BUCKETS, _WAIT_BUCKETS = 1, 2, 3, 4 + len(BUCKETS)
CELLS = _WAIT_BUCKETS + len(BUCKETS) + 1

#: Widths of the periods that are counted, and for how many seconds each is kept: minutes for two days, hours for two
#: weeks. Each end is added to one period of every width, so nothing has to be rolled up later.
PERIODS = ((60, 2 * 86_400.0), (3_600, 14 * 86_400.0))


class RunRecord(msgspec.Struct, kw_only=True, array_like=True, gc=False):
    """One attempt of one task, as its settlement tells it. Times are epoch seconds.

    What is only counted (``keep`` None) carries the first seven fields and nothing else.
    """

    name: str
    queue: str
    #: A state of Celery's (``SUCCESS``, ``FAILURE``, ``RETRY``, ``REVOKED``, ``REJECTED``, ``IGNORED``), or ``LOST``:
    #: its process died, and the message went back to its queue.
    state: str
    ended: float
    #: Seconds that the user's function took; None: it never started, or nobody knows.
    seconds: float | None = None
    #: Seconds between the moment at which it could have started and the moment at which it did; None: unknown.
    waited: float | None = None
    #: Seconds to keep this record; None: it is only counted.
    keep: float | None = None
    id: str = ""
    #: 0 is the first.
    attempt: int = 0
    worker: str = ""
    sent: float | None = None
    root: str | None = None
    parent: str | None = None
    group: str | None = None
    #: ``Type: message``, bounded.
    error: str | None = None
    #: The same for failures of one kind: exception type and the innermost frames of the user's own code.
    fingerprint: str | None = None
    #: The reason of the dead letter that this end left.
    dead: str | None = None
    args: str = ""
    kwargs: str = ""
    #: Bounded; the innermost frames are kept.
    traceback: str | None = None

    @property
    def started(self) -> float | None:
        """When the function was called; None: it never was, or nobody knows."""
        return None if self.seconds is None else self.ended - self.seconds


class RunQuery(msgspec.Struct, kw_only=True, frozen=True):
    """Which runs are asked for; what is None or empty does not matter."""

    name: str | None = None
    queue: str | None = None
    worker: str | None = None
    states: Sequence[str] = ()
    fingerprint: str | None = None
    #: A part of the error's text, without regard to the case of ASCII letters.
    text: str | None = None
    #: A part of the arguments as they are shown (``args`` or ``kwargs``), letter by letter.
    argument: str | None = None
    id: str | None = None
    root: str | None = None
    #: Epoch seconds; ``since <= ended < until``.
    since: float | None = None
    until: float | None = None

    def in_arguments(self, run: RunRecord) -> bool:
        """Whether the run has the argument that is asked for. Stores look for its bytes in the whole record, which is
        quick, and let this decide."""
        return self.argument is None or self.argument in run.args or self.argument in run.kwargs

    def in_error(self, run: RunRecord) -> bool:
        """Whether the run's error has the text that is asked for."""
        return self.text is None or self.text.encode().lower() in (run.error or "").encode().lower()


class Page(msgspec.Struct):
    """Some runs, newest first."""

    runs: list[RunRecord]
    #: Pass it to get what follows; None: there is nothing more.
    cursor: str | None = None
    #: Epoch seconds: the page is short because the search stopped here for now; None: it is not.
    until: float | None = None


class Count(msgspec.Struct, kw_only=True):
    """What ended in one period, of one task, queue and state."""

    #: Epoch seconds at which the period begins.
    start: float
    name: str
    queue: str
    state: str
    #: How many ended.
    count: int = 0
    #: Sum of run times and of waiting times, in seconds.
    seconds: float = 0.0
    waited: float = 0.0
    #: Bucket -> how many, by run time and by waiting time; see ``BUCKETS``.
    run_buckets: dict[int, int] = {}
    wait_buckets: dict[int, int] = {}


class Failures(msgspec.Struct, kw_only=True):
    """Failures of one kind."""

    fingerprint: str
    name: str
    #: The latest of them.
    example: RunRecord
    count: int
    #: Epoch seconds.
    first: float
    last: float


class History(ABC):
    """Keeps what became of tasks. Apart from ``record``, ``forget`` and ``trim`` it only reads, and none of its verbs
    ever touches a message, a lease or a result.

    Runs of accepted settlements come in with them, in the same step (``Settlement.run``).
    """

    #: Runs that are kept at most where nothing else is configured.
    max_runs: int = 1_000_000

    @abstractmethod
    def record(self, runs: Sequence[RunRecord]) -> None:
        """Count and keep these, outside of a settlement, because messages are kept elsewhere. A record that is there
        already (same id, attempt and end) is not kept twice."""

    @abstractmethod
    def counters(
        self, since: float, until: float, step: int, *, name: str | None = None, queue: str | None = None
    ) -> list[Count]:
        """Return what ended in the periods of ``step`` seconds that begin in ``since <= start < until`` (epoch
        seconds, rounded down to whole periods), by start, name, queue and state.

        ``step`` is a multiple of 60. Minutes are kept for two days and hours for two weeks; a step that is no multiple
        of an hour finds nothing that is older than two days.
        """

    @abstractmethod
    def runs(self, query: RunQuery, limit: int, cursor: str | None = None) -> Page:
        """Return up to ``limit`` kept runs that fit, newest first.

        A page may be short, or empty, while its cursor says that there is more: where each run is read it looks at so
        many that it takes some hundredths of a second. ``Page.until`` says how far back it has looked."""

    @abstractmethod
    def count(self, query: RunQuery, most: int | None = None) -> dict[str, int]:
        """Return how many kept runs fit, by state; of more than about ``most`` not all are counted."""

    @abstractmethod
    def attempts(self, task_id: str) -> list[RunRecord]:
        """Return every kept run of this task, the first attempt first."""

    @abstractmethod
    def failures(self, since: float, limit: int) -> list[Failures]:
        """Return the kinds of failures since then (epoch seconds), those that failed last first."""

    @abstractmethod
    def forget(self, query: RunQuery, most: int | None = None) -> int:
        """Delete the kept runs that fit, about ``most`` of them at most, and return how many; counters stay. Of less
        than ``most`` none is left."""

    @abstractmethod
    def trim(self, most: int, limit: int) -> int:
        """Delete up to about ``limit`` runs whose time is over or that are the oldest beyond ``most``, and old
        counters; return how many runs. Called once in a while until it returns less than ``limit``."""


class Sums:
    """What one batch adds to the counters of one minute, task, queue and state: its times, in seconds, in the order in
    which they came; -1 for what there is none of."""

    __slots__ = ("number", "runs", "waits")

    def __init__(self, number: int) -> None:
        #: Its place among the sums of its batch, from 0.
        self.number = number
        self.runs: list[float] = []
        self.waits: list[float] = []

    def entries(self) -> Iterator[tuple[str, int, int, int]]:
        """``run`` or ``wait``, bucket, how many, microseconds: of every bucket that has something."""
        for kind, unsorted in (("run", self.runs), ("wait", self.waits)):
            # Times in order make a bucket a slice: nothing is done in Python for each of them.
            times = sorted(unsorted)
            at = bisect_left(times, 0.0)
            while at < len(times):
                bucket = bucket_of(times[at])
                end = bisect_right(times, bucket, at, key=bucket_of)
                yield kind, bucket, end - at, round(sum(times[at:end]) * 1e6)
                at = end

    def cells(self) -> dict[int, int]:
        """What is added to which numbers of the counter."""
        cells = {0: len(self.runs), _RAN: 0, _WAITED: 0}
        for kind, bucket, count, micros in self.entries():
            total, first = (_RAN, _RUN_BUCKETS) if kind == "run" else (_WAITED, _WAIT_BUCKETS)
            cells[total] += micros
            cells[first + bucket] = count
        return cells


#: (minute since the epoch, name, queue, state) -> sums
Tally = dict[tuple[float, str, str, str], Sums]


def tally(runs: Iterable[RunRecord | None], order: list[int] | None = None) -> Tally:
    """Return the sums of a batch, so that a store makes few additions for many runs. It is on the path of every task.

    A run is in a bucket only if its time is known. ``order`` gets the number of its sums for each run, -1 where there
    is no run.
    """
    found: Tally = {}
    sums = Sums(-1)
    name = queue = state = ""
    since = until = 0.0
    for run in runs:
        if run is None:
            if order is not None:
                order.append(-1)
            continue
        ended = run.ended
        if not since <= ended < until or run.name != name or run.state != state or run.queue != queue:
            minute, name, queue, state = ended // 60.0, run.name, run.queue, run.state
            since, until = minute * 60.0, minute * 60.0 + 60.0
            known = found.get((minute, name, queue, state))
            if known is None:
                known = found[minute, name, queue, state] = Sums(len(found))
            sums = known
        seconds, waited = run.seconds, run.waited
        sums.runs.append(-1.0 if seconds is None else seconds)
        sums.waits.append(-1.0 if waited is None else waited)
        if order is not None:
            order.append(sums.number)
    return found


def bucket_of(seconds: float) -> int:
    """Return the bucket of a time: the first whose bound is above it."""
    return max(0, min(frexp(seconds * 1000.0)[1], len(BUCKETS)))


def period_for(since: float, step: int, now: float) -> int:
    """Return the width of the periods to sum up for such a question."""
    (minute, kept), (hour, _) = PERIODS
    return hour if step % hour == 0 and (step > hour or since < now - kept + minute) else minute


def collect(
    rows: Iterable[tuple[int, str, str, str, Sequence[int]]], step: int, since: float, until: float
) -> list[Count]:
    """Return the counts of rows (start, name, queue, state, the ``CELLS`` of a counter), summed up by steps."""
    found: dict[tuple[int, str, str, str], Sequence[int]] = {}
    first = since // step * step
    for start, name, queue, state, cells in rows:
        at = start // step * step
        if first <= at < until:
            key = (at, name, queue, state)
            known = found.get(key)
            found[key] = cells if known is None else list(map(add, known, cells))
    return [_count(*key, found[key]) for key in sorted(found)]


def _count(start: int, name: str, queue: str, state: str, sums: Sequence[int]) -> Count:
    # Some databases sum integers into decimals; here they become integers again.
    cells = list(map(int, sums))
    return Count(
        start=float(start),
        name=name,
        queue=queue,
        state=state,
        count=cells[0],
        seconds=cells[_RAN] / 1e6,
        waited=cells[_WAITED] / 1e6,
        run_buckets=_filled(cells[_RUN_BUCKETS:_WAIT_BUCKETS]),
        wait_buckets=_filled(cells[_WAIT_BUCKETS:]),
    )


def _filled(buckets: list[int]) -> dict[int, int]:
    return {at: count for at, count in enumerate(buckets) if count}


def quantile(buckets: dict[int, int], share: float) -> float | None:
    """Return the time (seconds) below which this share of a histogram lies, at the upper bound of its bucket; None if
    it is empty."""
    wanted = math.ceil(sum(buckets.values()) * share)
    for bucket in sorted(buckets):
        wanted -= buckets[bucket]
        if wanted <= 0:
            return BUCKETS[min(bucket, len(BUCKETS) - 1)]
    return None
