"""Servers that processes of a run share: one of each class, however many ask, for as long as the run lasts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers import shared
from tests.servers.sqs import SqsServer


class Broken(SqsServer):
    """One that is not installed."""

    def words(self, port: int) -> list[str]:
        pytest.skip("there is none")


@pytest.fixture
def keeper() -> Iterator[shared.Keeper]:
    """One that is not this run's."""
    keeper = shared.Keeper()
    yield keeper
    keeper.pytest_unconfigure()


def process_of(keeper: shared.Keeper) -> Any:
    """A process that runs tests, as pytest knows itself there."""
    node = SimpleNamespace(workerinput={})
    keeper.pytest_configure_node(node)
    return node


def answers(server: SqsServer) -> None:
    assert server.requests() is not None


def test_all_who_ask_get_the_same_server(keeper: shared.Keeper) -> None:
    processes = [process_of(keeper) for _ in range(4)]
    with ThreadPoolExecutor(4) as askers:
        lent = list(askers.map(lambda process: shared.lent(process, SqsServer), processes))
    assert len({server.port for server in lent}) == 1
    answers(lent[0])


def test_who_borrows_it_does_not_end_it(keeper: shared.Keeper) -> None:
    server = shared.lent(process_of(keeper), SqsServer)
    assert server.running
    for end in (server.stop, server.kill, server.remove):
        with pytest.raises(AssertionError, match="others use it"):
            end()
    answers(server)


def test_it_ends_with_the_run() -> None:
    keeper = shared.Keeper()
    server = shared.lent(process_of(keeper), SqsServer)
    keeper.pytest_unconfigure()
    assert not server.directory.exists()
    with pytest.raises(OSError):
        server.requests()


def test_nothing_is_started_that_nobody_asks_for(keeper: shared.Keeper) -> None:
    process_of(keeper)
    assert keeper._servers == {}


def test_who_cannot_have_it_is_told_why(keeper: shared.Keeper) -> None:
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="there is none"):
            shared.lent(process_of(keeper), Broken)
    # And others can have theirs
    answers(shared.lent(process_of(keeper), SqsServer))
