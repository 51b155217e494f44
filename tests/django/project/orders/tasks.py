"""Tasks of a library's kind: they know no app."""

import os
import time

from django.db import connection, transaction

from orders.models import Note, Order
from talo import shared_task


@shared_task
def note(pk):
    """Leave a note on an order."""
    seen = Order.objects.filter(pk=pk).exists()
    Note.objects.create(order=pk, seen=seen)
    return seen


@shared_task
async def anote(pk):
    """The same with Django's async ORM."""
    seen = await Order.objects.filter(pk=pk).aexists()
    await Note.objects.acreate(order=pk, seen=seen)
    return seen


@shared_task
def add(x, y):
    return x + y


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def reminder():
    return "reminded"


@shared_task(bind=True, max_retries=1, default_retry_delay=3600)
def second_time(self):
    if self.request.retries == 0:
        raise self.retry()
    return self.request.retries


@shared_task
def send_within(pk, fail=False):
    """Send in a transaction of the task's own."""
    with transaction.atomic():
        Order.objects.filter(pk=pk).update(what="within")
        note.delay(pk)
        if fail:
            raise ValueError("rolled back")


@shared_task
def backend():
    """Which connection of the server this task has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0], os.getpid()


@shared_task
async def abackend():
    order = await Order.objects.afirst()
    return order.pk if order else None, os.getpid()


@shared_task
def whereabouts():
    """What the process of the task got from its parent."""
    return {"pid": os.getpid(), "open": connection.connection is not None, "at": time.time()}
