"""Which Celery the alias reads as, and small constants of its modules.

Owns the version: that of the Celery whose surface was the measure. Never compared by Talo itself.
"""

from __future__ import annotations

import platform
import signal
import sys
from typing import Any, NamedTuple

from talo.compat.absent import refuse
from talo.settings.options import OPTIONS
from talo.util.names import import_path
from talo.worker.options import POOLS

__all__ = [
    "DEFAULTS",
    "EX_CANTCREAT",
    "EX_FAILURE",
    "EX_OK",
    "EX_UNAVAILABLE",
    "EX_USAGE",
    "NAMESPACES",
    "SERIES",
    "VERSION",
    "by_name",
    "by_url",
    "find",
    "get_available_pool_names",
    "get_implementation",
    "get_loader_cls",
    "maybe_patch_concurrency",
    "set_process_title",
    "signals",
    "version_info",
]

SERIES = "talo"
EX_OK, EX_FAILURE, EX_UNAVAILABLE, EX_USAGE, EX_CANTCREAT = 0, 1, 69, 64, 73


class version_info_t(NamedTuple):
    """A version in five parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


VERSION = version_info = version_info_t(5, 6, 2, "", "")
__version__ = "5.6.2"
__author__ = "Talo's authors, under Celery's name"
__contact__ = __homepage__ = ""
__docformat__ = "markdown"
VERSION_BANNER = f"{__version__} ({SERIES})"
IS_macOS, IS_WINDOWS, SYSTEM = sys.platform == "darwin", sys.platform == "win32", platform.system()
SOFTWARE_INFO = {"sw_ident": "py-celery", "sw_ver": __version__, "sw_sys": SYSTEM}

#: What Celery's defaults are.
DEFAULTS: dict[str, Any] = {name: option.default_for(True) for name, option in OPTIONS.items()}
NAMESPACES = DEFAULTS


class _find_result(NamedTuple):
    namespace: str
    key: str
    type: Any


def find(name: str, namespace: str = "celery") -> _find_result:
    """Where a setting is: (namespace, name, description)."""
    option = OPTIONS[name if name in OPTIONS else f"{namespace}_{name}"]
    return _find_result("", option.name, option)


def maybe_patch_concurrency(*_args: Any, **_kwargs: Any) -> None:
    """Nothing is patched: Talo has no pool of green threads."""


def by_name(backend: str | None = None, *_args: Any, **_kwargs: Any) -> Any:
    """The class of a result backend by name, where the name is a path."""
    if backend and (":" in backend or "." in backend):
        return import_path(backend)
    return refuse(f"celery.app.backends.by_name({backend!r})", "Talo's stores keep results; read app.backend")


def by_url(backend: str | None = None, *_args: Any, **_kwargs: Any) -> Any:
    """The same for a URL: there are no classes for those."""
    refuse(f"celery.app.backends.by_url({backend!r})", "Talo's stores keep results; read app.backend")


def get_loader_cls(loader: str) -> Any:
    """The class of a loader by name."""
    names = {"app": "talo.compat.loaders:AppLoader", "default": "talo.compat.loaders:AppLoader"}
    return import_path(names.get(loader, loader))


def get_implementation(cls: str) -> Any:
    """Refused: a pool is no class that could be had."""
    refuse(f"the pool class {cls!r}", f"choose one of Talo's pools by name: {', '.join(sorted(POOLS))}")


def get_available_pool_names() -> tuple[str, ...]:
    """The names of the pools."""
    return tuple(POOLS)


def set_process_title(progname: str, info: str | None = None) -> str:
    """The title that a process would have; nothing is set."""
    return f"{progname}: {info}" if info else progname


class _Signals:
    """Signals by name, as ``celery.platforms.signals`` has them."""

    def __getitem__(self, name: str) -> Any:
        return signal.getsignal(self.signum(name))

    def __setitem__(self, name: str, handler: Any) -> None:
        signal.signal(self.signum(name), handler)

    @staticmethod
    def signum(name: str | int) -> int:
        """The number of a name with or without SIG."""
        if isinstance(name, int):
            return name
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name.upper()}"])

    def supported(self, name: str) -> bool:
        """Whether this system has it."""
        return f"SIG{name.removeprefix('SIG').upper()}" in signal.Signals.__members__

    def ignore(self, *names: str) -> None:
        """Ignore them."""
        for name in names:
            self[name] = signal.SIG_IGN

    def reset(self, *names: str) -> None:
        """Back to the default."""
        for name in names:
            self[name] = signal.SIG_DFL


signals = _Signals()


def signal_name(number: int) -> str:
    """The name of a signal."""
    return signal.Signals(number).name
