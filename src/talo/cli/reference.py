"""The reference page of the command line, made from the commands themselves.

``python -m talo.cli.reference`` in the project's root writes it, and a test says when it is stale. Called by nobody
at run time."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from talo.cli._commands import ABSENT, COMMANDS
from talo.cli.main import talo

__all__ = ["REFERENCE_PATH", "main", "reference"]

REFERENCE_PATH = "docs/reference/cli.md"

_INTRODUCTION = """\
# The command line

<!-- Rendered by `python -m talo.cli.reference` from the commands in src/talo/cli; change those. -->

`talo [GLOBAL OPTIONS] COMMAND [OPTIONS]`; `python -m talo` is the same. Global options come before the command, as in
Celery. A terminal gets tables, a pipe gets lines with tabs between the columns and one line of headings (`-q`: none),
and `--json` gives JSON.

An error is one line on stderr, `Error: cause and mend`, without a traceback (`TALO_DEBUG=1` shows it) and without
passwords.

| exit code | meaning |
|---|---|
| 0 | done; a worker was stopped by TERM or QUIT |
| 1 | it could not be done; a worker was stopped by INT, or failed |
| 2 | wrong usage, an app that cannot be found, or something that Talo does not do |
| 69 | `status`: no worker is alive; `inspect`, `control`: nobody answered |
| 73 | `worker`: the pid file cannot be created, or a running process holds it |
"""


def reference() -> str:
    """Return the page."""
    root = click.Context(talo, info_name="talo")
    parts = [_INTRODUCTION, "\n## Global options\n\n", _options(talo, root)]
    for name in COMMANDS:
        command = talo.get_command(root, name)
        assert command is not None
        parts.append(_command(command, click.Context(command, info_name=name, parent=root), "##"))
    parts.append("\n## Celery's commands that Talo does not have\n\n| command | instead |\n|---|---|\n")
    parts.extend(f"| `{name}` | {reason} |\n" for name, reason in ABSENT.items())
    return "".join(parts)


def _command(command: click.Command, context: click.Context, heading: str) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"\n{heading} {context.command_path}\n\n`{usage}`\n\n{_prose(command.help)}\n"]
    options = _options(command, context)
    if options:
        parts.append(f"\n{options}")
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            parts.append(_command(inner, click.Context(inner, info_name=name, parent=context), f"{heading}#"))
    return "".join(parts)


def _prose(text: str | None) -> str:
    paragraphs = (text or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    records = [
        record
        for parameter in command.params
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    if not records:
        return ""
    rows = "".join(
        f"| `{names.replace('|', chr(92) + '|')}` | {help.replace('|', chr(92) + '|')} |\n" for names, help in records
    )
    return f"| option | |\n|---|---|\n{rows}"


def main() -> None:
    """Write the page under the working directory."""
    Path(REFERENCE_PATH).write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{REFERENCE_PATH}\n")


if __name__ == "__main__":
    main()
