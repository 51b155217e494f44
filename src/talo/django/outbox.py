"""The outbox: a send is first a row of the transaction that it belongs to, then a message.

Owns the rows: writing, claiming, publishing, deleting; who does it after the sender's death is ``relay``'s, when it is
used ``transactions``'s. See ``docs/internals/django.md`` for what may die when.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
from django.db import Error, connections, router, transaction

from talo.django.models import OutboxMessage
from talo.errors import ImproperlyConfigured, OperationalError, TaloError
from talo.wire.message import Message

__all__ = ["aliases", "allowed", "keep", "missing_table", "publish_free"]

log = logging.getLogger("talo.django")

#: Rows that a relay claims at once.
BATCH = 100
#: Seconds after which a message that the broker refused for good is tried again: limits and routes change.
REFUSED_FOR = 3600.0
#: Databases of this process whose table is known to be there.
_migrated: set[str] = set()

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def aliases() -> list[str]:
    """The databases that may hold an outbox: those that the routers let it be migrated to."""
    return [alias for alias in connections if allowed(alias)]


def allowed(alias: str) -> bool:
    """Whether the routers let a database have an outbox."""
    return bool(router.allow_migrate_model(alias, OutboxMessage))


def missing_table(alias: str) -> bool:
    """Whether the outbox of a database has not been migrated."""
    if alias in _migrated:
        return False
    connection = connections[alias]
    with connection.cursor() as cursor:
        there = OutboxMessage._meta.db_table in connection.introspection.table_names(cursor)
    if there:
        _migrated.add(alias)
    return not there


def keep(app: Any, alias: str, messages: list[Message], publish: Callable[[], None]) -> Callable[[], None]:
    """Write messages into the outbox as part of the open transaction; return what to call at its commit."""
    if missing_table(alias):
        raise ImproperlyConfigured(
            f"TALO_OUTBOX is on, but database {alias!r} has no table {OutboxMessage._meta.db_table}: "
            f"run manage.py migrate --database {alias}"
        )
    claim = uuid.uuid4().hex
    messages[:] = [_copy(message) for message in messages]
    until = time.time() + app.conf.outbox_lease
    rows = [
        OutboxMessage(
            app=app.main or "",
            task_id=message.id or "",
            task=message.task or "",
            body=_encode(message),
            claimed_until=until,
            claim=claim,
        )
        for message in messages
    ]
    OutboxMessage.objects.using(alias).bulk_create(rows)
    return lambda: _publish_own(app, alias, claim, until, publish)


def _copy(message: Message) -> Message:
    """The message under a copy id of its own, so that of several copies one runs."""
    return message.anew(message.headers, message.body, message.due).copied()


def _publish_own(app: Any, alias: str, claim: str, until: float, publish: Callable[[], None]) -> None:
    """Publish what this process has just committed. Whatever goes wrong here is mended by a relay, so it is told in
    the log only: the transaction is committed, and its caller has nothing to undo."""
    rows = OutboxMessage.objects.using(alias).filter(claim=claim)
    now = time.time()
    try:
        # The transaction may have taken longer than the claim was good for; then a relay may have been quicker.
        if now + app.conf.publish_timeout > until and not rows.update(claimed_until=now + app.conf.outbox_lease):
            return
        publish()
        rows.delete()
    except (TaloError, Error) as exc:
        log.warning("A message stays in the outbox for a relay: %s", exc, extra={"action": "outbox"})


def publish_free(app: Any, alias: str) -> int:
    """Claim rows that nobody is publishing, publish and delete them; return their number. Errors: the broker's."""
    claim = uuid.uuid4().hex
    _claim(app, alias, claim)
    rows = OutboxMessage.objects.using(alias).filter(claim=claim)
    claimed = list(rows.order_by("pk"))
    if not claimed:
        return 0
    try:
        _send(app, claimed)
    except OperationalError:
        raise
    except (TaloError, msgspec.MsgspecError):
        # One of them is refused for good, and must not hold up the others.
        claimed = [row for row in claimed if _sent(app, row)]
    rows.filter(pk__in=[row.pk for row in claimed]).delete()
    # What was refused is looked at again, but seldom.
    rows.update(claimed_until=time.time() + REFUSED_FOR)
    for row in claimed:
        fields = {"action": "outbox", "task_id": row.task_id}
        log.warning("Published %s from the outbox: its sender did not", row, extra=fields)
    return len(claimed)


def _send(app: Any, rows: Sequence[OutboxMessage]) -> None:
    messages = [_copy(_decode(bytes(row.body))) for row in rows]
    app.entry.send(messages, timeout=min(app.conf.publish_timeout, app.conf.outbox_lease / 2))


def _sent(app: Any, row: OutboxMessage) -> bool:
    """Send one; False if it is refused for good."""
    try:
        _send(app, [row])
    except OperationalError:
        raise
    except (TaloError, msgspec.MsgspecError) as exc:
        fields = {"action": "outbox", "task_id": row.task_id}
        log.error("%s cannot be published, and stays in the outbox: %s", row, exc, extra=fields)
        return False
    return True


def _claim(app: Any, alias: str, claim: str) -> None:
    """Claim free rows. Each is claimed by one statement that looks again whether it is free, so by one relay."""
    now = time.time()
    every = OutboxMessage.objects.using(alias).filter(app=app.main or "")
    free = every.filter(claimed_until__lte=now).order_by("pk")
    if connections[alias].features.has_select_for_update_skip_locked:
        # What another relay is about to claim is looked past instead of waited for.
        around: Any = transaction.atomic(using=alias)
        free = free.select_for_update(skip_locked=True)
    else:
        around = nullcontext()
    with around:
        found = list(free.values_list("pk", flat=True)[:BATCH])
        if found:
            rows = every.filter(pk__in=found, claimed_until__lte=now)
            rows.update(claimed_until=now + app.conf.outbox_lease, claim=claim)
