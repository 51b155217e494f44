"""What is written for Celery's face, once: Celery and Talo run the same tasks, sent by the same lines.

Owns their tasks and the verbs that read the same for both; how each starts its workers, sends in bulk and sleeps is
its own module's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench.counter import counter
from bench.peers import Peer

__all__ = ["FacePeer", "count"]

count = counter()


def noop() -> int:
    count.hit()
    return 1


def add(x: int, y: int) -> int:
    return x + y


def total(numbers: list[int]) -> int:
    return sum(numbers)


def mark(index: int) -> int:
    count.mark(index)
    return 1


class FacePeer(Peer):
    """An app with Celery's face and the module ``library`` that its canvas comes from."""

    def __init__(self, app: Any, library: Any) -> None:
        self.noop, self.add, self.total, self.mark = (app.task(function) for function in (noop, add, total, mark))
        self._library = library

    def produce(self, n: int) -> None:
        task = self.noop
        for _ in range(n):
            task.delay()

    def produce_due(self, dues: Sequence[float]) -> None:
        task = self.mark
        for index, due in enumerate(dues):
            task.apply_async((index,), countdown=due - time.time())

    def workflow(self, name: str, n: int) -> None:
        add, library = self.add, self._library
        if name == "chord":
            chord = library.chord([add.s(i, i) for i in range(n)], self.total.s())
            assert chord.apply_async().get(timeout=60) == n * (n - 1)
        elif name == "group":
            assert len(library.group(add.s(i, i) for i in range(n)).apply_async().get(timeout=60)) == n
        else:
            steps = [add.s(0, 1), *(add.s(1) for _ in range(n - 1))]
            assert library.chain(*steps).apply_async().get(timeout=60) == n

    def call(self, index: int) -> None:
        self.mark.delay(index).get(timeout=10)
