"""``talo db``: the tables of stores that are databases.

Owns showing which migrations are applied and applying those that are not. Called by ``cli.main``.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from talo.app.app import Talo
from talo.cli._commands import TaloCommand
from talo.cli._errors import Refused
from talo.cli._output import print_json, print_table
from talo.cli._session import Session
from talo.stores.sql import SqlStore
from talo.stores.sql.database import Database

__all__ = ["db"]


@click.group(invoke_without_command=True)
@click.pass_context
def db(ctx: click.Context) -> None:
    """Make and change the tables that tasks and results are kept in.

    They are made at the first use unless db_auto_migrate is off; then a deployment runs talo db migrate.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@db.command(cls=TaloCommand)
@click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(session: Session, as_json: bool) -> int:
    """Show each step of the tables and whether it is done.

    Exits with 1 if one is pending. Changes nothing.
    """
    rows = []
    with session.opened() as app:
        for database in _databases(app):
            pending = database.pending(database.schema())
            for step in database.dialect.migrations:
                state = "pending" if step in pending else "applied"
                rows.append((database.name, f"{step.number:04}", step.name, state))
    if as_json:
        print_json([dict(zip(("database", "number", "name", "state"), row, strict=True)) for row in rows])
    else:
        print_table(session, ("database", "number", "name", "state"), rows)
    return 1 if any(row[3] == "pending" for row in rows) else 0


@db.command(cls=TaloCommand)
@click.pass_obj
def migrate(session: Session) -> None:
    """Do what is pending, each step once, whoever else does the same."""
    with session.opened() as app:
        for database in _databases(app):
            done = database.migrate()
            for step in done:
                click.echo(f"{database.name}: applied {step.number:04} {step.name}")
            if not done:
                click.echo(f"{database.name}: up to date")


def _databases(app: Talo) -> Iterator[Database]:
    """The databases of the app, each once. Errors: ``Refused`` if there is none."""
    seen: set[object] = set()
    for store in (app.store, app.result_store):
        if isinstance(store, SqlStore) and store.database.place not in seen:
            seen.add(store.database.place)
            yield store.database
    if not seen:
        raise Refused("neither broker_url nor result_backend is a database: there are no tables")
