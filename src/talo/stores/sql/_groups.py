"""Groups inside one write transaction: parts added, completion found, continuations sent.

Owns the steps on ``talo_workflow`` and ``talo_part``, each a function of an open transaction; when it commits is the
caller's. Called by ``_writing`` (settlements) and ``results``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from talo.stores.base import GroupPart, GroupRecord, Settlement
from talo.stores.sql._codec import json_list
from talo.wire.message import Message

__all__ = ["add_part", "apply", "encode_then", "forget", "open_groups", "repeated"]

#: Seconds for which a closed group is remembered, so that a repeated message finds it closed.
_REMEMBERED = 3600.0

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode

Queries = Mapping[str, str]
Row = tuple[Any, ...]


def encode_then(groups: Sequence[GroupRecord]) -> list[bytes | None]:
    """Return the continuations as they are kept."""
    return [None if each.then is None else _encode(each.then) for each in groups]


def open_groups(
    connection: sqlite3.Connection,
    queries: Queries,
    groups: Sequence[GroupRecord],
    thens: Sequence[bytes | None],
    now: float,
) -> None:
    """Write records; one that exists begins anew."""
    connection.execute(queries["forget_parts"], (json_list([each.id for each in groups]).decode(),))
    connection.executemany(
        queries["open_workflow"],
        [
            (each.id, each.size, then, each.plan, each.expires, None if each.expires is None else now + each.expires)
            for each, then in zip(groups, thens, strict=True)
        ],
    )


def apply(
    connection: sqlite3.Connection, queries: Queries, settlement: Settlement, thens: list[Message], now: float
) -> bool:
    """Apply what a settlement means for groups, and add what it completes to ``thens``; False if it is a continuation
    that has run before, so that nothing of it counts."""
    if settlement.closes is not None and not _close(connection, queries, settlement.closes, now):
        return False
    if settlement.part is not None:
        then = add_part(connection, queries, settlement.part, now)
        if then is not None:
            thens.append(then)
    return True


def add_part(connection: sqlite3.Connection, queries: Queries, part: GroupPart, now: float) -> Message | None:
    """Add a part; return what is to be sent if it was the last one missing."""
    values = (part.group, part.member, part.index, part.payload)
    if connection.execute(queries["add_part"], values).rowcount <= 0:
        return None
    connection.execute(queries["fill"], (part.group, part.member, now, part.grows))
    size, filled, then, _ = connection.execute(queries["workflow"], (part.group,)).fetchone()
    return _decode(then) if filled == size and then is not None else None


def repeated(connection: sqlite3.Connection, queries: Queries, part: GroupPart) -> Message | None:
    """Return what this part completed when it came the first time."""
    row = connection.execute(queries["workflow"], (part.group,)).fetchone()
    if row is None or row[3] != part.member or row[2] is None:
        return None
    return _decode(row[2])


def _close(connection: sqlite3.Connection, queries: Queries, group_id: str, now: float) -> bool:
    """Close a group and delete its parts, or close the step of a chain; False if it was closed already."""
    if connection.execute(queries["close_workflow"], (group_id, now + _REMEMBERED)).rowcount <= 0:
        return False
    connection.execute(queries["forget_parts"], (json_list([group_id]).decode(),))
    return True


def forget(connection: sqlite3.Connection, queries: Queries, group_ids: Sequence[str]) -> None:
    """Delete records and parts."""
    wanted = json_list(list(group_ids)).decode()
    connection.execute(queries["forget_parts"], (wanted,))
    connection.execute(queries["forget_workflows"], (wanted,))
