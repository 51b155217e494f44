"""Talo's tables in Django's databases.

Owns the table of the outbox: one row for each message that is committed and not known to be published. What happens
to rows is ``outbox``'s. Imported by Django.
"""

from __future__ import annotations

from django.db import models

__all__ = ["OutboxMessage"]


class OutboxMessage(models.Model):
    """A message on its way from a committed transaction to the broker. It is gone once that is done."""

    id = models.BigAutoField(primary_key=True)
    #: The app that sent it (``Talo.main``): its workers know the broker.
    app = models.CharField(max_length=255)
    task_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255)
    #: The message in Talo's own writing (``outbox``).
    body = models.BinaryField()
    #: Epoch seconds until which somebody is publishing it.
    claimed_until = models.FloatField(db_index=True)
    #: Who claimed it last.
    claim = models.CharField(max_length=32, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "talo_django_outbox"
        verbose_name = "outbox message"

    def __str__(self) -> str:
        return f"{self.task}[{self.task_id}]"
