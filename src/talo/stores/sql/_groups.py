"""Groups inside one write transaction: parts added, completion found, continuations sent.

Owns the steps on ``talo_workflow`` and ``talo_part``. The groups that a batch concerns are read and locked at once, in
the order of their ids; what becomes of them is reckoned here and written at once, however many parts the batch has.
When it commits is the caller's. Called by ``_writing`` (settlements) and ``results``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from talo.stores.base import GroupPart, GroupRecord, Settlement
from talo.stores.sql.database import Session
from talo.wire.message import Message

__all__ = ["Book", "apply", "encode_then", "forget", "open_groups"]

#: Seconds for which a closed group is remembered, so that a repeated message finds it closed.
_REMEMBERED = 3600.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def encode_then(groups: Sequence[GroupRecord]) -> list[bytes | None]:
    """Return the continuations as they are kept."""
    return [None if each.then is None else _encode(each.then) for each in groups]


def open_groups(tx: Session, groups: Sequence[GroupRecord], thens: Sequence[bytes | None]) -> None:
    """Write records; one that exists begins anew."""
    rows = {
        each.id: (each.id, each.size, then, each.plan, each.expires, _until(tx.now, each.expires))
        for each, then in zip(groups, thens, strict=True)
    }
    tx.run("forget_parts", sorted(rows))
    tx.many("open_workflow", [rows[group_id] for group_id in sorted(rows)])


def apply(tx: Session, settlements: Mapping[int, Settlement]) -> tuple[set[int], list[Message]]:
    """Apply what settlements mean for groups; return those that are a continuation that has run before, of which
    nothing counts, and what the others complete."""
    closing = [each.closes for each in settlements.values() if each.closes is not None]
    parts = [each.part for each in settlements.values() if each.part is not None]
    if not closing and not parts:
        return set(), []
    book = Book(tx, parts, closing)
    void: set[int] = set()
    thens: list[Message] = []
    for index, each in settlements.items():
        if each.closes is not None and not book.close(each.closes):
            void.add(index)
        elif each.part is not None:
            then = book.add(each.part)
            if then is not None:
                thens.append(then)
    book.write()
    return void, thens


def forget(tx: Session, group_ids: Sequence[str]) -> None:
    """Delete records and parts."""
    tx.run("forget_parts", list(group_ids))
    tx.run("forget_workflows", list(group_ids))


class Book:
    """Some groups as they are in this transaction, locked. Invariant: what it says is true once it is written."""

    def __init__(self, tx: Session, parts: Sequence[GroupPart], closing: Iterable[str] = ()) -> None:
        self._tx = tx
        steps = sorted(set(closing))
        # The step of a chain has no row yet. It gets one before all are locked, so that two who close it meet at it.
        tx.many("open_step", [(step, tx.now + _REMEMBERED) for step in steps])
        ids = sorted({each.group for each in parts}.union(steps))
        self._groups = {row[0]: _Group(*row) for row in tx.rows("workflows", ids)}
        self._members: set[tuple[str, str]] = set()
        if parts and self._groups:
            asked = sorted({(each.group, each.member) for each in parts})
            rows = tx.rows("members", [group for group, _ in asked], [member for _, member in asked])
            self._members.update((row[0], row[1]) for row in rows)
        self._added: list[GroupPart] = []
        self._changed: set[str] = set()
        self._closed: set[str] = set()

    def add(self, part: GroupPart) -> Message | None:
        """Add a part; return what is to be sent if it was the last one missing."""
        group = self._groups.get(part.group)
        if group is None or group.closed or (part.group, part.member) in self._members:
            return None
        self._members.add((part.group, part.member))
        self._added.append(part)
        self._changed.add(part.group)
        group.filled += 1
        group.size += part.grows
        group.expires = _until(self._tx.now, group.keep)
        if group.filled != group.size:
            return None
        group.completed_by = part.member
        return self._continuation(part.group)

    def repeated(self, part: GroupPart) -> Message | None:
        """Return what this part completed when it came the first time."""
        group = self._groups.get(part.group)
        if group is None or group.closed or group.completed_by != part.member:
            return None
        return self._continuation(part.group)

    def close(self, group_id: str) -> bool:
        """Close a group or the step of a chain; False if it was closed already."""
        group = self._groups[group_id]
        if group.closed:
            return False
        group.closed = 1
        self._closed.add(group_id)
        return True

    def write(self) -> None:
        """Write what has become of them."""
        tx, groups = self._tx, self._groups
        tx.many("add_part", [(each.group, each.member, each.index, each.payload) for each in self._added])
        changed = [(name, groups[name]) for name in sorted(self._changed - self._closed)]
        tx.many("fill", [(name, it.size, it.filled, it.completed_by, it.expires) for name, it in changed])
        if self._closed:
            tx.many("close_workflow", [(name, tx.now + _REMEMBERED) for name in sorted(self._closed)])
            tx.run("forget_parts", sorted(self._closed))

    def _continuation(self, group_id: str) -> Message | None:
        row = self._tx.row("continuation", group_id)
        return None if row is None or row[0] is None else _decode(row[0])


class _Group:
    """A group's numbers, as its row has them."""

    __slots__ = ("closed", "completed_by", "expires", "filled", "keep", "size")

    def __init__(
        self, _: str, size: int, filled: int, closed: int, completed_by: str | None, keep: float | None
    ) -> None:
        self.size = size
        self.filled = filled
        self.closed = closed
        self.completed_by = completed_by
        self.keep = keep
        self.expires: float | None = None


def _until(now: float, seconds: float | None) -> float | None:
    return None if seconds is None else now + seconds
