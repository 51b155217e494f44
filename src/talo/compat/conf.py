"""The settings of an app under the alias, as Celery's users read them.

Owns one thing that Talo's own settings do not do: a name that no table knows, read as an attribute before anything
else was read. Caller: ``compat.app``.
"""

from __future__ import annotations

from typing import Any

from talo.settings import Settings

__all__ = ["CelerySettings"]


class CelerySettings(Settings):
    """Settings in which what projects add of their own (``app.conf.shop_currency``) is an attribute, too."""

    def __getattr__(self, name: str) -> Any:
        # Sources are read when the first value is; what they bring then stands among the attributes.
        if name.startswith("_") or name not in self:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return self[name]
