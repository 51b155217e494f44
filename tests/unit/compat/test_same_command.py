"""The command under the old name beside the real one: each option of each command is known, or answered."""

from __future__ import annotations

import json

import click
import pytest

from talo.cli._commands import ABSENT, COMMANDS
from talo.cli.main import run as talo_main
from talo.cli.main import talo
from tests.unit.compat.conftest import Run

#: What the real command says of itself, by command: its options. Those of ``multi`` it takes apart itself.
DESCRIBE = """
import json
from celery.bin.celery import celery
def options(command):
    return sorted(o for p in command.params for o in [*p.opts, *p.secondary_opts] if o.startswith("-"))
print(json.dumps({"": options(celery), **{n: options(c) for n, c in celery.commands.items()}}))
"""
Options = dict[str, list[str]]


@pytest.fixture
def theirs(run: Run) -> Options:
    """The options of the real one."""
    told = run("-c", DESCRIBE)
    assert told.returncode == 0, told.stderr
    found: Options = json.loads(told.stdout)
    return found


def ours(name: str) -> set[str]:
    command = talo.get_command(click.Context(talo), name) if name else talo
    assert command is not None
    return {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = talo_main(words, name="celery")
    return code, capsys.readouterr().err


@pytest.mark.promise("K08")
def test_each_command_and_option_of_celerys_is_known_or_answered(
    theirs: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"worker", "beat", "inspect", "control", "purge", "multi", "logtool"} <= theirs.keys()
    assert theirs.keys() - {"", "flower"} - COMMANDS.keys() - ABSENT.keys() == set()
    for name, options in theirs.items():
        if name in ABSENT or name == "migrate":
            # Of messages, Talo's own ``migrate`` is about projects.
            code, text = answer(capsys, name, *(("-n", "3", "redis://a", "redis://b") if name == "migrate" else ()))
            assert code == 2 and text.count("\n") == 1 and name in text
        else:
            # Global options stand before the command.
            assert set(options) - ours(name) - {"-A", "--app"} == set(), name


@pytest.mark.promise("K08")
@pytest.mark.parametrize("option", ["--detach", "--uid=nobody", "--gid=nogroup"])
@pytest.mark.parametrize("command", ["worker", "beat", "events"])
def test_what_daemonizes_is_answered(capsys: pytest.CaptureFixture[str], command: str, option: str) -> None:
    code, text = answer(capsys, "-A", "x", command, option)
    assert code == 2 and "does not daemonize" in text


@pytest.mark.promise("K08")
def test_exit_codes_are_celerys(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    app = ("-b", f"sqlite:///{tmp_path}/q.sqlite3", "-A", "tests.unit.compat.nothing_app")
    cases = [
        (("nonsense",), 2),
        (("worker", "--nonsense"), 2),
        (("-A", "nowhere", "worker"), 2),
        ((*app, "status", "-t", "0.1"), 69),
        ((*app, "inspect", "-t", "0.1", "ping"), 69),
        ((*app, "purge", "-f"), 0),
        (("report",), 0),
    ]
    got = [answer(capsys, *command)[0] for command, _ in cases]
    assert got == [code for _, code in cases]
