"""The names of every key, in one place.

Owns names and the priority steps; reads and writes nothing. Celery's own keys carry Celery's names, everything else
begins with ``talo:``; the key prefix stands in front of all of them. The scripts in ``lua/`` derive the same names
from the prefix."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SEPARATOR", "STEPS", "Keys", "list_of", "queue_of"]

#: Between a queue and its priority step, and between the parts of a binding: Celery's.
SEPARATOR = b"\x06\x16"
#: Celery keeps four lists per queue; a priority goes to the largest step that it reaches.
STEPS = (0, 3, 6, 9)

_SUFFIX = [b"" if p < 3 else SEPARATOR + (b"3" if p < 6 else b"6" if p < 9 else b"9") for p in range(10)]
_STEP_SUFFIXES = tuple(_SUFFIX[step] for step in STEPS)


def list_of(queue: str, priority: int) -> bytes:
    """The list, without the key prefix, in which messages of that queue and priority wait."""
    return queue.encode() + _SUFFIX[0 if priority < 0 else 9 if priority > 9 else priority]


def queue_of(list_name: bytes) -> str:
    """The queue that a list belongs to."""
    return list_name.split(SEPARATOR, 1)[0].decode()


class Keys:
    """The names under one key prefix."""

    def __init__(self, prefix: str, *, high_first: bool) -> None:
        self.text = prefix
        self.prefix = prefix.encode()
        # The result backend of Celery puts an underscore between its prefix and the key, its broker does not.
        self.result_prefix = self.prefix + (b"_" if prefix and prefix[-1] not in ":_-." else b"")
        #: Declared behind the keys of every script where the prefix has a hash tag, and never there: a server that is
        #: handing the slot over then refuses the script before it runs. See docs/internals/redis.md.
        self.anchor = (self.own("slot"),) if "{" in prefix else ()
        self._order = _STEP_SUFFIXES[::-1] if high_first else _STEP_SUFFIXES

    def lists(self, queue: str) -> Sequence[bytes]:
        """The lists of a queue without the prefix, the most urgent first."""
        name = queue.encode()
        return [name + suffix for suffix in self._order]

    def result(self, task_id: str) -> bytes:
        """Where a result is; its channel has the same name."""
        return b"%scelery-task-meta-%s" % (self.result_prefix, task_id.encode())

    def group(self, group_id: str) -> bytes:
        """Where a saved group is."""
        return b"%scelery-taskset-meta-%s" % (self.result_prefix, group_id.encode())

    def workflow(self, group_id: str) -> bytes:
        """Where the record of a group is that something waits for; its parts are at ``<key>:parts``."""
        return self.own(f"group:{group_id}")

    def binding(self, exchange: str) -> tuple[bytes, bytes]:
        """The two sets in which Celery notes the queues of an exchange."""
        name = exchange.encode()
        return b"%s_kombu.binding.%s" % (self.prefix, name), b"%s_kombu.binding_permanent.%s" % (self.prefix, name)

    def own(self, name: str) -> bytes:
        """A key of Talo's own."""
        return b"%stalo:%s" % (self.prefix, name.encode())
