"""Every option of ``talo worker`` does what it says, or says in one line why not."""

from __future__ import annotations

import logging
from typing import Any

import click
import pytest

from talo.app.app import Talo
from talo.cli import worker as command
from talo.cli._session import Session
from talo.cli._worker_options import NEEDLESS, REFUSED
from talo.worker.plan import plan_worker
from tests.unit.cli.conftest import Project

#: Celery's own, by the names under which its users know them.
CELERY_S = """
-n --hostname -D --detach -S --statedb -l --loglevel -O --optimization --prefetch-multiplier --disable-prefetch -c
--concurrency -P --pool -E --task-events --events --time-limit --soft-time-limit --max-tasks-per-child
--pool-start-method --max-memory-per-child --purge --discard -Q --queues -X --exclude-queues -I --include
--without-gossip --without-mingle --without-heartbeat --heartbeat-interval --autoscale -B --beat -s
--schedule-filename --schedule --scheduler -f --logfile --pidfile --uid --gid --umask --executable
""".split()


def arguments_of(app: Talo, *words: str) -> dict[str, Any]:
    """What ``run_worker`` would be told."""
    with command.worker.make_context("worker", list(words)) as context:
        options = {name: value for name, value in context.params.items() if name != "settings"}
        return command._arguments(Session(), options, "w@test")


def test_every_option_of_celery_s_worker_is_known() -> None:
    known = {name for parameter in command.worker.params for name in parameter.opts}
    assert set(CELERY_S) <= known


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-P", "threads"], "pool", "threads"),
        (["-P", "prefork"], "pool", "processes"),
        (["-P", "solo"], "pool", "solo"),
        (["-c", "7"], "concurrency", 7),
        (["--prefetch-multiplier", "3"], "prefetch", 3),
        (["--prefetch-multiplier", "0"], "prefetch", None),
        (["--disable-prefetch"], "prefetch", 1),
        (["--time-limit", "9.5"], "time_limit", 9.5),
        (["--soft-time-limit", "8"], "soft_time_limit", 8),
        (["--max-tasks-per-child", "100"], "max_tasks_per_child", 100),
        (["--max-memory-per-child", "99000000"], "max_memory_per_child", 99_000_000),
        (["--pool-start-method", "spawn"], "start_method", "spawn"),
        (["--start-method", "spawn"], "start_method", "spawn"),
        (["--grace", "2"], "grace", 2.0),
        (["-Q", "a, b,c"], "queues", ("a", "b", "c")),
        (["-Q", "a,b,c", "-X", "b"], "queues", ("a", "c")),
        (["-n", "x@y"], "hostname", "w@test"),
    ],
)
def test_an_option_reaches_the_plan(project: Project, words: list[str], name: str, value: Any) -> None:
    with project.app() as app:
        plan = plan_worker(app, **arguments_of(app, *words))
        assert getattr(plan, name) == value


def test_a_worker_that_scales_begins_with_the_fewest(project: Project) -> None:
    with project.app() as app:
        plan = plan_worker(app, **arguments_of(app, "--autoscale", "30,3"))
        assert (plan.autoscale, plan.processes, plan.most_processes) == ((30, 3), 3, 30)
        assert plan_worker(app, **arguments_of(app, "--without-heartbeat")).heartbeat == 0
        assert plan_worker(app, **arguments_of(app, "--heartbeat-interval", "9")).heartbeat == 9


def test_auto_takes_what_the_machine_has(project: Project) -> None:
    with project.app() as app:
        app.conf.worker_concurrency = 77
        assert plan_worker(app, **arguments_of(app, "-c", "3")).concurrency == 3
        assert arguments_of(app, "-c", "auto")["concurrency"] == 0


@pytest.mark.parametrize("name", ["info", "INFO", "Info", "20"])
def test_levels_are_known_in_any_case(project: Project, name: str) -> None:
    with project.app() as app:
        assert arguments_of(app, "-l", name)["loglevel"] == logging.INFO


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-P", "gevent"], "-P threads is for blocking calls, -P asyncio for async def"),
        (["-P", "eventlet"], "-P threads is for blocking calls, -P asyncio for async def"),
        (["-P", "custom"], "Talo's pools are"),
        (["-P", "fibers"], "'fibers' is not one of"),
        (["-D"], "under systemd"),
        (["--uid", "nobody"], "User= of systemd"),
        (["--gid", "nobody"], "Group= of systemd"),
        (["--autoscale", "10,x"], "is not MAX,MIN"),
        (["--autoscale", "3,10"], "MAX,MIN with MIN at least 1"),
        (["--umask", "9"], "octal"),
        (["-l", "loud"], "DEBUG, INFO"),
        (["-c", "-1"], "whole number"),
        (["--max-tasks-per-child", "0"], "--max-tasks-per-child"),
        (["--prefetch-multiplier", "2", "--disable-prefetch"], "exclude each other"),
        (["not-a-setting"], "write name=value"),
        (["worker_leese=3"], "did you mean worker_lease?"),
        (["-X", "celery"], "no queue is left to consume from"),
        (["--time-limit", "1", "--soft-time-limit", "2"], "longer than the hard one"),
        (["--max-memory-per-child", "10"], "every child would be replaced for ever"),
        (["-f", "/no/such/directory/log"], "--logfile /no/such/directory/log cannot be written"),
        (["-I", "no_such_module"], "no_such_module"),
        (["--start-method", "forkserver"], "'fork', 'spawn'"),
    ],
)
def test_what_cannot_be_is_one_line(project: Project, words: list[str], expected: str) -> None:
    told = project.with_app("worker", *words)
    told.says_in_one_line(expected)
    assert "ready" not in told.out


def test_a_module_to_include_that_fails_is_told_with_file_and_line(project: Project) -> None:
    # Given
    project.write(f"{project.name}_more", "import os\n\nos.no_such_function()\n")
    # When
    told = project.with_app("worker", "-I", f"{project.name}_more")
    # Then
    assert told.code == 1
    told.says_in_one_line(f"{project.name}_more.py line 3: AttributeError")


def test_refused_and_needless_options_are_options() -> None:
    names = {parameter.name for parameter in command.worker.params}
    assert REFUSED.keys() | NEEDLESS.keys() <= names


@pytest.mark.parametrize(
    ("template", "expected"),
    [("w.log", "w.log"), ("%n.log", "w1.log"), ("%h-%d-%p", "a.example-example-w1@a.example"), ("%n%I.%i%%", "w1.0%")],
)
def test_file_names_have_the_escapes_of_node_names(template: str, expected: str) -> None:
    assert command._expand(template, "w1@a.example") == expected


def test_the_options_are_a_command_s_own() -> None:
    assert isinstance(command.worker, click.Command)
