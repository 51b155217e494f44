"""Loading of modules that an install may lack, or that only few need.

The one place where a module is imported by name at run time; the names are constants of the caller, never data.
Callers keep an optional dependency to one file and load it when it is first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from talo.errors import ImproperlyConfigured, MissingExtra

__all__ = ["load"]


def load(module: str, package: str | None = None, extra: str | None = None) -> ModuleType:
    """Return the module. Not installed: ``MissingExtra`` names ``package`` and the extra of Talo that brings it.

    Without an extra the module is the standard library's, which some builds of Python lack: ``ImproperlyConfigured``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        if extra is None:
            raise ImproperlyConfigured(f"this Python was built without its module {module}") from exc
        raise MissingExtra(package or module, extra) from exc
