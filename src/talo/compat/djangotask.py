"""``celery.contrib.django.task``: tasks that are sent when the transaction is committed.

Owns the two methods. Django is imported when they are used.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from talo.app.task import Task

__all__ = ["DjangoTask"]


class DjangoTask(Task[Any, Any]):
    """A base of tasks with the two calls that wait for the commit."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """Send with these arguments when the transaction is committed; at once outside of one."""
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """The same with the options of ``apply_async``; ``using`` names the database."""
        transaction = importlib.import_module("django.db.transaction")
        using = kwargs.pop("using", None)
        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs), using=using)
