"""Tables for people. The one file of the command line that knows rich; imported only when a terminal reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["print_table"]


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, headings: bool = True, color: bool | None = None
) -> None:
    """Print a table as wide as the terminal, numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD if headings else None, show_header=headings, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if value is None else str(value)) for value in row))
    Console(color_system=None if color is False else "auto", highlight=False).print(table)
