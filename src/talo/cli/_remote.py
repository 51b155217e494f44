"""What ``inspect`` and ``control`` have in common: their options, reading a command's arguments, showing the answers.

Owns both sides of one question on the command line. The commands are those of ``control.panel``; one that it does not
know is sent as it is, with ``name=value`` arguments, since a worker may have it. Called by ``cli.inspect`` and
``cli.control``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import click

from talo.cli._errors import NobodyThere
from talo.cli._output import print_json
from talo.cli._params import NAMES
from talo.cli._session import Session
from talo.control import inspecting, steering
from talo.control.panel import Command, Panel
from talo.util.names import nearest
from talo.util.text import count

__all__ = ["BUILT_IN", "ask", "listed", "remote_options"]

#: The modules whose import registers the commands.
BUILT_IN = (inspecting, steering)


def remote_options(command: Any) -> Any:
    """Give a command the options that all remote commands have."""
    for option in reversed(
        (
            click.argument("words", nargs=-1, metavar="[COMMAND [ARGUMENTS]...]"),
            click.option("-t", "--timeout", type=float, metavar="SECONDS", help="Wait so long for answers [1]."),
            click.option("-d", "--destination", type=NAMES, metavar="NODES", help="These workers, between commas."),
            click.option("-p", "--pattern", metavar="GLOB", help="Workers whose names fit."),
            click.option("-j", "--json", "as_json", is_flag=True, help="As JSON."),
            click.option("--list", "only_list", is_flag=True, help="List the commands."),
        )
    ):
        command = option(command)
    return command


def listed(kind: str) -> str:
    """Return the lines of help about every command of a kind."""
    found = sorted((each for each in Panel.meta.values() if each.type == kind and each.visible), key=lambda c: c.name)
    width = max(len(f"{each.name} {each.signature}".strip()) for each in found)
    return "\n".join(f"  {f'{each.name} {each.signature}'.strip():<{width}}  {each.help}" for each in found)


def ask(session: Session, kind: str, words: Sequence[str], options: dict[str, Any]) -> None:
    """Send one command and show the answers. ``NobodyThere`` if there is none, ``UsageError`` for no command."""
    if options["only_list"] or not words:
        if not options["only_list"]:
            raise click.UsageError(f"say what: talo {kind} COMMAND (talo {kind} --list shows them)")
        click.echo(listed(kind))
        return
    name, *rest = words
    with session.opened() as app:  # which brings the commands of the project
        command = _command(kind, name)
        arguments = _arguments(command, rest)
        if not options["as_json"] and not session.quiet and kind == "control":
            whom = "all" if not options["destination"] else "some"
            click.echo(f"Sending {command.name} to {whom} workers ...", err=True)
        replies = app.control.broadcast(
            command.name,
            arguments,
            destination=options["destination"],
            pattern=options["pattern"],
            matcher="glob" if options["pattern"] else None,
            reply=command.name != "shutdown",
            timeout=options["timeout"] or max(1.0, command.default_timeout),
        )
    if command.name == "shutdown":
        return
    answers = {node: value for reply in replies or () for node, value in reply.items()}
    if not answers:
        raise NobodyThere("No nodes replied within time constraint")
    if options["as_json"]:
        print_json(answers)
        return
    _show(session, answers)


def _command(kind: str, name: str) -> Command:
    found = Panel.find(name)
    if found is not None and found.type == kind:
        return found
    known = [each.name for each in Panel.meta.values() if each.type == kind and each.visible]
    if found is not None:
        other = "control" if kind == "inspect" else "inspect"
        raise click.UsageError(f"{name} is a command of talo {other}")
    guess = nearest(name, known)
    hint = f"did you mean {guess}?" if guess else f"talo {kind} --list shows them"
    raise click.UsageError(f"there is no {kind} command {name!r}; {hint}")


def _arguments(command: Command, words: Sequence[str]) -> dict[str, Any]:
    """Read the arguments of a command; the last one may take several words."""
    arguments: dict[str, Any] = {}
    left = list(words)
    for name, kind in command.args:
        if not left:
            break
        if name == command.variadic:
            arguments[name] = [_converted(command, name, kind, word) for word in left]
            left = []
        else:
            arguments[name] = _converted(command, name, kind, left.pop(0))
    if left:
        raise click.UsageError(f"{command.name} takes no argument {left[0]!r}: {command.name} {command.signature}")
    required = command.signature.count("<")
    if len(words) < required:
        raise click.UsageError(f"{command.name} wants more arguments: {command.name} {command.signature}")
    return arguments


def _converted(command: Command, name: str, kind: Callable[[str], Any], word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise click.UsageError(f"{command.name}: {name} is a number, not {word!r}") from None


def _show(session: Session, answers: dict[str, Any]) -> None:
    for node in sorted(answers):
        value = answers[node]
        failed = isinstance(value, dict) and "error" in value
        click.secho(f"->  {node}: {'ERROR' if failed else 'OK'}", fg="red" if failed else "green", color=session.color)
        for line in _lines(value):
            click.echo(f"    {line}")
    if not session.quiet:
        click.echo(f"\n{count(len(answers), 'node')} online.")


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and len(value) == 1 and ("ok" in value or "error" in value):
        return str(next(iter(value.values()))).splitlines()
    if isinstance(value, list):
        return [f"* {item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}" for item in value] or [
            "- empty -"
        ]
    if value is None:
        return []
    return (
        value.splitlines() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    )
