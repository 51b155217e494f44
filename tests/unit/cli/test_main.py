"""The entrance: global options, exit codes, and how an error is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from talo import __version__
from talo.cli._commands import ABSENT, COMMANDS
from talo.cli.main import talo
from tests.unit.cli.conftest import Project


def test_without_arguments_it_prints_its_help(project: Project) -> None:
    told = project.talo()
    assert told.code == 0
    assert all(f"  {name} " in told.out for name in COMMANDS)


def test_the_overview_says_what_each_command_says_of_itself() -> None:
    for name, entry in COMMANDS.items():
        command = talo.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None and command.help is not None
        assert command.help.splitlines()[0] == entry.help


def test_the_module_is_the_command(project: Project) -> None:
    told = project.process("--version")
    assert (told.code, told.out) == (0, f"talo {__version__}\n")


def test_a_worker_imports_neither_rich_nor_other_commands(project: Project) -> None:
    # Given
    script = (
        "import sys; from talo.cli.main import run; code = run(['worker', '--help']);"
        "others = {'rich', 'talo.cli.call', 'talo.cli.dead', 'talo.cli.check', 'talo.control.dead'};"
        "print(code, sorted(others & set(sys.modules)))"
    )
    # When
    done = subprocess.run([sys.executable, "-c", script], env=project.environment(), capture_output=True, text=True)
    # Then
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize("command", ["queues", "status", "check", "report"])
def test_a_pipe_never_costs_rich(project: Project, command: str) -> None:
    words = ["-A", project.name, command]
    script = f"import sys; from talo.cli.main import run; run({words!r}); print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=project.environment(), cwd=project.directory, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wrker"], "Did you mean worker?"),
        (["queues", "--jsn"], "--json"),
        (["worker", "-c"], "-c"),
        (["worker", "-c", "many"], "neither a whole number nor 'auto'"),
        (["call"], "NAME"),
        (["--nonsense", "queues"], "--nonsense"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(project: Project, words: list[str], expected: str) -> None:
    told = project.talo(*words)
    assert told.code == 2
    told.says_in_one_line(expected, "--help")


def test_a_global_option_after_the_command_is_told_its_place(project: Project) -> None:
    told = project.talo("queues", "-A", project.name)
    assert told.code == 2
    told.says_in_one_line("-A is an option of talo itself: write it before the command")


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_celery_s_commands_that_are_missing_say_what_to_do(project: Project, name: str) -> None:
    told = project.talo(name, "-x", "y")
    assert told.code == 2
    told.says_in_one_line(f"there is no command {name!r}")


def test_the_app_may_be_named_by_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALO_APP", project.name)
    assert f"{project.name}.add" in project.talo("check", "--offline").out


def test_the_broker_option_wins_over_everything(project: Project) -> None:
    # Given
    other = f"sqlite:///{project.directory / 'other.sqlite3'}"
    # When
    project.with_app("call", f"{project.name}.add", "-a", "[1, 2]")
    told = project.talo("-b", other, "queues")
    # Then
    assert [row[:4] for row in told.rows] == [["celery", "0", "0", "0"]]
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "1", "0", "0"]]


def origin_of_broker(project: Project) -> str:
    return next(origin for name, _, origin in project.with_app("check", "--settings").rows if name == "broker_url")


def test_a_variable_of_the_option_yields_to_the_setting_s_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given TALO_BROKER_URL, as for every test here, and beside it
    monkeypatch.setenv("BROKER_URL", f"sqlite:///{project.directory / 'other.sqlite3'}")
    project.with_app("call", f"{project.name}.add", "-a", "[1, 2]")
    # When
    origin = origin_of_broker(project)
    # Then
    assert origin == "environment variable TALO_BROKER_URL"
    monkeypatch.delenv("TALO_BROKER_URL")
    origin = origin_of_broker(project)
    assert origin == "environment variable BROKER_URL"


def test_workdir_is_entered_before_the_app_is_looked_for(project: Project) -> None:
    # Given
    project.write(f"inner.{project.name}_deep", "from talo import Talo\napp = Talo('deep')\n")
    # Then
    assert project.talo("--workdir", "inner", "-A", f"{project.name}_deep", "queues").code == 0


def test_a_workdir_that_is_not_there_is_one_line(project: Project) -> None:
    told = project.talo("--workdir", "nowhere", "queues")
    assert told.code == 2
    told.says_in_one_line("--workdir nowhere: No such file or directory")


def test_config_takes_the_place_of_the_app_s_own_settings(project: Project) -> None:
    # Given
    project.write(f"{project.name}_conf", "task_default_queue = 'elsewhere'\n")
    # Then
    assert project.talo("-A", project.name, "--config", f"{project.name}_conf", "queues").rows[0][0] == "elsewhere"


def test_a_config_that_is_not_there_is_one_line(project: Project) -> None:
    told = project.talo("--config", "no_such_conf", "queues")
    told.says_in_one_line("--config no_such_conf: there is no module 'no_such_conf'")


def test_a_foreign_loader_is_refused(project: Project) -> None:
    project.talo("--loader", "my.loader", "queues").says_in_one_line("Talo has no loaders")
    assert project.talo("--loader", "app", "queues").code == 0


@pytest.mark.parametrize("url", ["redis://:hunter2@127.0.0.1:1/0", "redis://me:hunter2@no-such-host.invalid/0"])
def test_a_redis_that_is_not_there_is_one_line_without_its_password(project: Project, url: str) -> None:
    told = project.talo("-b", url, "queues")
    assert told.code == 1
    told.says_in_one_line("correct broker_url (-b)")
    assert "hunter2" not in told.err


def test_a_url_that_no_store_knows_is_one_line_without_its_password(project: Project) -> None:
    told = project.talo("-b", "reddis://:hunter2@host/0", "queues")
    told.says_in_one_line("reddis", "did you mean redis://?")
    assert "hunter2" not in told.err


def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_is(project: Project) -> None:
    # Given
    path = project.directory / "notes.txt"
    path.write_text("shopping list\n" * 200)
    # When
    told = project.talo("-b", f"sqlite:///{path}", "queues")
    # Then
    assert told.code == 1
    told.says_in_one_line("notes.txt is not an SQLite database")
    assert path.read_text() == "shopping list\n" * 200


def test_a_directory_that_is_not_there_is_one_line(project: Project) -> None:
    told = project.talo("-b", "sqlite:////no/such/directory/x.sqlite3", "queues")
    assert told.code == 1
    told.says_in_one_line("/no/such/directory")


def test_debug_shows_the_traceback(project: Project) -> None:
    told = project.process("-b", "bogus://", "queues", env={"TALO_DEBUG": "1"})
    assert told.code == 1
    assert "Traceback" in told.err


def test_a_reader_that_leaves_early_is_no_error(project: Project) -> None:
    # Given more output than a pipe holds
    process = subprocess.Popen(
        [sys.executable, "-m", "talo", "-A", project.name, "check", "--settings"],
        cwd=project.directory,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    # When
    process.stdout.close()
    # Then
    assert "Traceback" not in process.stderr.read()
    assert process.wait(30) in (0, 1)
    process.stderr.close()
