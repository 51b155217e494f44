"""The app of a Django project, found or made.

Owns the order of looking. Imported by ``apps`` when Django is ready; ``talo.django.worker_app`` is where a command or
a spawned process finds the result.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator

from talo.app import current
from talo.app.app import Talo
from talo.django.conf import DjangoSettings

__all__ = ["find_or_make"]

#: Modules in which the classic layout has its app, beside the settings.
_MODULES = ("celery", "celery_app", "talo")


def find_or_make() -> Talo:
    """Return the app of this project: the current one, that of the classic layout, or a new one."""
    app = current.chosen_app()
    if app is not None:
        return app
    for module in _classic_modules():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as exc:
            if exc.name != "celery":
                raise
            continue  # the app of a Celery that is not installed is nobody's
        app = current.chosen_app()
        if app is not None:
            return app
    return _made()


def _packages() -> list[str]:
    """The packages around the settings module, the nearest first."""
    parts = os.environ.get("DJANGO_SETTINGS_MODULE", "").split(".")[:-1]
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _classic_modules() -> Iterator[str]:
    for package in _packages():
        for name in _MODULES:
            if importlib.util.find_spec(f"{package}.{name}") is not None:
                yield f"{package}.{name}"


def _made() -> Talo:
    packages = _packages()
    app = Talo(packages[-1] if packages else "django")
    app.config_from_object(DjangoSettings())
    app.autodiscover_tasks()
    return app
