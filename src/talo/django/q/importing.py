"""What Django Q has left in its tables: schedules, what became of tasks, tasks that wait.

Owns reading them, installed or not, and writing them as Talo's. Rows that cannot be taken over are told. Called by
``manage.py talo_import q``.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import router, transaction

from talo.django import _foreign
from talo.django.q import conf
from talo.django.q.models import Schedule, Task
from talo.django.q.packing import Pickles, pack
from talo.django.q.tasks import OPTIONS, send_again
from talo.errors import TaloError

__all__ = ["import_all"]

#: (what it is, why it is left).
Refusal = tuple[str, str]

#: Classes of values that are data, whoever wrote them. The tables' pickles are not signed.
_HARMLESS = frozenset(
    {
        "builtins.bytearray", "builtins.complex", "builtins.frozenset", "builtins.set", "collections.OrderedDict",
        "collections.deque", "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta",
        "datetime.timezone", "decimal.Decimal", "uuid.UUID", "zoneinfo.ZoneInfo._unpickle",
    }
)  # fmt: skip
_COLUMNS = ("id", "name", "func", "hook", "group", "cluster", "success", "attempt_count")


def import_all(alias: str, tell: Callable[[Refusal], None]) -> int:
    """Take over everything; return how many rows. A repeat adds nothing: what is there stays, and what waited is moved.

    Errors: Django's, if there are no such tables.
    """
    done = 0
    for imported in (*_schedules(alias), *_ended(alias), *_waiting(alias)):
        if isinstance(imported, tuple):
            tell(imported)
        done += imported is True
    return done


def _schedules(alias: str) -> Iterator[bool | Refusal]:
    names = {field.name for field in Schedule._meta.fields} - {"id"}
    for row in _foreign.rows(alias, "django_q_schedule"):
        fields = {name: value for name, value in row.items() if name in names}
        fields["next_run"] = _foreign.moment(alias, fields["next_run"])
        same = {name: fields[name] for name in ("name", "func", "args", "kwargs", "schedule_type")}
        yield Schedule.objects.get_or_create(**same, defaults=fields)[1]


def _ended(alias: str) -> Iterator[bool | Refusal]:
    for row in _foreign.rows(alias, "django_q_task"):
        try:
            packed = {f"packed_{name}": pack(_opened(row[name])) for name in ("args", "kwargs", "result")}
        except (ValueError, TaloError) as exc:
            yield f"{row['name']} ({row['id']})", str(exc)
            continue
        fields = {name: row[name] for name in _COLUMNS if name in row} | packed
        for name in ("started", "stopped"):
            fields[name] = _foreign.moment(alias, row[name])
        yield Task.objects.get_or_create(id=fields.pop("id"), defaults=fields)[1]


def _waiting(alias: str) -> Iterator[bool | Refusal]:
    """Each is sent and deleted in one transaction, where the broker takes part in it."""
    others = conf.read().others
    for row in list(_foreign.rows(alias, "django_q_ormq")):
        try:
            task = signing.TimestampSigner(key=settings.SECRET_KEY, salt=row["key"]).unsign_object(
                row["payload"], serializer=Pickles
            )
        except signing.BadSignature:
            yield f"a task that waits ({row['id']})", "it was not signed with this project's SECRET_KEY"
            continue
        if more := [name for name in ("chain", "iter_count") if task.get(name)]:
            yield f"{task['name']} ({task['id']})", f"it belongs to others ({', '.join(more)}): let qcluster end them"
            continue
        options = {name: task[name] for name in OPTIONS if task.get(name) is not None} | {"task_name": task["name"]}
        options.pop("sync", None)
        if row["key"] in others:
            options.setdefault("cluster", row["key"])
        try:
            with transaction.atomic(using=alias), transaction.atomic(using=router.db_for_write(Task)):
                if _foreign.delete(alias, "django_q_ormq", row["id"]):
                    send_again(task["id"], task["func"], task["args"], task["kwargs"], options)
        except (TaloError, ValueError) as exc:
            yield f"{task['name']} ({task['id']})", str(exc)
            continue
        yield True


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _HARMLESS:
            raise pickle.UnpicklingError(f"it holds a {module}.{name}, which is not opened from a table")
        return super().find_class(module, name)


def _opened(text: str | None) -> Any:
    """A value of the tables. ``ValueError`` for what is none, or more than plain data."""
    if text is None:
        return None
    try:
        return _Plain(io.BytesIO(base64.b64decode(text))).load()
    except (pickle.UnpicklingError, binascii.Error, EOFError, AttributeError, ImportError, IndexError) as exc:
        raise ValueError(f"its value cannot be read: {exc}") from exc
