"""``talo dead``: the dead letters, and what to do with them.

Owns options and layout; the work is ``control.dead``'s, which the dashboard calls too. Called by ``cli.main``."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import click

from talo.cli._commands import TaloCommand
from talo.cli._errors import Failed, Refused
from talo.cli._output import print_json, print_table
from talo.cli._params import JSON_ARRAY, JSON_OBJECT
from talo.cli._session import Session
from talo.control.dead import DeadLetters
from talo.stores.base import DeadLetter
from talo.util.text import count, shorten

__all__ = ["dead"]

_TASK = click.option("--task", metavar="NAME", help="Letters of this task only.")
_QUEUE = click.option("--queue", metavar="NAME", help="Letters of this queue only.")
_JSON = click.option("-j", "--json", "as_json", is_flag=True, help="As JSON.")
#: So many bytes of what makes no message are shown.
_RAW_SHOWN = 2000
_IDS = click.argument("ids", nargs=-1, metavar="[ID]...")


@click.group(invoke_without_command=True)
@click.pass_context
def dead(ctx: click.Context) -> None:
    """List, show, replay and drop dead letters.

    A dead letter is a task that will not run again unless somebody replays it: it failed for good, killed its process
    too often, or its message makes no task. Letters are named by their own id or by that of the task.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@dead.command("list", cls=TaloCommand)
@_TASK
@_QUEUE
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--offset", type=click.IntRange(min=0), default=0, show_default=True, help="Pass over so many.")
@_JSON
@click.pass_obj
def list_(session: Session, /, as_json: bool, **filters: Any) -> None:
    """List dead letters, latest first."""
    with _letters(session) as letters:
        found = letters.list(**filters)
    if as_json:
        print_json([_facts(letter) for letter in found])
        return
    rows = [
        (
            letter.id,
            _when(letter.died),
            letter.queue,
            letter.death.task or _header(letter, "task"),
            letter.death.task_id or _header(letter, "id"),
            letter.death.reason,
            shorten(" ".join(letter.death.text.split()), 60),
        )
        for letter in found
    ]
    print_table(session, ("id", "died", "queue", "task", "task id", "reason", "text"), rows)


@dead.command(cls=TaloCommand)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_JSON
@click.pass_obj
def show(session: Session, ids: tuple[str, ...], as_json: bool) -> None:
    """Show all that is known of dead letters, the traceback included.

    Of bytes that make no message the first 2,000, escaped; with --json all of them, in base64.
    """
    with _letters(session) as letters:
        found = letters.get(ids)
    if as_json:
        print_json([_facts(letter, whole=True) for letter in found])
    else:
        for number, letter in enumerate(found):
            click.echo("\n" if number else "", nl=False)
            _show(letter)
    named = {name for letter in found for name in (letter.id, letter.death.task_id, _header(letter, "id"))}
    if missing := [name for name in ids if name not in named]:
        raise Failed(f"there is no dead letter {', '.join(missing)}")


@dead.command(cls=TaloCommand)
@_IDS
@click.option("--all", "every", is_flag=True, help="All letters (of --task and --queue).")
@_TASK
@_QUEUE
@_JSON
@click.pass_obj
def replay(
    session: Session, ids: tuple[str, ...], every: bool, task: str | None, queue: str | None, as_json: bool
) -> None:
    """Send dead letters again as new runs.

    A new run has a new id; its header replay_of names the old one. Exit code 1 if one could not be replayed.
    """
    with _letters(session) as letters:
        chosen = _chosen(letters, ids, every, task, queue)
        told = []
        for run in letters.replay(chosen):
            told.append(run)
            if not as_json and run.task_id is not None:
                click.echo(f"{run.letter}\t{run.replay_of}\t{run.task_id}")
    if as_json:
        print_json([{name: getattr(run, name) for name in run.__struct_fields__} for run in told])
    faults = [run for run in told if run.fault is not None]
    if not as_json and not session.quiet:
        click.echo(f"Replayed {count(len(told) - len(faults), 'dead letter')}.", err=True)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise Failed(f"{faults[0].letter} was not replayed: {faults[0].fault}{more}")


