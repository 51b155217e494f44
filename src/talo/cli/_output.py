"""Tables: laid out for a person at a terminal, tab-separated lines for a pipe, JSON where it is asked for.

Owns the choice; the layout is ``_pretty``'s, which is imported (and rich with it) only where a person looks. Called by
the commands that list things."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from talo.cli._session import Session

__all__ = ["print_json", "print_result", "print_table"]


def print_table(session: Session, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their headings (``--quiet``: without)."""
    if sys.stdout.isatty():
        importlib.import_module("talo.cli._pretty").print_table(
            columns, rows, headings=not session.quiet, color=session.color
        )
        return
    if not session.quiet:
        click.echo("\t".join(columns))
    for row in rows:
        # A tab or line break inside a value would make another column or row of it.
        click.echo("\t".join(" ".join(_text(value).split()) for value in row))


def print_json(value: Any) -> None:
    """Print a value as JSON; what JSON does not know is written as text."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_result(value: Any) -> None:
    """Print what a task returned: text as it is, the rest as JSON, and what is neither as Python shows it."""
    if isinstance(value, str):
        click.echo(value)
        return
    try:
        click.echo(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        click.echo(repr(value))


def _text(value: Any) -> str:
    return "-" if value is None else str(value)
