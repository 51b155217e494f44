"""The headers of a task message, in Celery's names and with its defaults; read and written by ``protocol``."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["HEADERS", "HEADERS_OF_1"]

#: Every header of protocol 2 and its default. ``timelimit`` and ``stamps`` default to containers, new for each message.
HEADERS: Final[dict[str, Any]] = {
    "lang": "py",
    "task": None,
    "id": None,
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": None,
    "root_id": None,
    "parent_id": None,
    "argsrepr": None,
    "kwargsrepr": None,
    "origin": None,
    "ignore_result": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": None,
}

#: The fields of a protocol 1 body that are headers in protocol 2.
HEADERS_OF_1 = ("task", "id", "group", "group_index", "retries", "eta", "expires", "timelimit")
