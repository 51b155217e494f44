"""The extension: an app of Talo's that belongs to a Flask application.

Owns the tie between the two (``init_app``), the settings in ``app.config``, and what is said as long as there is no
tie. Contexts are ``contexts``', the command ``command``'s. One extension has one Flask application at a time: the one
of the latest ``init_app``.
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask
from flask.cli import ScriptInfo

from talo.app import app as apps
from talo.errors import ImproperlyConfigured
from talo.flask.command import talo_command
from talo.flask.contexts import Contexts
from talo.settings.prefixed import PrefixedSettings

__all__ = ["KEY", "VARIABLE", "Talo", "made_app"]

#: Under it the extension stands in ``app.extensions``.
KEY = "talo"
#: Names the Flask application, as for ``flask run``.
VARIABLE = "FLASK_APP"
#: Dictionaries in ``app.config`` that hold settings; ``CELERY`` is the one of Celery's documented pattern.
_BAGS = {"TALO": "TALO_", "CELERY": "CELERY_"}


class Talo(apps.Talo):
    """An app whose tasks run in the context of a Flask application, and whose settings stand in its ``config``."""

    def __init__(self, app: Flask | None = None, *, main: str | None = None, **options: Any) -> None:
        """Tie it to ``app`` now, or with ``init_app`` later. ``options`` are those of ``talo.Talo``; what they set
        wins over ``app.config``."""
        self._flask: Flask | None = None
        self._contexts = Contexts(self)
        super().__init__(main, **options)
        self.config_from_object(PrefixedSettings(lambda: self.flask.config, _BAGS))
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Tie it to ``app``: from now on its settings count and tasks run in its context. Repeating it does nothing;
        another application takes the place of the one before.

        ``TypeError`` for what is no Flask application; ``ImproperlyConfigured`` if ``app`` has another extension of
        this kind, or a worker is running.
        """
        if not isinstance(app, Flask):
            raise TypeError(f"init_app expects a Flask application, not {type(app).__name__}: {app!r}")
        known = app.extensions.get(KEY)
        if known is self and self._flask is app:
            return
        if known is not None and known is not self:
            raise ImproperlyConfigured(
                f"the Flask application {app.name!r} has a Talo already: one extension is enough"
            )
        if self._flask is not None:
            self.release_stores()
        self.main = self.main or app.name
        self.conf.reload()
        self._flask = app
        app.extensions[KEY] = self
        app.cli.add_command(talo_command)
        self._contexts.listen()

    @property
    def flask(self) -> Flask:
        """The Flask application. ``ImproperlyConfigured`` before ``init_app``."""
        if self._flask is None:
            raise ImproperlyConfigured(
                "this Talo extension has no Flask application: call init_app(app) where the application is made, and "
                "run its commands with flask --app MODULE talo ..., or with -A naming a module that makes one"
            )
        return self._flask

    def import_default_modules(self) -> None:
        """As every app does; a spawned process first makes the Flask application that ``FLASK_APP`` names."""
        if self._flask is None and os.environ.get(VARIABLE):
            made_app()
        super().import_default_modules()


def made_app() -> Flask:
    """Make the Flask application that ``FLASK_APP`` names, as ``flask run`` would, or the one that it would guess."""
    return ScriptInfo(os.environ.get(VARIABLE)).load_app()
