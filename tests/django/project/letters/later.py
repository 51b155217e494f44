"""A task in a module that no worker looks for."""

from django_tasks import task


@task
def elsewhere(x):
    return x * 2
