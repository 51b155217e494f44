"""Runs as the scripts take them: counters first, then what is kept.

Owns the arguments that ``lua/_history.lua`` reads; the keys are described there. Called by ``broker`` for what is
settled and by ``history`` for what is recorded beside a settlement.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from talo.states import SUCCESS
from talo.stores.history import RunRecord, tally
from talo.stores.redis.connection import Part

__all__ = ["CHUNK", "bucket", "log_of", "runs_as_parts"]

#: Runs that are kept, found and deleted together. A script that searches looks at one chunk, so that it is short; two
#: bytes name a run in it, so there are 65,536 at most.
CHUNK = 16_384
#: Small hash buckets of ids cost less than an index of ids.
_BUCKETS = 1024

_encode = msgspec.msgpack.Encoder().encode


def log_of(state: str) -> str:
    """The log that runs of this state are kept in."""
    return "ok" if state == SUCCESS else "bad"


def bucket(name: str) -> int:
    """The bucket of a task id."""
    return zlib.crc32(name.encode()) % _BUCKETS


def runs_as_parts(runs: Sequence[RunRecord | None], chunk: int) -> list[Part]:
    """The arguments for the runs of some settlements, in the order of these; empty if none has one."""
    order: list[int] = []
    found = tally(runs, order)
    if not found:
        return []
    parts: list[Part] = [chunk, len(found)]
    for (minute, *names), sums in found.items():
        parts += (int(minute) * 60, "\0".join(names), _encode(sums.cells()))
    times = [time for sums in found.values() for column in (sums.runs, sums.waits) for time in column]
    parts.append(b"".join((_little("i", [len(order)]), _little("h", order), _little("d", times))))
    for position, run in enumerate(runs, 1):
        if run is not None and run.keep is not None:
            parts += _kept(position, run)
    return parts


def _little(kind: str, numbers: Sequence[Any]) -> bytes:
    """The numbers as ``kind`` says (int, short or double), little-endian."""
    packed = array(kind, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _kept(position: int, run: RunRecord) -> Iterable[Part]:
    return (
        position,
        log_of(run.state),
        repr(run.keep),
        repr(run.ended),
        _encode(run),
        bucket(run.id),
        "" if run.root is None or run.root == run.id else bucket(run.root),
        run.state,
        run.name,
        run.queue,
        run.worker,
        run.fingerprint or "",
        "1" if run.error is not None else "",
    )
