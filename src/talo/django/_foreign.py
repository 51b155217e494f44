"""Reading and writing the tables of other packages as they stand, installed or not.

Owns plain SQL over Django's connections: their columns differ from version to version, so no models are made of them.
Called by ``celery_beat`` and ``celery_results``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, router
from django.utils import timezone

__all__ = ["alias_of", "delete", "has_table", "moment", "rows", "update"]

#: Rows read at once, and values asked for at once: some databases take no thousand of them in one statement.
_BATCH = 500


def alias_of(label: str, model: str, *, write: bool = False) -> str:
    """The alias of the database that has a package's tables: as the project's routers say, if it is installed."""
    try:
        found = apps.get_model(label, model)
    except LookupError:
        return "default"
    alias: str = router.db_for_write(found) if write else router.db_for_read(found)
    return alias


def has_table(alias: str, table: str) -> bool:
    """Whether a database has a table."""
    return table in connections[alias].introspection.table_names()


def rows(alias: str, table: str, column: str = "", values: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
    """The rows of a table by column; with ``column`` those that have one of ``values`` there."""
    quote = connections[alias].ops.quote_name
    every = f"SELECT * FROM {quote(table)}"
    if not column:
        yield from _read(alias, every, ())
    for at in range(0, len(values), _BATCH):
        some = values[at : at + _BATCH]
        yield from _read(alias, f"{every} WHERE {quote(column)} IN ({', '.join(['%s'] * len(some))})", some)


def _read(alias: str, statement: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, list(values))
        names = [each[0] for each in cursor.description]
        while found := cursor.fetchmany(_BATCH):
            for row in found:
                yield dict(zip(names, row, strict=True))


def update(alias: str, table: str, key: Any, values: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Set columns of the row with this ``id`` if others are still as expected; return whether they were."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    conditions = {"id": key, **expected}
    given = [_written(connection, value) for value in (*values.values(), *conditions.values()) if value is not None]
    text = f"UPDATE {quote(table)} SET {', '.join(_equal(quote, values, ' = NULL'))} WHERE "
    text += " AND ".join(_equal(quote, conditions, " IS NULL"))
    with connection.cursor() as cursor:
        cursor.execute(text, given)
        return bool(cursor.rowcount)


def delete(alias: str, table: str, key: Any) -> bool:
    """Delete the row with this ``id``; return whether there was one."""
    quote = connections[alias].ops.quote_name
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {quote(table)} WHERE {quote('id')} = %s", [key])
        return bool(cursor.rowcount)


def _equal(quote: Any, values: Mapping[str, Any], none: str) -> list[str]:
    return [quote(name) + (none if value is None else " = %s") for name, value in values.items()]


def _written(connection: Any, value: Any) -> Any:
    if not isinstance(value, dt.datetime):
        return value
    if not settings.USE_TZ:
        value = timezone.make_naive(value)
    return connection.ops.adapt_datetimefield_value(value)


def moment(alias: str, value: Any) -> dt.datetime | None:
    """A column's time, aware: some databases give a text, or a time without its zone."""
    if value is None:
        return None
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if timezone.is_aware(found):
        return found
    return found.replace(tzinfo=connections[alias].timezone or timezone.get_default_timezone())
