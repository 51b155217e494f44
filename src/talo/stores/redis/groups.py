"""Groups on Redis: what waits for members to end, and the plans of steps to come.

Owns opening, reading and growing them; parts that come with a settlement are added inside ``lua/turn.lua``. Called by
``results``, whose role it is a piece of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from talo.stores.base import GroupPart, GroupRecord, Lease
from talo.stores.redis import scripts
from talo.stores.redis.client import Client
from talo.stores.redis.connection import Part, pack
from talo.stores.redis.deliveries import delivery_of
from talo.stores.redis.keys import Keys, queue_of
from talo.wire.message import Message

__all__ = ["Groups", "part_of"]

#: Groups, or parts, of one script.
_STEP = 200

Sendable = Callable[[Sequence[Message]], list[Part]]


def part_of(keys: Keys, part: GroupPart, sendable: Sendable) -> list[Part]:
    """A part as the scripts take it."""
    if part.then is None:
        return [part.group, part.member, part.index, part.payload, part.grows, "", "", ""]
    place, raw = sendable([part.then])[:2]
    keep = "" if part.keep is None else max(1, round(part.keep * 1000))
    return [keys.group(part.group), part.member, part.index, part.payload, 0, place, raw, keep]


class Groups:
    """The records of groups and their parts."""

    def __init__(self, client: Client, sendable: Sendable) -> None:
        self._client = client
        self._keys = client.keys
        self._sendable = sendable

    def open(self, groups: Sequence[GroupRecord]) -> None:
        """Keep these records, each in one step."""
        for at in range(0, len(groups), _STEP):
            parts: list[Part] = [self._keys.prefix]
            for group in groups[at : at + _STEP]:
                place, raw = ("", "") if group.then is None else self._sendable([group.then])[:2]
                keep = "" if group.expires is None else max(1, round(group.expires * 1000))
                parts += (group.id, group.size, place, raw, group.plan, keep)
            self._client.run(scripts.GROUP_OPEN, *parts)

    def plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        """The plans of those that exist and are not closed."""
        if not group_ids:
            return {}
        commands = [pack("HGET", self._keys.workflow(group_id), "plan") for group_id in group_ids]
        replies = self._client.pipeline(commands, self._client.deadline())
        return {group_id: plan for group_id, plan in zip(group_ids, replies, strict=True) if plan is not None}

    def parts(self, group_id: str) -> list[tuple[int, bytes]]:
        """(index, payload) of every part, by index."""
        reply = self._client.call("HVALS", self._keys.workflow(group_id) + b":parts")
        found = []
        for value in reply:
            index, _, payload = value.partition(b":")
            found.append((int(index), payload))
        found.sort(key=lambda part: part[0])
        return found

    def add(self, parts: Sequence[GroupPart]) -> list[Message]:
        """Add parts; return the continuations that are to be sent now."""
        found: list[Message] = []
        for at in range(0, len(parts), _STEP):
            arguments: list[Part] = [self._keys.prefix]
            for part in parts[at : at + _STEP]:
                arguments += part_of(self._keys, part, self._sendable)
            reply = self._client.run(scripts.GROUP_PARTS, *arguments)
            for place, raw in zip(reply[::2], reply[1::2], strict=True):
                message = delivery_of(Lease("", 0), queue_of(place), raw).message
                assert message is not None
                found.append(message)
        return found

    def open_celery(self, group_id: str, size: int, expires: float | None) -> None:
        """Say how many members a chord in Celery's form has, as Celery's clients do."""
        base = self._keys.group(group_id)
        until: tuple[Part, ...] = () if expires is None else ("PX", max(1, round(expires * 1000)))
        commands = [pack("DEL", base + b".c"), pack("SET", base + b".s", size, *until)]
        self._client.pipeline(commands, self._client.deadline())

    def celery_parts(self, group_id: str) -> list[bytes]:
        """The parts of a chord in Celery's form, in its order."""
        parts: list[bytes] = self._client.call("ZRANGE", self._keys.group(group_id) + b".j", 0, -1)
        return parts

    def forget(self, group_ids: Sequence[str]) -> None:
        """Delete records and parts."""
        if group_ids:
            keys = [self._keys.workflow(group_id) for group_id in group_ids]
            self._client.call("UNLINK", *keys, *(key + b":parts" for key in keys))
