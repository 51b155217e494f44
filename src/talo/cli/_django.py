"""The app of a Django project that has no module for it.

Owns the question whether there is one; the app is made by ``talo.django``. Called by ``cli._session`` when no app is
named, and by ``cli._find`` when a package holds none."""

from __future__ import annotations

import importlib
import importlib.util
import os

from talo.app.app import Talo

__all__ = ["django_app"]


def django_app(package: str | None = None) -> Talo | None:
    """Return the app of the project that ``DJANGO_SETTINGS_MODULE``, or else ``package``, has the settings of; None
    if there is none, or ``talo.django`` is not installed in it."""
    if importlib.util.find_spec("django") is None:
        return None
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        if package is None or importlib.util.find_spec(f"{package}.settings") is None:
            return None
        os.environ["DJANGO_SETTINGS_MODULE"] = f"{package}.settings"
    apps = importlib.import_module("django.apps").apps
    if not apps.ready:
        importlib.import_module("django").setup()
    if not apps.is_installed("talo.django"):
        return None
    app: Talo = importlib.import_module("talo.django.worker_app").app
    return app
