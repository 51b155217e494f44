"""What a ``django://`` URL means: an alias of ``DATABASES``.

Owns reading it. Called by the store, by the system checks, and by nobody who would need Django's settings for it.
"""

from __future__ import annotations

import urllib.parse

from talo.errors import ImproperlyConfigured

__all__ = ["SCHEME", "alias_of"]

SCHEME = "django"


def alias_of(url: str) -> str:
    """Return the alias: ``default`` for ``django://``. Errors: ``ImproperlyConfigured``."""
    rest = url.partition("://")[2]
    alias, _, query = rest.partition("?")
    alias = urllib.parse.unquote(alias.strip("/"))
    if query or "/" in alias:
        raise ImproperlyConfigured(
            f"{SCHEME}://{alias} takes an alias of DATABASES and nothing else: put options into its OPTIONS there"
        )
    return alias or "default"
