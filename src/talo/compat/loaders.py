"""``app.loader``: importing what defines tasks, under the names of Celery's loaders.

Owns nothing: Talo has one way to load an app, ``Talo.import_default_modules``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from talo.app import _discover
from talo.compat.utils import import_from_cwd

__all__ = ["AppLoader"]


class AppLoader:
    """The loader of every app. ``on_worker_init`` and its like are called by nobody: connect to the signals."""

    def __init__(self, app: Any = None, **_kwargs: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()
        self.worker_initialized = False

    @property
    def conf(self) -> Any:
        """The app's settings."""
        return self.app.conf

    @property
    def default_modules(self) -> set[str]:
        """Modules that are imported when a worker starts."""
        return {*(self.conf.imports or ()), *(self.conf.include or ())}

    def import_default_modules(self) -> list[ModuleType]:
        """Import everything that defines tasks."""
        self.app.import_default_modules()
        return [importlib.import_module(name) for name in sorted(self.default_modules)]

    def import_task_module(self, module: str) -> ModuleType:
        """Import one module that defines tasks."""
        self.task_modules.add(module)
        found: ModuleType = self.import_from_cwd(module)
        return found

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import a module."""
        return importlib.import_module(module, package)

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        """Import a module, looking into the working directory too."""
        return import_from_cwd(module, imp, package)

    def autodiscover_tasks(self, packages: Iterable[str], related_name: str | None = "tasks") -> None:
        """Import the module ``related_name`` of each package that has one."""
        self.task_modules.update(module.__name__ for module in _discover.import_related(packages, related_name))

    def init_worker(self) -> None:
        """What a worker does before it starts."""
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Give the app its settings."""
        self.app.config_from_object(obj, silent=silent)
        return True

    def now(self, utc: bool = True) -> Any:
        """The time now."""
        del utc
        return self.app.now()

    def on_task_init(self, task_id: str, task: Any) -> None:
        """For subclasses."""

    def on_process_cleanup(self) -> None:
        """For subclasses."""

    def on_worker_init(self) -> None:
        """For subclasses."""

    def on_worker_process_init(self) -> None:
        """For subclasses."""

    def on_worker_shutdown(self) -> None:
        """For subclasses."""
