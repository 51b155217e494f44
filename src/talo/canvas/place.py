"""Where a call stands in a workflow: what ``freeze`` fixes before anything is sent.

Owns nothing but the data. Callers: ``signature`` and ``primitives``, which hand it from the whole to its parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Place"]


class Place(NamedTuple):
    """The id a call shall have, and its neighbours: its group and index there, the chord it counts for, its root and
    its parent. What is None is not yet known."""

    id: str | None = None
    group_id: str | None = None
    chord: Any = None
    root_id: str | None = None
    parent_id: str | None = None
    group_index: int | None = None

    def options(self) -> dict[str, Any]:
        """What of it is known and stands as an option of the call. The group is not among it: the first one that a
        call was frozen for stays."""
        known: dict[str, Any] = {}
        for name in ("root_id", "parent_id", "chord"):
            if value := getattr(self, name):
                known[name] = value
        if self.group_index is not None:
            known["group_index"] = self.group_index
        return known
