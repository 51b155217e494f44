"""Where the settings of one app come from, and when they are read.

Owns the order of the sources and the two signals around the first reading. Values, layers and checks are
``talo.settings``'s. Caller:
``app.app``.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from talo.errors import ImproperlyConfigured
from talo.settings import Settings

__all__ = ["Sources"]


class Sources:
    """The settings of an app on their way from wherever they stand."""

    def __init__(self, app: Any, namespace: str | None, values: Mapping[str, Any]) -> None:
        self._app = app
        self._namespace = namespace
        self._timezone: tuple[Any, dt.tzinfo] | None = None
        self.loaded = False
        self.conf: Settings = app.settings_cls(celery=app.celery_defaults)
        self.conf.add_defaults(self._begin)
        if values:
            self.conf.update(values)

    def _begin(self) -> dict[str, Any]:
        # Called by the settings when the first value is read: the sources that users name come after it.
        self.loaded = True
        self._app.on_configure.send(sender=self._app)
        self.conf.load_environment()
        return {}

    def use(self, source: Any, *, silent: bool = False, namespace: str | None = None, force: bool = False) -> None:
        """Take an object, module, dict or path as the source of settings; read when needed, or now with ``force``."""
        self.conf.load_object(source, namespace or self._namespace, silent=silent, lazy=not force)

    def use_envvar(self, variable: str, *, silent: bool, force: bool) -> bool:
        """Take the module that the variable names; return whether it is set."""
        module = os.environ.get(variable)
        if not module:
            if silent:
                return False
            raise ImproperlyConfigured(
                f"the environment variable {variable!r} is not set: it has to name the module with the settings"
            )
        self.use(module, silent=silent, force=force)
        return True

    def use_cmdline(self, arguments: Iterable[str], namespace: str) -> None:
        """Take ``name=value`` texts; a name may leave the ``namespace`` out."""
        prefix = f"{namespace}."
        self.conf.load_command_line([argument.removeprefix(prefix) for argument in arguments])

    def add_defaults(self, fun: Any) -> None:
        """Take a mapping, or what a function will return, as defaults."""
        self.conf.add_defaults(fun)

    @property
    def timezone(self) -> dt.tzinfo:
        """The time zone of the settings; UTC if they name none."""
        value = self.conf.timezone
        if self._timezone is None or self._timezone[0] != value:
            self._timezone = (value, _zone(value))
        return self._timezone[1]


def _zone(value: Any) -> dt.tzinfo:
    if value is None:
        return dt.UTC
    if isinstance(value, dt.tzinfo):
        return value
    if str(value).upper() == "UTC":
        return dt.UTC
    return ZoneInfo(str(value))  # the settings have checked that it exists
