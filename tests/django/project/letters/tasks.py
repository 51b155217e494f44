"""Tasks of Django's framework, where workers find them."""

import os

from django_tasks import task
from orders.models import Order

from talo import Secret


@task
def write(to, *, copies=1):
    return [f"Dear {to}"] * copies


@task(priority=10, takes_context=True)
def attempts(context, fail_first=False):
    with open("attempts", "a") as log:
        log.write(f"{context.task_result.id}\n")
    if fail_first and context.attempt == 1:
        os.kill(os.getpid(), 9)
    return [context.attempt, context.task_result.status, context.task_result.args, len(context.task_result.worker_ids)]


@task
async def count():
    return await Order.objects.acount()


@task
def fail():
    raise LookupError("nobody of that name")


@task(takes_context=True)
def sealed_letter(context, to, words: Secret[str]):
    return [to, len(words), str(context.task_result.args)]


def _named():
    return "by another name"


named = task(_named)


@task
def wrong():
    return object()


@task(queue_name="slow")
def slowly():
    return "slow"


@task
def stamp(name):
    with open("order", "a") as log:
        log.write(f"{name}\n")
