"""The tables of django-celery-results: rows as results.

Owns what a row means; it needs the tables, not the package. ``Archive`` finds results there that the result store has
not (setting ``django_result_tables``); ``manage.py talo_import results`` copies them once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import Error, connections

from talo.django import _foreign
from talo.errors import TaloError
from talo.wire import serializers
from talo.wire.results import encode_result

__all__ = ["GROUPS", "RESULTS", "Archive", "document", "tables_alias"]

log = logging.getLogger("talo.django")

RESULTS, GROUPS = "django_celery_results_taskresult", "django_celery_results_groupresult"
T = TypeVar("T")


def tables_alias() -> str:
    """The alias of the database with the tables."""
    return _foreign.alias_of("django_celery_results", "TaskResult")


def document(alias: str, row: dict[str, Any]) -> bytes:
    """The result in the form in which results are stored. ``ValueError`` for what is not JSON."""
    meta = json.loads(row["meta"] or "{}")
    done = _foreign.moment(alias, row["date_done"])
    fields = {
        "name": row["task_name"],
        "args": row["task_args"],
        "kwargs": row["task_kwargs"],
        "worker": row["worker"],
    }
    return encode_result(
        row["task_id"],
        row["status"],
        _json(row),
        traceback=row["traceback"],
        children=meta.get("children"),
        date_done=done.timestamp() if done else None,
        extended={name: value for name, value in fields.items() if value is not None},
    )


def _json(row: dict[str, Any]) -> Any:
    if row["content_type"] not in ("application/json", "", None):
        raise ValueError(f"the result is kept as {row['content_type']}, which is not read")
    return json.loads(row["result"]) if row["result"] else None


class Archive:
    """Looks for results in the tables."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def results(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        """The documents of these tasks that are there; what cannot be read is a line in the log."""
        if not self._app.conf.django_result_tables:
            return {}

        def look() -> dict[str, bytes]:
            alias, found = tables_alias(), {}
            for row in _foreign.rows(alias, RESULTS, "task_id", task_ids):
                try:
                    found[row["task_id"]] = document(alias, row)
                except (ValueError, TaloError) as exc:
                    log.warning("The result of %s cannot be read from %s: %s", row["task_id"], RESULTS, exc)
            return found

        return _looked(look, {})

    def group(self, group_id: str) -> bytes | None:
        """A saved group, as the result store keeps it."""
        if not self._app.conf.django_result_tables:
            return None

        def look() -> bytes | None:
            for row in _foreign.rows(tables_alias(), GROUPS, "group_id", [group_id]):
                return serializers.get(self._app.conf.result_serializer).dumps({"result": _json(row)})
            return None

        return _looked(look, None)


def _looked(look: Callable[[], T], nothing: T) -> T:
    """What is in the tables, or ``nothing`` while they cannot be read."""

    def aside() -> T:
        try:
            return look()
        finally:
            connections.close_all()

    try:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return look()
        # Django refuses its connections to a thread that runs an event loop.
        with ThreadPoolExecutor(1, "talo-archive") as thread:
            return thread.submit(aside).result()
    except (Error, ValueError) as exc:
        log.warning("Results cannot be read from the tables of django-celery-results: %s", exc)
        return nothing
