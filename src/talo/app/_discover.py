"""Importing the modules that define tasks.

Owns what counts as "there is none" against "it is broken", and which packages a framework names. Callers:
``Talo.autodiscover_tasks`` and ``Talo.import_default_modules``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any

__all__ = ["adopt_by_framework", "framework_packages", "import_module", "import_related", "prepare_framework"]


def import_module(name: str) -> ModuleType:
    """Import one module by its path."""
    return importlib.import_module(name)


def import_related(packages: Iterable[str], related_name: str | None) -> list[ModuleType]:
    """Import ``<package>.<related_name>`` of each package that has one; without ``related_name`` the packages
    themselves.

    An error inside such a module is not swallowed.
    """
    found = []
    for package in packages:
        if not related_name:
            found.append(import_module(package))
            continue
        name = _related(package, related_name)
        if name is not None:
            found.append(import_module(name))
    return found


def _related(package: str, related_name: str) -> str | None:
    try:
        parent = importlib.import_module(package)
    except ModuleNotFoundError as exc:
        # ``app.apps.Config`` names a class: its package is above. A failing import inside an existing package must be
        # seen.
        above, dot, _ = package.rpartition(".")
        if not dot or exc.name is None or not f"{package}.".startswith(f"{exc.name}."):
            raise
        return _related(above, related_name)
    if not hasattr(parent, "__path__"):
        return None
    name = f"{parent.__name__}.{related_name}"
    return name if importlib.util.find_spec(name) is not None else None


def _django_apps() -> Any:
    """Django's registry of apps where Django is in use, else None."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE") or importlib.util.find_spec("django") is None:
        return None
    return importlib.import_module("django.apps").apps


def adopt_by_framework(app: Any) -> None:
    """Let Talo's door to Django see a new app where Django is in use. The door is above the app, so it is reached by
    its name."""
    if os.environ.get("DJANGO_SETTINGS_MODULE") and importlib.util.find_spec("django") is not None:
        importlib.import_module("talo.django.adoption").adopt(app)


def prepare_framework() -> None:
    """Set up Django where it is in use and not set up: its models must be loadable before tasks are imported."""
    apps = _django_apps()
    if apps is not None and not apps.ready:
        importlib.import_module("django").setup()


def framework_packages() -> list[str]:
    """The packages of Django's installed apps; empty without Django."""
    apps = _django_apps()
    if apps is None:
        return []
    prepare_framework()
    return [config.name for config in apps.get_app_configs()]
