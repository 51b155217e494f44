"""History on Redis: counters in hashes, runs in chunks that are searched by short lists of places.

Owns the calls of the scripts and putting the two logs (successes, everything else) into one order; the keys are
described in ``lua/_history.lua``, and why they are so in ``docs/internals/history.md``. Called by ``control.history``,
the agent and the contract.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from talo.states import SUCCESS
from talo.stores.history import PERIODS, Count, Failures, History, Page, RunQuery, RunRecord, collect, period_for
from talo.stores.redis import scripts
from talo.stores.redis._keeping import CHUNK, bucket, runs_as_parts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part, pack

__all__ = ["RedisHistory"]

#: Runs that one script looks at while it searches, and those that one finds where nothing is read of them.
_LOOKS, _PAGE = 4000, 200
#: Runs that are looked through at a time in each log, by what is looked for in the bytes of each: a text in any case, a
#: part, or nothing. A script costs as much as looking at some.
_MOST_LOOKS = (("text", 4_000), ("argument", 8_000), ("", 100_000))
_SCRIPT = 400
#: Records and commands of one step.
_STEP = 500
_DONE = "-"

_decode = msgspec.msgpack.Decoder(RunRecord).decode
_decode_cells = msgspec.msgpack.Decoder(list[int]).decode


class _Chunk(NamedTuple):
    number: str
    size: int
    first: float
    last: float
    over: bool


class RedisHistory(History):
    """The history role of ``RedisStore``."""

    #: A run takes about 500 bytes of Redis' memory.
    max_runs = 250_000

    def __init__(self, client: Client, chunk: int = CHUNK) -> None:
        self._client = client
        self._prefix = client.keys.prefix
        #: How many runs a chunk takes.
        self.chunk = chunk

    def record(self, runs: Sequence[RunRecord]) -> None:
        for at in range(0, len(runs), _STEP):
            self._client.run(scripts.RECORD, self._prefix, *runs_as_parts(runs[at : at + _STEP], self.chunk))

    # -- counters -------------------------------------------------------------------------------------------------

    def counters(
        self, since: float, until: float, step: int, *, name: str | None = None, queue: str | None = None
    ) -> list[Count]:
        now = float(self._client.call("TIME")[0])
        width = period_for(since, step, now)
        kept = dict(PERIODS)[width]
        first = int(max(since // step * step, (now - kept) // width * width))
        starts = range(first - first % width, int(min(until, now + width)) + 1, width)
        return collect(self._counted(starts, width, name, queue), step, since, until)

    def _counted(
        self, starts: Sequence[int], width: int, name: str | None, queue: str | None
    ) -> Iterator[tuple[int, str, str, str, list[int]]]:
        for at in range(0, len(starts), _STEP):
            some = starts[at : at + _STEP]
            commands = [pack("HGETALL", self._client.keys.own(f"counters:{width}:{start}")) for start in some]
            hashes = self._client.pipeline(commands, self._client.deadline())
            for start, fields in zip(some, hashes, strict=True):
                for field, cells in fields.items():
                    task, place, state = field.decode().split("\0")
                    if name in (None, task) and queue in (None, place):
                        yield start, task, place, state, _decode_cells(cells)

    # -- runs -----------------------------------------------------------------------------------------------------

    def runs(self, query: RunQuery, limit: int, cursor: str | None = None) -> Page:
        starts = cursor.split("|") if cursor else ["", ""]
        walks = [
            _Walk(self, log, query, start, min(limit, _PAGE)) if log in _logs(query) else None
            for log, start in zip(("ok", "bad"), starts, strict=True)
        ]
        walking = [walk for walk in walks if walk is not None] if limit else []
        found: list[RunRecord] = []
        while len(found) < limit:
            ahead = [walk for walk in walking if walk.head() is not None]
            # What one of them has not looked at may have ended later than what another found.
            if not ahead or any(walk.tired for walk in walking):
                break
            found.append(max(ahead, key=_ended).take())
        if not any(walk.head() is not None or walk.tired for walk in walking):
            return Page(found)
        stopped = [walk.until for walk in walking if walk.tired]
        cursor = "|".join(_DONE if walk is None else walk.position for walk in walks)
        return Page(found, cursor, max(stopped) if stopped and len(found) < limit else None)

    def count(self, query: RunQuery, most: int | None = None) -> dict[str, int]:
        sums: Counter[str] = Counter()
        if query.id is not None or query.root is not None or _reads(query):
            sums.update(run.state for _, _, _, run in itertools.islice(self._all(query), most))
            return dict(sums)
        for log in _logs(query):
            for chunk in self._chunks(log, query):
                numbers = self._client.run(scripts.RUNS_COUNT, *self._asked(log, chunk.number, query))
                for state, number in zip(numbers[::2], numbers[1::2], strict=True):
                    sums[state.decode()] += int(number)
                if most is not None and sums.total() >= most:
                    return dict(sums)
        return dict(sums)

    def attempts(self, task_id: str) -> list[RunRecord]:
        return sorted((run for _, _, _, run in self._all(RunQuery(id=task_id))), key=lambda run: run.ended)

    def failures(self, since: float, limit: int) -> list[Failures]:
        kinds: dict[bytes, tuple[int, float, float, str, int]] = {}
        query = RunQuery(since=since)
        for chunk in self._chunks("bad", query):
            told = self._client.run(scripts.RUNS_KINDS, *self._asked("bad", chunk.number, query))
            for kind, count, first, last, offset in zip(*(told[part::5] for part in range(5)), strict=True):
                known = kinds.get(kind)
                if known is None:
                    kinds[kind] = int(count), float(first), float(last), chunk.number, int(offset)
                else:
                    # Chunks come with the latest first, so the example is known already.
                    kinds[kind] = known[0] + int(count), min(known[1], float(first)), *known[2:]
        latest = sorted(kinds.items(), key=lambda each: each[1][2], reverse=True)[:limit]
        found = []
        for kind, (count, first, last, number, offset) in latest:
            item = self._client.call("HGET", self._client.keys.own(f"runs:bad:{number}:items"), offset)
            if item is not None:
                run = _decode(item)
                found.append(
                    Failures(fingerprint=kind.decode(), name=run.name, example=run, count=count, first=first, last=last)
                )
        return found

    # -- deleting -------------------------------------------------------------------------------------------------

    def forget(self, query: RunQuery, most: int | None = None) -> int:
        places: dict[tuple[str, str], list[int]] = {}
        for log, number, offset, _ in itertools.islice(self._all(query), most):
            places.setdefault((log, number), []).append(offset)
        forgotten = 0
        for (log, number), offsets in places.items():
            for at in range(0, len(offsets), _STEP):
                gone = offsets[at : at + _STEP]
                forgotten += int(self._client.run(scripts.RUNS_FORGET, self._prefix, log, number, *gone))
        return forgotten

    def trim(self, most: int, limit: int) -> int:
        """See ``History.trim``. Whole chunks go; counters expire by themselves."""
        chunks = {log: self._chunks(log, RunQuery()) for log in ("ok", "bad")}
        size = sum(chunk.size for each in chunks.values() for chunk in each)
        trimmed = 0
        for log, each in chunks.items():
            for chunk in reversed(each):
                if trimmed >= limit:
                    return trimmed
                # The one that is written to stays, unless its time is over.
                if chunk.over or (size > most and chunk is not each[0]):
                    trimmed += int(self._client.run(scripts.RUNS_DROP, self._prefix, log, chunk.number))
                    size -= chunk.size
        return trimmed

    # -- what the verbs share -------------------------------------------------------------------------------------

    def _chunks(self, log: str, query: RunQuery) -> list[_Chunk]:
        """The chunks of a log that may hold what is asked for, the latest first."""
        name = query.id or query.root
        told = self._client.run(scripts.RUNS_SIZES, self._prefix, log, name or "", "" if name is None else bucket(name))
        chunks = [
            _Chunk(number.decode(), int(size), float(first), float(last), over == b"1")
            for number, size, first, last, over in zip(*(told[part::5] for part in range(5)), strict=True)
        ]
        # Runs of one batch stand in the order of their settlement, which is nearly that of their ends.
        return [
            chunk
            for chunk in chunks
            if (query.since is None or chunk.last >= query.since - _SLACK)
            and (query.until is None or chunk.first < query.until + _SLACK)
        ]

    def _asked(self, log: str, chunk: str, query: RunQuery) -> list[Part]:
        """The question as ``lua/_runs.lua`` takes it."""
        name = query.id or query.root
        groups: list[tuple[str, ...]] = [
            (f"{facet}:{value}",)
            for facet, value in (
                ("name", query.name),
                ("queue", query.queue),
                ("worker", query.worker),
                ("kind", query.fingerprint),
            )
            if value is not None
        ]
        if query.states:
            groups.append(tuple(f"state:{state}" for state in query.states))
        if query.text is not None:
            groups.append(("error:",))
        parts: list[Part] = [self._prefix, log, chunk]
        parts += ("" if moment is None else repr(moment) for moment in (query.since, query.until))
        parts += ("" if name is None else bucket(name), len(groups))
        for group in groups:
            parts += (len(group), *group)
        return parts

    def _all(self, query: RunQuery) -> Iterator[tuple[str, str, int, RunRecord]]:
        """Log, chunk, offset and run of everything that fits."""
        for log in _logs(query):
            for chunk in self._chunks(log, query):
                for offset, _, run in self._search(log, chunk, query, "", _PAGE):
                    if isinstance(run, RunRecord):
                        yield log, chunk.number, offset, run

    def _search(
        self, log: str, chunk: _Chunk, query: RunQuery, below: str, page: int
    ) -> Iterator[tuple[int, float, RunRecord | int]]:
        """Offset, end and run of what fits in one chunk, the latest first, below an offset; and after each script how
        far it has looked, with how many it looked at instead of a run."""
        most = _LOOKS if _reads(query) else page
        while True:
            asked = self._asked(log, chunk.number, query)
            on, until, looks, *offsets = self._client.run(scripts.RUNS_FIND, *asked, below, most, _LOOKS)
            for offset, run in self._read(log, chunk.number, query, offsets):
                yield offset, run.ended, run
            yield int(on or 0), float(until or chunk.first), int(looks)
            if not on:
                return
            below = on.decode()

    def _read(self, log: str, chunk: str, query: RunQuery, offsets: Sequence[int]) -> Iterator[tuple[int, RunRecord]]:
        """Those of these runs that have what only their records tell; some are read at a time."""
        key = self._client.keys.own(f"runs:{log}:{chunk}:items")
        argument, text = (query.argument or "").encode(), (query.text or "").encode().lower()
        for at in range(0, len(offsets), _STEP):
            some = offsets[at : at + _STEP]
            for offset, item in zip(some, self._client.call("HMGET", key, *some), strict=True):
                # Most are told apart by their bytes.
                if item is None or argument not in item or text not in item.lower():
                    continue
                run = _decode(item)
                # Ids share buckets.
                if (
                    (query.id is None or run.id == query.id)
                    and (query.root is None or query.root in (run.root, run.id))
                    and query.in_arguments(run)
                    and query.in_error(run)
                ):
                    yield offset, run


#: Seconds by which the order of settlements may differ from that of ends.
_SLACK = 60.0


class _Walk:
    """One log from its latest run back; ``position`` says where it stands, for a cursor.

    ``tired``: it has looked as far as one page may, down to runs that ended at ``until``.
    """

    def __init__(self, history: RedisHistory, log: str, query: RunQuery, start: str, page: int) -> None:
        self.position = start
        self.tired = False
        self.until = math.inf
        self._looks = next(most for reading, most in _MOST_LOOKS if not reading or getattr(query, reading) is not None)
        self._found = self._begin(history, log, query, start, page) if start != _DONE else iter(())
        self._head: tuple[str, RunRecord] | None = None

    @staticmethod
    def _begin(
        history: RedisHistory, log: str, query: RunQuery, start: str, page: int
    ) -> Iterator[tuple[str, float, RunRecord | int]]:
        at, _, below = start.partition("/")
        for chunk in history._chunks(log, query):
            if at and int(chunk.number) > int(at):
                continue
            under = below if chunk.number == at else ""
            for offset, ended, run in history._search(log, chunk, query, under, page):
                yield f"{chunk.number}/{offset}", ended, run

    def head(self) -> RunRecord | None:
        """The next run; None at the end, and when it is tired."""
        while self._head is None and not self.tired:
            position, ended, run = next(self._found, (_DONE, 0.0, 0))
            if isinstance(run, RunRecord):
                self._head = position, run
                break
            # All that stands before has been taken.
            self.position, self.until = position, ended
            if position == _DONE:
                break
            self._looks -= max(run, _SCRIPT)
            self.tired = self._looks <= 0
        return None if self._head is None else self._head[1]

    def take(self) -> RunRecord:
        """The next run, which is passed over now."""
        assert self._head is not None
        self.position, run = self._head
        self._head = None
        return run


def _ended(walk: _Walk) -> float:
    run = walk.head()
    assert run is not None
    return run.ended


def _reads(query: RunQuery) -> bool:
    """Whether only the records themselves tell what fits."""
    return query.text is not None or query.argument is not None


def _logs(query: RunQuery) -> Sequence[str]:
    """The logs that may hold what is asked for."""
    if not query.states:
        return ("ok", "bad") if query.fingerprint is None and query.text is None else ("bad",)
    found = {"ok" if state == SUCCESS else "bad" for state in query.states}
    return tuple(log for log in ("ok", "bad") if log in found)