@dead.command(cls=TaloCommand)
@click.argument("id_", metavar="ID")
@click.option("--args", "-a", type=JSON_ARRAY, help="Other positional arguments, a JSON list.")
@click.option("--kwargs", "-k", type=JSON_OBJECT, help="Other keyword arguments, a JSON object.")
@click.option("--to-queue", "queue", metavar="NAME", help="Another queue.")
@click.pass_obj
def edit(session: Session, /, id_: str, **changes: Any) -> None:
    """Send one dead letter again with other arguments, or to another queue."""
    with _letters(session) as letters:
        run = letters.replay_edited(id_, **changes)
    if run.fault is not None:
        raise Failed(f"{run.letter} was not replayed: {run.fault}")
    click.echo(f"{run.letter}\t{run.replay_of}\t{run.task_id}")


@dead.command(cls=TaloCommand)
@_IDS
@click.option("--all", "every", is_flag=True, help="All letters (of --task and --queue).")
@_TASK
@_QUEUE
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def drop(session: Session, ids: tuple[str, ...], every: bool, task: str | None, queue: str | None, force: bool) -> None:
    """Delete dead letters for good."""
    with _letters(session) as letters:
        chosen = _chosen(letters, ids, every, task, queue)
        if chosen and not force:
            click.confirm(f"Delete {count(len(chosen), 'dead letter')} for good?", abort=True)
        dropped = letters.drop(chosen)
    if not session.quiet:
        click.echo(f"Dropped {count(dropped, 'dead letter')}.")
    if ids and dropped < len(set(ids)):
        raise Failed(f"{count(len(set(ids)) - dropped, 'dead letter')} of those that were named did not exist")


@contextlib.contextmanager
def _letters(session: Session) -> Iterator[DeadLetters]:
    with session.opened() as app:
        yield DeadLetters.of(app)


def _chosen(
    letters: DeadLetters, ids: Sequence[str], every: bool, task: str | None, queue: str | None
) -> Sequence[str]:
    if bool(ids) == every:
        raise Refused("say which: ids of dead letters, or --all" + (", not both" if ids else ""))
    if ids and (task or queue):
        raise Refused("--task and --queue choose among --all; leave them out where ids are named")
    return tuple(dict.fromkeys(ids)) or letters.ids(task=task, queue=queue)


def _show(letter: DeadLetter) -> None:
    for name, value in _facts(letter).items():
        if name not in ("detail", "text"):
            click.echo(f"{name + ':':<12} {'-' if value is None else value}")
    for name, value in (("text", letter.death.text), *letter.death.detail.items()):
        text = str(value).rstrip()
        click.echo(f"{name + ':':<12} {text}" if "\n" not in text else f"{name}:\n{text}")
    if letter.raw is not None:
        click.echo(f"{'raw:':<12} {_escaped(letter.raw)}")


def _escaped(raw: bytes) -> str:
    """Bytes as Python writes them, without its quotes: nothing that a terminal would obey."""
    more = f"... ({len(raw)} bytes)" if len(raw) > _RAW_SHOWN else ""
    return repr(raw[:_RAW_SHOWN])[2:-1] + more


def _facts(letter: DeadLetter, whole: bool = False) -> dict[str, Any]:
    facts = {
        "id": letter.id,
        "died": _when(letter.died),
        "queue": letter.queue,
        "task": letter.death.task or _header(letter, "task"),
        "task_id": letter.death.task_id or _header(letter, "id"),
        "reason": letter.death.reason,
        "text": letter.death.text,
        "deliveries": letter.deliveries,
        "args": _header(letter, "argsrepr"),
        "kwargs": _header(letter, "kwargsrepr"),
        "replay_of": _header(letter, "replay_of"),
    }
    if whole:
        facts["detail"] = letter.death.detail
        facts["headers"] = letter.message.headers if letter.message is not None else None
        facts["raw"] = base64.b64encode(letter.raw).decode() if letter.raw is not None else None
    return facts


def _header(letter: DeadLetter, name: str) -> Any:
    return letter.message.headers.get(name) if letter.message is not None else None


def _when(epoch: float) -> str:
    return dt.datetime.fromtimestamp(epoch).astimezone().isoformat(sep=" ", timespec="seconds")
