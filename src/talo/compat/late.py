"""The alias on demand: put in place by the first import of Celery, where Celery is not installed.

Owns the finder that waits for it. Used by the ``talo`` command, so that a project that says ``import celery`` runs as
it is, and by the distribution in ``packages/talo-as-celery`` for the libraries beside Celery.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["ORIGIN", "offer"]

#: Where modules of the alias say that they come from.
ORIGIN = "talo.compat"

#: A module of ``packages/talo-as-celery``, beside its ``celery``.
_BESIDE = "_talo_as_celery.py"
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
        importlib.import_module("talo.compat.install").install_as_celery()
        return importlib.util.find_spec(fullname)


def offer() -> bool:
    """Let the first import of ``celery`` (or of a library beside it) that would fail put the alias in place; return
    whether ``celery`` is or will be Talo. Nothing happens where the real one is installed. Repeating it does
    nothing."""
    if any(isinstance(finder, _LateFinder) for finder in sys.meta_path):
        return True
    spec = importlib.util.find_spec("celery")
    if spec is None:
        sys.meta_path.append(_LateFinder())
        return True
    return spec.origin == ORIGIN or _is_ours(spec)


def _is_ours(spec: importlib.machinery.ModuleSpec) -> bool:
    """Whether what is installed as ``celery`` is Talo's distribution of that name, which alone has a module beside it.

    To ask the installation for the version would take as long as a third of the command's own modules."""
    return spec.origin is not None and Path(spec.origin).parent.with_name(_BESIDE).exists()
