"""What the command says of a Redis that refuses, and what it does with one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.redis import RedisServer
from tests.unit.cli.conftest import Project


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A server that wants a password."""
    with RedisServer(requirepass="hunter2") as server:
        yield server


@pytest.mark.parametrize(
    "words", [["queues"], ["status"], ["call", "some.task"], ["worker", "-l", "info"], ["dead", "list"]]
)
def test_a_redis_that_wants_a_password_says_so_in_one_line(
    project: Project, locked: RedisServer, words: list[str]
) -> None:
    app = ["-A", project.name] if words[0] == "worker" else []
    told = project.process("-q", *app, "-b", f"redis://127.0.0.1:{locked.port}/0", *words)
    assert told.code == 1
    errors = [line for line in told.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "wants a password: put it into the URL" in errors[0], told.err
    assert "Traceback" not in told.err


def test_a_wrong_password_is_told_without_printing_it(project: Project, locked: RedisServer) -> None:
    told = project.talo("-b", f"redis://:wrong-secret@127.0.0.1:{locked.port}/0", "queues")
    assert told.code == 1
    told.says_in_one_line("does not accept this user name and password")
    assert "wrong-secret" not in told.err


def test_the_right_password_is_printed_nowhere(project: Project, locked: RedisServer) -> None:
    for words in (["queues"], ["check", "--settings"], ["report"], ["call", f"{project.name}.add", "-a", "[1, 2]"]):
        told = project.talo("-A", project.name, "-b", locked.url, *words)
        assert told.code == 0, told.err
        assert "hunter2" not in told.out + told.err


def test_a_worker_whose_broker_is_away_says_so_in_one_line(project: Project) -> None:
    told = project.process("-q", "-A", project.name, "-b", "redis://:hunter2@127.0.0.1:1/0", "worker", "-l", "error")
    assert told.code == 1
    told.says_in_one_line("redis://:**@127.0.0.1:1/0 cannot be reached")


def test_dead_letters_are_replayed_on_redis_too(
    project: Project,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given
    monkeypatch.setenv("TALO_BROKER_URL", redis_url)
    (old,) = project.bury("some.task", 1)
    # When
    told = project.talo("dead", "replay", "--all")
    # Then
    assert told.code == 0, told.err
    assert told.out.split("\t")[1] == old
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "1", "0", "0"]]
    assert project.talo("purge", "-f").out == "Purged 1 message from 1 known task queue.\n"
