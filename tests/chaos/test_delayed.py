"""Delayed tasks wait in the store: they outlast restarts of all workers and of the store, and start once, in time."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from tests.chaos.kit import HANGS, LONG, Fleet, Judge, call, full, send_all
from tests.workers import client

#: Seconds from the sending in which they fall due: while all is restarted, and after.
FIRST, LAST = full((3600.0, 7200.0), (6.0, 14.0))


@pytest.mark.promise("D07")
@pytest.mark.parametrize(
    "place", full(["sqlite", "redis", "postgres", "mariadb", "rabbit"], ["sqlite", "redis", "rabbit"])
)
@pytest.mark.timeout(4 * HANGS)
def test_delayed_tasks_outlast_restarts_and_start_once_in_time(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = None if place == "sqlite" else request.getfixturevalue(f"own_{place}")
    broker = f"sqlite:///{tmp_path}/talo.sqlite3" if server is None else server.url
    results = f"sqlite:///{tmp_path}/results.sqlite3" if place == "rabbit" else None
    count = full(1_000_000, 400)
    with client(broker, results) as app, Fleet(broker, tmp_path, "-c", "2", results=results) as fleet:
        # Given tasks that are due at different times
        began = time.time()
        delays = [FIRST + (LAST - FIRST) * n / count for n in range(count)]
        ids = send_all(app, [call("noop", countdown=delay) for delay in delays])
        dues = {task_id: began + delay for task_id, delay in zip(ids, delays, strict=True)}
        # When all workers and the store are ended and started, twice
        away = 0.0
        for _ in range(2):
            assert fleet.last.stop() == 0
            if server is not None:
                ended = time.monotonic()
                server.stop()
                server.start()
                away += time.monotonic() - ended
            fleet.start()
        up = time.time()
        Judge(app, fleet.trace, ids).wait(LAST + LONG)
    # Then each has started, once, and when it was due, or as soon as somebody could
    assert fleet.trace.count("start") == dict.fromkeys(ids, 1)
    started = fleet.trace.times("start")
    assert all(started[each] >= dues[each] for each in ids)
    late = sorted(started[each] - max(dues[each], up) for each in ids)
    # RabbitMQ hands a delayed message from queue to queue; what it should have handed on while it was away waits for
    # the rest of its time from then on.
    assert late[math.ceil(0.99 * count) - 1] < 2.0 + (away if place == "rabbit" else 0.0)
