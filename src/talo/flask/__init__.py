"""Talo in a Flask project: the extension ``Talo``.

Tasks run in a context of the Flask application, settings come from ``app.config``, and ``flask talo …`` runs every
command. Owns nothing but the name and what is said when Flask is missing; see ``extension``.
"""

from __future__ import annotations

from talo.util.optional import load

load("flask", "Flask", "flask")

from talo.flask.extension import Talo  # noqa: E402  after the look whether there is a Flask

__all__ = ["Talo"]
