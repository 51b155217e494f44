"""The task class of a Django project.

Owns the sends that wait for a commit whatever the settings say, and what is said when a model's instance is sent.
Given to apps by ``adoption``; which transaction counts is ``transactions``'s.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models, transaction

from talo.app.result import AsyncResult
from talo.app.task import P, R, Task
from talo.django.transactions import bound
from talo.errors import EncodeError, TaloWarning
from talo.wire import new_id

__all__ = ["DjangoTask"]

#: Formats that would write a model's instance, with the state of its row at the send.
_WRITE_ANYTHING = ("pickle", "application/x-python-serialize")


class DjangoTask(Task[P, R]):
    """A task whose sends know Django's transactions and models."""

    abstract = True

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """``delay`` at the commit of the open transaction, at once if there is none. The handle is usable at once."""
        return self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """``apply_async`` at the commit of the open transaction, at once if there is none. The handle is usable at
        once."""
        if not self.app.conf.task_always_eager:
            with bound():
                return self.apply_async(args, kwargs, task_id, **options)
        # Here it is the run that waits for the commit.
        task_id = task_id or new_id()
        transaction.on_commit(lambda: self.apply_async(args, kwargs, task_id, **options))
        return self.AsyncResult(task_id)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, *more: Any, **options: Any
    ) -> AsyncResult[R]:
        """As of ``Task``. ``EncodeError`` with the mend if an argument is an instance of a model."""
        if self.app.conf.task_always_eager or (options.get("serializer") or self.serializer) in _WRITE_ANYTHING:
            self._warn_of_models(args, kwargs)
        try:
            return super().apply_async(args, kwargs, *more, **options)
        except EncodeError as exc:
            label = _model_in((args, kwargs))
            if label is None:
                raise
            raise EncodeError(f"{self.name}: {label}") from exc

    def _warn_of_models(self, args: Any, kwargs: Any) -> None:
        label = _model_in((args, kwargs))
        if label is not None:
            warnings.warn(f"{self.name}: {label}", TaloWarning, stacklevel=4)


def _model_in(value: Any) -> str | None:
    """What to say of the first instance or query set of a model within a value; None if there is none."""
    if isinstance(value, models.Model):
        return f"{value._meta.label} instance as argument: pass its pk, and let the task read the row as it is then"
    if isinstance(value, models.QuerySet):
        return f"{value.model._meta.label} query set as argument: pass what it is made of, such as a list of pks"
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    return next((found for each in inner if (found := _model_in(each)) is not None), None)
