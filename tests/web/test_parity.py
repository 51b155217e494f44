"""Whatever the dashboard can do, a command can do: the table of its actions is walked, each with its command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from talo.cli.main import talo
from talo.control import steering
from talo.control.panel import Panel
from talo.web.operation import Operation
from talo.web.operations import TABLE
from talo.web.operations.bulk import Action
from talo.web.pages import PAGES

ACTIONS = [operation for operation in TABLE if operation.method == "POST"]
#: The commands of each action. Where a page acts on all that a search finds, ``talo runs`` finds the same.
COMMANDS = {
    "revoke": ["control revoke", "control terminate"],
    "reschedule": ["reschedule"],
    "bulk_apply": ["dead replay", "forget", "control revoke", "control terminate"],
    "task_pause": ["control pause"],
    "task_resume": ["control resume"],
    "task_rate_limit": ["control rate_limit"],
    "queue_pause": ["control pause"],
    "queue_resume": ["control resume"],
    "queue_purge": ["purge"],
    "worker_quiet": ["control cancel_consumer"],
    "worker_consume": ["control add_consumer"],
    "worker_pool": ["control pool_grow", "control pool_shrink"],
    "worker_stop": ["control shutdown"],
    "schedule_add": ["schedule add"],
    "schedule_edit": ["schedule edit"],
    "schedule_pause": ["schedule pause"],
    "schedule_resume": ["schedule resume"],
    "schedule_run": ["schedule run-now"],
    "schedule_remove": ["schedule remove"],
    "dead_replay": ["dead replay"],
    "dead_edit": ["dead edit"],
    "dead_drop": ["dead drop"],
}
#: Fields of a request that are called otherwise on a command line.
NAMES = {"id": "id_", "all": "every", "schedule": "when", "name": "names", "queue": "queues"}
#: The question whether one is sure, which a command asks in its own way.
SURE = frozenset({"confirm", "expected"})


def command_of(words: str) -> click.Command | None:
    """The command of these words; of ``control`` that command if there is such a verb."""
    found: click.Command | None = talo
    for word in words.split():
        if found is not None and found.name == "control":
            verb = Panel.find(word)
            kept = word in CliRunner().invoke(talo, ["control", "--list"]).output
            return found if kept and (verb is None or verb.type == "control") else None
        found = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
    return found


def own_commands() -> Iterator[Any]:
    """Each action with those of its commands that are no message to workers."""
    for operation in ACTIONS:
        for words in COMMANDS[operation.name]:
            if not words.startswith("control") and operation.name != "bulk_apply":
                yield pytest.param(operation, words, id=f"{operation.name}: {words}")


@pytest.mark.promise("M05")
@pytest.mark.parametrize("operation", ACTIONS, ids=lambda each: each.name)
def test_every_action_of_the_dashboard_has_its_command(operation: Operation) -> None:
    assert steering
    missing = [words for words in COMMANDS.get(operation.name, ["none is named"]) if command_of(words) is None]
    assert missing == []


@pytest.mark.promise("M05")
@pytest.mark.parametrize(("operation", "words"), own_commands())
def test_a_command_takes_all_that_its_action_takes(operation: Operation, words: str) -> None:
    command = command_of(words)
    assert command is not None
    taken = {parameter.name for parameter in command.params}
    asked = {field.name for field in msgspec.structs.fields(operation.arguments)} - SURE
    assert {name for name in asked if not {name, NAMES.get(name)} & taken} == set()


def test_every_bulk_action_has_its_command() -> None:
    verbs = {words.split()[-1] for words in COMMANDS["bulk_apply"]}
    assert verbs == set(Action.__args__)  # type: ignore[attr-defined]


@pytest.mark.promise("M04")
@pytest.mark.parametrize(
    ("what", "operation", "command"),
    [
        ("listing and filtering", "dead_letters", "dead list"),
        ("one of them", "dead_letter", "dead show"),
        ("replay", "dead_replay", "dead replay"),
        ("discard", "dead_drop", "dead drop"),
    ],
)
def test_dead_letters_have_the_same_verbs_everywhere(what: str, operation: str, command: str) -> None:
    [row] = [each for each in TABLE if each.name == operation]
    found = command_of(command)
    assert found is not None, what
    filters = {"task", "queue"} & {field.name for field in msgspec.structs.fields(row.arguments)}
    assert filters <= {parameter.name for parameter in found.params}
    shown = [page.path for page in PAGES if page.operation == operation]
    assert shown or row.method == "POST"
