"""What the global options said, and the app that they lead to.

Owns finding, configuring and closing the app of one command line. Made by ``cli.main``, used by every command."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from talo.app.app import Talo
from talo.cli._django import django_app
from talo.cli._errors import Refused
from talo.cli._find import find_app
from talo.compat.late import offer

__all__ = ["Session"]

#: Settings that global options set, and the variables that may stand for the options.
_SETTINGS = {"broker": ("broker_url", "BROKER_URL"), "result_backend": ("result_backend", "RESULT_BACKEND")}
#: What Celery's projects name as their loader; both load an app as Talo does.
_LOADERS = {"app", "default", "celery.loaders.app:AppLoader", "celery.loaders.default:Loader"}


@dataclass(kw_only=True)
class Session:
    """One command line. Nothing is imported before ``app`` is asked for."""

    app: str | None = None
    broker: str | None = None
    result_backend: str | None = None
    loader: str | None = None
    config: str | None = None
    workdir: str | None = None
    quiet: bool = False
    skip_checks: bool = False
    #: The app that a program hands in; it stands for the one that ``app`` would name.
    given: Talo | None = None
    #: None: coloured where a terminal reads.
    color: bool | None = None
    #: Which of these come from the environment's variables.
    from_environment: Collection[str] = ()

    def enter_workdir(self) -> None:
        """Change to the directory that was named. Errors: ``Refused``."""
        if not self.workdir:
            return
        try:
            os.chdir(self.workdir)
        except OSError as error:
            raise Refused(f"--workdir {self.workdir}: {error.strerror}") from error

    def find(self, *, required: bool = False) -> Talo:
        """Return the app, with what the command line sets. Without ``-A`` one without tasks, or ``Refused`` if it is
        ``required``."""
        if self.loader and self.loader not in _LOADERS:
            raise Refused(f"--loader {self.loader}: Talo has no loaders; name the app with -A")
        offer()
        app = self._named(self.app) if self.app is not None else self.given or django_app()
        if app is None and required:
            raise Refused("no app is named: write talo -A MODULE ... (or set TALO_APP)")
        if app is None:
            app = Talo("default")
        if self.config:
            self._use_config(app, self.config)
        settings = [
            f"{setting}={value}"
            for name, (setting, _) in _SETTINGS.items()
            if (value := getattr(self, name)) and not self._overruled(name, setting)
        ]
        app.config_from_cmdline(settings)
        return app

    @contextlib.contextmanager
    def opened(self, *, required: bool = False) -> Iterator[Talo]:
        """Give the app, and close its connections at the end."""
        app = self.find(required=required)
        try:
            yield app
        finally:
            app.close()

    def _named(self, name: str) -> Talo:
        return find_app(name)

    def _overruled(self, name: str, setting: str) -> bool:
        """Whether a variable of the setting itself stands beside the one of the option: then that one counts."""
        return name in self.from_environment and any(
            os.environ.get(f"{prefix}_{setting.upper()}") for prefix in ("TALO", "CELERY")
        )

    @staticmethod
    def _use_config(app: Talo, module: str) -> None:
        try:
            app.config_from_object(module, force=True)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module}.".startswith(f"{error.name}."):
                raise Refused(f"--config {module}: there is no module {error.name!r}") from error
            raise

    def origin(self, app: Talo, setting: str) -> str:
        """Return where a setting's value comes from, in the settings' words."""
        found = app.conf.origin(setting)
        for name, (known, variable) in _SETTINGS.items():
            if known == setting and found == "command line" and name in self.from_environment:
                return f"environment variable {variable}"
        return found
