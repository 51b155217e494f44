"""``talo check`` tells every problem at once, every value's origin, and what holds for each task."""

from __future__ import annotations

import pytest

from talo.settings.options import OPTIONS
from tests.unit.cli.conftest import Project


def problems(err: str) -> list[str]:
    return [line.removeprefix("Problem: ") for line in err.splitlines() if line.startswith("Problem: ")]


@pytest.mark.promise("C03")
def test_every_effective_setting_is_printed_with_its_origin(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given values from every source
    project.write(f"{project.name}_conf", "worker_lease = 40\ntask_default_queue = 'conf'\n")
    project.write(
        project.name,
        f"from talo import Talo\napp = Talo('x', worker_grace=9)\napp.config_from_object('{project.name}_conf')\n"
        "app.add_defaults({'worker_watchdog': 20})\n",
    )
    monkeypatch.setenv("TALO_TASK_DEFAULT_QUEUE", "environment")
    # When
    told = project.talo("-A", project.name, "--result-backend", project.broker, "check", "--settings")
    # Then
    assert told.code == 0, told.err
    rows = {name: (value, origin) for name, value, origin in told.rows}
    assert set(OPTIONS) <= set(rows)
    assert rows["worker_lease"] == ("40.0", f"object {project.name}_conf")
    assert rows["worker_grace"] == ("9.0", "code")
    assert rows["worker_watchdog"] == ("20.0", "app defaults")
    assert rows["task_default_queue"] == ("'environment'", "environment variable TALO_TASK_DEFAULT_QUEUE")
    assert rows["result_backend"][1] == "command line"
    assert rows["worker_batch_time"][1] == "default"


def test_changed_settings_alone_can_be_asked_for(project: Project) -> None:
    told = project.with_app("check", "--settings", "--changed")
    assert [row[0] for row in told.rows] == ["broker_url"]


def test_no_password_is_printed(project: Project) -> None:
    told = project.talo("-A", project.name, "--result-backend", "redis://:hunter2@127.0.0.1:1/0", "check", "--settings")
    assert told.code == 1
    assert "hunter2" not in told.out + told.err
    assert "redis://:**@127.0.0.1:1/0" in told.out


@pytest.mark.promise("C03")
def test_each_task_is_told_with_what_holds_for_it(project: Project) -> None:
    told = project.with_app("check")
    assert told.code == 0
    assert [row for row in told.rows if row[0].startswith(project.name)] == [
        [
            f"{project.name}.add", "at least once, up to 3 starts", "when it asks, up to 3, every 3 minutes", "none",
            "if it fails or is lost",
        ],
        [
            f"{project.name}.fetch", "at least once, up to 3 starts",
            "on ValueError, up to 5, after 2 to 600 s with jitter", "hard 30 s, soft 20 s", "if it fails or is lost",
        ],
        [
            f"{project.name}.once", "at most once", "when it asks, up to 3, every 3 minutes", "none", "if it is lost",
        ],
    ]  # fmt: skip


def test_problems_of_every_source_are_told_at_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two in the environment and two in the configuration object
    monkeypatch.setenv("TALO_WORKER_LEASE", "long")
    monkeypatch.setenv("TALO_WORKER_CONCURENCY", "3")
    project.write(f"{project.name}_conf", "task_serialiser = 'json'\nworker_grace = 'short'\n")
    with (project.directory / f"{project.name}.py").open("a") as file:
        file.write(f"\napp.config_from_object('{project.name}_conf')\n")
    # When
    told = project.with_app("check", "--offline")
    # Then
    assert told.code == 1
    found = problems(told.err)
    assert len(found) == 4, found
    for words in ("TALO_WORKER_LEASE = 'long'", "TALO_WORKER_CONCURENCY", "task_serialiser", "worker_grace = 'short'"):
        assert sum(words in problem for problem in found) == 1
    assert told.err.endswith("Error: 4 problems in the configuration\n")


def test_problems_of_worker_tasks_and_stores_are_told_together(project: Project) -> None:
    # Given a limit that cannot be, a task without a queue, a broker that is away
    with (project.directory / f"{project.name}.py").open("a") as file:
        file.write(
            "\napp.conf.task_time_limit = 1\napp.conf.task_soft_time_limit = 2\n"
            "app.conf.task_create_missing_queues = False\n"
            "\n\n@app.task(queue='nowhere', time_limit=5)\ndef lost(): ...\n"
        )
    # When
    told = project.talo("-A", project.name, "-b", "redis://127.0.0.1:1/0", "check")
    # Then
    found = problems(told.err)
    assert told.code == 1
    assert any(problem.startswith("worker: the soft time limit") for problem in found), found
    assert any(problem.startswith("broker: redis://127.0.0.1:1/0") for problem in found), found
    assert any(
        problem.startswith(f"task {project.name}.lost: queue 'nowhere' is not in task_queues") for problem in found
    )


def test_offline_nothing_is_connected_to(project: Project) -> None:
    told = project.talo("-A", project.name, "-b", "redis://127.0.0.1:1/0", "check", "--offline")
    assert told.code == 0, told.err


def test_a_setting_without_effect_is_a_note_and_no_problem(project: Project) -> None:
    # Given
    with (project.directory / f"{project.name}.py").open("a") as file:
        file.write("\napp.conf.worker_cancel_long_running_tasks_on_connection_loss = True\n")
    # When
    told = project.with_app("check")
    # Then
    assert told.code == 0
    assert "Note: worker_cancel_long_running_tasks_on_connection_loss has no effect yet" in told.err


def test_a_report_says_what_is_installed_and_hides_secrets(project: Project) -> None:
    told = project.talo("-A", project.name, "-b", "redis://:hunter2@127.0.0.1:1/0", "report")
    assert told.code == 0
    for words in ("software -> talo:", "platform -> system:", f"app      -> {project.name}", "broker   -> redis"):
        assert words in told.out
    assert "redis://:**@127.0.0.1:1/0" in told.out
    assert "hunter2" not in told.out


def test_a_single_start_is_one_start(project: Project) -> None:
    # Given
    module = f"{project.name}_brief"
    project.write(module, "from talo import Talo\n\napp = Talo(task_max_deliveries=1)\n\n\n@app.task\ndef f(): ...\n")
    # When
    rows = project.talo("-A", module, "check", "--offline").rows
    # Then
    assert [row[1] for row in rows if row[0] == f"{module}.f"] == ["at least once, up to 1 start"]
