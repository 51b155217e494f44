# ruff: noqa: ARG002  (what is refused is not looked at)
"""The roles that a message broker cannot play: each verb refuses, and says what to set.

Owns the wording of these refusals. Called through the store's roles by whoever asks for results, groups or locks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from talo.errors import NotSupported
from talo.stores.base import GroupPart, GroupRecord, Locks, ResultBackend, ResultMeta, Watch
from talo.wire.message import Message

__all__ = ["NoLocks", "NoResults"]

_MEND = "set result_backend to a store that keeps results, such as redis://, postgresql:// or sqlite:///"


class NoResults(ResultBackend):
    """The result role of a broker alone: refuses everything, and says what keeps results."""

    def refuse(self, what: str = "keeps no results") -> NoReturn:
        """Say what is not possible, and the mend."""
        raise NotSupported(f"RabbitMQ {what}: {_MEND}")

    def store(self, results: Sequence[ResultMeta]) -> None:
        if results:
            self.refuse()

    def get(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        self.refuse()

    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        self.refuse()

    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        self.refuse()

    def forget(self, task_ids: Sequence[str]) -> None:
        self.refuse()

    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        self.refuse("keeps no saved groups and no keys of bulk sends")

    def get_group(self, group_id: str) -> bytes | None:
        self.refuse("keeps no saved groups and no keys of bulk sends")

    def forget_group(self, group_id: str) -> None:
        self.refuse("keeps no saved groups and no keys of bulk sends")

    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        if groups:
            self.refuse("counts no chords")

    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        self.refuse("counts no chords")

    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        self.refuse("counts no chords")

    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        self.refuse("counts no chords")

    def open_celery_chord(self, group_id: str, size: int, expires: float | None) -> None:
        self.refuse("counts no chords")

    def close_groups(self, group_ids: Sequence[str]) -> None:
        self.refuse("counts no chords")

    def cleanup(self, limit: int) -> int:
        return 0


class NoLocks(Locks):
    """The locks of a broker alone: none."""

    def _refuse(self) -> NoReturn:
        raise NotSupported(f"RabbitMQ keeps no locks and no marks (revoked tasks, unique tasks, limits): {_MEND}")

    def acquire(self, name: str, holder: str, ttl: float) -> bool:
        self._refuse()

    def release(self, name: str, holder: str) -> bool:
        self._refuse()

    def mark(self, kind: str, marks: Mapping[str, float]) -> None:
        self._refuse()

    def marked(self, kind: str, members: Sequence[str]) -> set[str]:
        self._refuse()

    def all_marked(self, kind: str) -> set[str]:
        self._refuse()

    def unmark(self, kind: str, members: Sequence[str]) -> None:
        self._refuse()
