"""The alias on demand: put in place by the first import of Celery, where Celery is not installed.

Owns the finder that waits for it. Used by the ``talo`` command, so that a project that says ``import celery`` runs as
it is, and by the distribution in ``packages/talo-as-celery`` for the libraries beside Celery.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

__all__ = ["offer"]

_NAMES = frozenset({"celery", "kombu", "billiard", "vine"})


class _LateFinder(importlib.abc.MetaPathFinder):
    """Asked last: what comes here is not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _NAMES:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        from talo.compat.install import install_as_celery

        install_as_celery()
        return importlib.util.find_spec(fullname)


def offer() -> None:
    """Let the first import of ``celery`` (or of a library beside it) that would fail put the alias in place.

    Nothing happens where the real one is installed. Repeating it does nothing.
    """
    if not any(isinstance(finder, _LateFinder) for finder in sys.meta_path):
        sys.meta_path.append(_LateFinder())
