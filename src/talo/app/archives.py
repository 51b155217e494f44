"""Where results are looked for that the result store has not: what was kept before Talo came.

Owns the interface, and the order: the store first. Django's old tables are an archive. Called by ``result`` and
``groups``; archives stand in ``Talo.archives``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["Archive", "archived", "find_group", "find_results"]


class Archive(Protocol):
    """Holds results that nobody adds to any more, in the form in which the result store keeps them."""

    def results(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        """Those of these tasks that are there. It does not raise: an archive that is away has nothing."""

    def group(self, group_id: str) -> bytes | None:
        """A saved group, or None."""


def find_results(app: Any, backend: Any, task_ids: Sequence[str]) -> dict[str, bytes]:
    """The payloads of these tasks: from the store, else from an archive."""
    found: dict[str, bytes] = backend.get(task_ids)
    return found | archived(app, [task_id for task_id in task_ids if task_id not in found])


def archived(app: Any, task_ids: Sequence[str]) -> dict[str, bytes]:
    """The payloads of those that an archive has."""
    found: dict[str, bytes] = {}
    for archive in app.archives if task_ids else ():
        found |= archive.results([task_id for task_id in task_ids if task_id not in found])
    return found


def find_group(app: Any, backend: Any, group_id: str) -> bytes | None:
    """A saved group: from the store, else from an archive."""
    found: bytes | None = backend.get_group(group_id)
    for archive in app.archives:
        if found is None:
            found = archive.group(group_id)
    return found
