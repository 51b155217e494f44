"""Batch actions over any number of entries: by ten, several at a time, and again what SQS could not do at that moment.

Owns the size of a batch, its ids, the pauses while SQS throttles, and what becomes of entries that fail. Knows nothing
of messages. Called by ``broker``."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from talo.errors import StoreUnavailable
from talo.stores.sqs.connection import Connection, Throttled
from talo.stores.sqs.messages import BATCH, size_of
from talo.stores.sqs.queues import Queue

__all__ = ["AT_ONCE", "Calls", "at_once"]

T = TypeVar("T")
R = TypeVar("R")
Entry = dict[str, Any]
#: An entry with its place among all of a call.
Numbered = tuple[int, Entry]

#: Batches that are sent one after the other; of more so many at once.
_IN_ORDER, AT_ONCE = 4, 8
#: Seconds: the longest first pause, which doubles, and the longest of all.
_PAUSE, _LONGEST = 0.05, 1.0


class Calls:
    """Batch actions that have ``timeout`` seconds. Safe in threads."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout

    def batch(self, queue: Queue, verb: str, entries: Sequence[Entry]) -> dict[int, Mapping[str, Any]]:
        """Do it for every entry; return what SQS says of those that it refuses for good, by their index.
        ``StoreUnavailable`` if there was no time left for one that it would have done later."""
        refused: dict[int, Mapping[str, Any]] = {}
        steps = list(_steps(entries, queue.limit))
        # A queue that is not FIFO keeps no order, so many batches need not wait for each other.
        one_by_one = len(steps) <= _IN_ORDER or queue.fifo
        for found in at_once(lambda step: self._step(queue, verb, step), steps, 1 if one_by_one else AT_ONCE):
            refused |= found
        return refused

    def _step(self, queue: Queue, verb: str, step: Sequence[Numbered]) -> dict[int, Mapping[str, Any]]:
        refused: dict[int, Mapping[str, Any]] = {}
        deadline = time.monotonic() + self._timeout
        for pause in _pauses():
            try:
                failures = self._call(queue, verb, step)
            except Throttled as error:
                trouble: StoreUnavailable = error
            else:
                refused |= {index: why for index, why in failures.items() if why.get("SenderFault", True)}
                step = [(index, entry) for index, entry in step if index in failures and index not in refused]
                if not step:
                    break
                code = failures[step[0][0]].get("Code")
                trouble = StoreUnavailable(f"the SQS queue {queue.name} cannot do it now: {code}")
            if time.monotonic() + pause >= deadline:
                raise trouble
            threading.Event().wait(pause)
        return refused

    def _call(self, queue: Queue, verb: str, step: Sequence[Numbered]) -> dict[int, Mapping[str, Any]]:
        entries = [{"Id": str(index), **entry} for index, entry in step]
        with self._connection.translated():
            answer = getattr(queue.client, verb)(QueueUrl=queue.url, Entries=entries)
        return {int(each["Id"]): each for each in answer.get("Failed", [])}


def at_once(work: Callable[[T], R], items: Sequence[T], most: int) -> Iterator[R]:
    """What ``work`` returns for each, ``most`` of them at a time."""
    if most == 1 or len(items) == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(most, len(items)), "talo-sqs") as pool:
        yield from pool.map(work, items)


def _steps(entries: Sequence[Entry], limit: int) -> Iterator[list[Numbered]]:
    """Entries in batches as large as SQS takes them: ten, and ``limit`` bytes in sum."""
    step: list[Numbered] = []
    size = 0
    for numbered in enumerate(entries):
        length = size_of(numbered[1])
        if step and (len(step) == BATCH or size + length > limit):
            yield step
            step, size = [], 0
        step.append(numbered)
        size += length
    if step:
        yield step


def _pauses() -> Iterator[float]:
    """Seconds between tries, with jitter: whoever was throttled must not come back together."""
    longest = _PAUSE
    while True:
        yield random.uniform(0.0, longest)
        longest = min(_LONGEST, longest * 2)
