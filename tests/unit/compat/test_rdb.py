"""The debugger behind a port."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from talo.compat import rdb
from tests.support import eventually


def _come(caplog: pytest.LogCaptureFixture) -> socket.socket:
    """Come to the port that the log tells of."""
    where: list[str] = []

    def told() -> None:
        where[:] = [r.getMessage() for r in caplog.records if "telnet" in r.getMessage()]
        assert where

    eventually(told)
    host, port = where[-1].split()[-2:]
    return socket.create_connection((host, int(port)), timeout=10)


def _visit(caplog: pytest.LogCaptureFixture, *lines: str) -> str:
    """Come, type the lines, and return what was answered."""
    with _come(caplog) as visitor:
        visitor.sendall("".join(f"{line}\n" for line in lines).encode())
        answer = b""
        while data := visitor.recv(4096):
            answer += data
    return answer.decode()


@pytest.mark.parametrize("last", ["c", "continue", "q"])
def test_a_visitor_sees_and_changes_what_the_task_has_and_the_task_goes_on(
    last: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a function that waits for somebody
    monkeypatch.setenv("CELERY_RDB_PORT", "0")
    caplog.set_level(logging.WARNING, logger="talo.worker")
    seen = []

    def task() -> None:
        prices = [1, 2]
        rdb.set_trace()
        seen.append(sum(prices))

    thread = threading.Thread(target=task, daemon=True)
    thread.start()

    # When somebody comes, looks, changes, and goes
    answer = _visit(caplog, "p sum(prices)", "prices.append(4)", last)

    # Then they were answered, and the function has gone on with what they changed
    assert "(Pdb) 3" in answer
    thread.join(10)
    assert seen == [7]


def test_the_next_free_port_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="talo.worker")
    sessions = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        thread = threading.Thread(target=lambda: sessions.append(rdb.Rdb(port=port)), daemon=True)
        thread.start()
        _come(caplog).close()
        thread.join(10)
    assert sessions[0].address[1] > port
    sessions[0].close()
