"""Putting the alias in place, once and for the whole process.

Owns the rule that Celery and its alias never meet in one process, and which of the libraries beside Celery are stood
in for. Called by users first of all, by ``python -m talo.compat``, by the ``talo`` command and by the distribution in
``packages/talo-as-celery``.
"""

from __future__ import annotations

import importlib.util
import sys

from talo.app import current
from talo.compat import fixups
from talo.compat.app import Celery
from talo.compat.finder import AliasFinder
from talo.compat.log import adopt_names
from talo.compat.tables import ABSENT, TABLE
from talo.errors import ImproperlyConfigured
from talo.util.process import note_preparation

__all__ = ["install_as_celery", "is_installed"]

#: Stood in for only where the real ones are not installed.
BESIDE = ("kombu", "billiard", "vine")


def is_installed() -> bool:
    """Whether ``import celery`` means Talo in this process."""
    return any(isinstance(finder, AliasFinder) for finder in sys.meta_path)


def install_as_celery() -> None:
    """Let ``import celery`` and all below it mean Talo, and ``kombu``, ``billiard`` and ``vine`` too where they are not
    installed. Repeating it does nothing.

    ``ImproperlyConfigured`` if the real Celery is loaded already: the two must not meet in one process.
    """
    if is_installed():
        return
    loaded = sys.modules.get("celery")
    if loaded is not None and not getattr(loaded, "__talo_alias__", False):
        raise ImproperlyConfigured(
            f"Celery itself is loaded already ({getattr(loaded, '__file__', 'celery')}), and it and Talo cannot both "
            "be celery in one process: call talo.compat.install_as_celery() before anything imports celery, or start "
            "the program with python -m talo.compat"
        )
    tops = ["celery", *(name for name in BESIDE if _absent(name))]
    note_preparation("talo.compat.install:install_as_celery")
    sys.modules.pop("celery", None)
    sys.meta_path.insert(0, AliasFinder(tops, TABLE, ABSENT))
    adopt_names()
    fixups.connect()
    current.use_default_factory(lambda: Celery("default", set_as_current=False))


def _absent(name: str) -> bool:
    if name in sys.modules:
        return getattr(sys.modules[name], "__talo_alias__", False)
    return importlib.util.find_spec(name) is None
