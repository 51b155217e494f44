"""Trouble in a Redis Cluster: a master dies or steps down, a slot moves; once, or again and again beside a test."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from tests.servers.redis_cluster import RedisCluster
from tests.support import eventually, for_seconds

__all__ = ["PEACEFUL", "TROUBLES", "Trouble", "Unrest", "master_dies", "master_steps_down", "slot_moves"]

Trouble = Callable[[RedisCluster, int], None]
#: Seconds that a slot is half here and half there.
_HALF_WAY = 0.3


def master_dies(cluster: RedisCluster, slot: int) -> None:
    """The master is killed, its replica takes over, and it comes back as a replica."""
    master = cluster.master_of(slot)
    cluster.replica_of(master)
    master.kill()

    def replaced() -> None:
        assert cluster.master_of(slot) is not master

    eventually(replaced, 60, 0.05)
    master.start()
    cluster.is_well()


def master_steps_down(cluster: RedisCluster, slot: int) -> None:
    """Its replica takes over in good order."""
    cluster.fail_over(slot)


def slot_moves(cluster: RedisCluster, slot: int) -> None:
    """The slot goes to another master, key by key, and stays on its way for a moment."""
    target = cluster.other_master(slot)
    cluster.begin_to_move(slot, target)
    for_seconds(_HALF_WAY)
    cluster.move_keys(slot, target, 3)
    for_seconds(_HALF_WAY)
    cluster.move_keys(slot, target)
    cluster.end_move(slot, target)


#: Those in which no connection breaks, so that nothing has a reason to fail.
PEACEFUL: Sequence[Trouble] = (slot_moves, master_steps_down)
TROUBLES: Sequence[Trouble] = (master_dies, *PEACEFUL)


class Unrest:
    """A thread that makes one trouble after the other. A trouble that does not end well fails who ends the unrest."""

    #: Seconds between two troubles.
    every = 0.3

    def __init__(self, cluster: RedisCluster, troubles: Sequence[Trouble]) -> None:
        self.cluster = cluster
        self.counts: Counter[str] = Counter()
        #: The slot that is in use, and has trouble.
        self.slot: int | None = None
        #: Held while there is trouble; whoever takes it has peace.
        self.peace = threading.Lock()
        self._troubles = troubles
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="unrest", daemon=True)

    def __enter__(self) -> Unrest:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(120)
        if self._error is not None:
            raise RuntimeError("the cluster did not recover") from self._error

    def _run(self) -> None:
        try:
            for trouble in itertools.cycle(self._troubles):
                if self._over.wait(self.every):
                    return
                if trouble is master_steps_down and not self.cluster.votes:
                    continue
                with self.peace:
                    if self.slot is not None:
                        trouble(self.cluster, self.slot)
                        self.counts[trouble.__name__] += 1
        except BaseException as error:
            self._error = error
