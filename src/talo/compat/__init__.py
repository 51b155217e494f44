"""Celery's names for Talo's objects: the door for projects that say ``import celery``.

Owns the alias (``install_as_celery``), the app with Celery's defaults, and what Celery's plug-ins need that Talo's own
face does not have. Nothing below this door knows of it. See ``docs/internals/compat.md``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["install_as_celery", "is_installed"]


def __getattr__(name: str) -> Any:
    # So that ``compat.late``, which waits for an import that may never come, costs nothing.
    if name in __all__:
        from talo.compat import install

        return getattr(install, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
