"""``flask talo …``: every command of ``talo``, with the Flask application's Talo.

Owns the way in; the commands are ``talo.cli``'s. Added to the application's commands by ``extension``.
"""

from __future__ import annotations

import os
import sys

import click
from flask.cli import ScriptInfo

from talo.cli.main import run

__all__ = ["talo_command"]

_APP = ("-A", "talo.flask.worker_app:app")


@click.command("talo", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def talo_command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Run a command of talo (worker, beat, schedule, ...): flask talo --help lists them."""
    script = ctx.find_object(ScriptInfo)
    if script is not None and script.app_import_path:
        # What --app named, for the processes that a worker spawns.
        os.environ["FLASK_APP"] = script.app_import_path
    sys.exit(run([*_APP, *arguments]))
