"""The Talo of the Flask application at hand, under a name by which it can be imported: ``talo.flask.worker_app:app``.

Owns nothing; importing it makes the application that ``FLASK_APP`` names, unless one is active. Used by ``flask talo``,
and as ``talo -A talo.flask.worker_app``.
"""

from __future__ import annotations

from typing import Any, cast

from flask import Flask, current_app, has_app_context

from talo.errors import ImproperlyConfigured
from talo.flask.extension import KEY, Talo, made_app

__all__ = ["app"]


def _talo_of(flask: Flask) -> Talo:
    found = flask.extensions.get(KEY)
    if not isinstance(found, Talo):
        raise ImproperlyConfigured(f"the Flask application {flask.name!r} has no Talo: call Talo(app) or init_app(app)")
    return found


#: The app that the commands work with.
app: Talo = _talo_of(cast(Any, current_app)._get_current_object() if has_app_context() else made_app())
