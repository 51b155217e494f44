"""Log lines as JSON, one object a line: what a log service reads without being taught.

Owns the form of a line. ``worker.logs`` uses it where ``worker_log_format`` is ``json``; an application with a logging
configuration of its own names ``talo.worker.jsonlog.JsonFormatter`` as a formatter there."""

from __future__ import annotations

import datetime as dt
import json
import logging
from typing import Any

from talo.execution.request import current_frame

__all__ = ["JsonFormatter"]

#: What every record has, by the standard library; the rest are the fields that whoever logs has added.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``process``, ``message``, the fields of
    the record, and ``exception`` with the traceback. Inside a task ``task_id`` and ``task_name`` are always there."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. What JSON does not know is written as text."""
        told: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "pid": record.process,
            "message": record.getMessage(),
        }
        told.update((name, value) for name, value in vars(record).items() if name not in _OWN and name not in told)
        frame = current_frame()
        if frame is not None and frame.request.id is not None:
            told.setdefault("task_id", frame.request.id)
            told.setdefault("task_name", frame.task.name)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        return _encoded(told)


def _encoded(told: dict[str, Any]) -> str:
    try:
        return json.dumps(told, ensure_ascii=False, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # Keys that are no text, numbers that JSON has not, values in a circle: each for itself as text.
        return json.dumps({str(name): _safe(value) for name, value in told.items()}, ensure_ascii=False)


def _safe(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int) else str(value)
