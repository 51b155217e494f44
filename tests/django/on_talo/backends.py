"""Talo in the roles of the two backends that Django brings along: one keeps tasks, one runs them at once.

The framework's own tests ask for ``DummyBackend`` and ``ImmediateBackend``, and for two helpers of the former.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.apps import apps

from talo.app.app import Talo
from talo.django.tasks import TaloBackend
from talo.django.transactions import unbound
from talo.stores.sql import open_sqlite
from talo.testing.local import LocalWorker

__all__ = ["Keeping", "Running"]

#: Some of the tests have Django forget which apps are installed.
_project: Talo = apps.get_app_config("talo_django").app


class _Installed(TaloBackend):
    @staticmethod
    def _app() -> Talo:
        return _project


class Keeping(_Installed):
    """Keeps what is enqueued; no worker is there."""

    def __init__(self, alias: str, params: Any) -> None:
        super().__init__(alias, params)
        self._ids: list[str] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        self._ids.append(result.id)
        return result

    @property
    def results(self) -> list[Any]:
        """What the store says now of all that was enqueued."""
        return [self.get_result(each) for each in self._ids]

    def clear(self) -> None:
        """Begin with an empty store."""
        self._ids.clear()
        _project.use_store(open_sqlite(f"memory://{uuid.uuid4().hex}"))


class Running(_Installed):
    """Has a worker run what is enqueued before ``enqueue`` returns, in a transaction too; then says what the store
    says."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        with unbound():
            result = super().enqueue(task, args, kwargs)
        LocalWorker(_project).run_all()
        result.refresh()
        return result
