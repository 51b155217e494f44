"""``talo report``: what a bug report should say of an installation; secrets are hidden. Called by ``cli.main``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from talo import __version__
from talo.cli._commands import TaloCommand
from talo.cli._session import Session
from talo.stores.url import scheme_of

__all__ = ["report"]

#: What Talo builds on, and the optional parts.
_PACKAGES = ("msgspec", "click", "rich", "redis", "hiredis", "Django", "PyYAML", "brotli", "zstandard", "celery")


@click.command(cls=TaloCommand)
@click.pass_obj
def report(session: Session) -> None:
    """Describe this installation, for bug reports.

    Passwords and other secrets are hidden.
    """
    with session.opened() as app:
        conf = app.conf
        versions = " ".join(f"{name.lower()}:{found}" for name in _PACKAGES if (found := _version(name)))
        architecture = platform.architecture()
        lines = [
            "",
            f"software -> talo:{__version__} python:{platform.python_version()} {versions}",
            f"platform -> system:{platform.system()} arch:{', '.join(part for part in architecture if part)}",
            f"            kernel:{platform.release()} implementation:{platform.python_implementation()}",
            f"app      -> {app.main or '__main__'} {len(app.tasks)} tasks",
            f"broker   -> {scheme_of(conf.broker_url)} results:{scheme_of(conf.result_backend or conf.broker_url)}",
            "",
            conf.humanize(with_defaults=False, censored=True),
        ]
    click.echo("\n".join(lines))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
