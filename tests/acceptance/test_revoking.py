"""Revoking is kept with no worker up, on every store that keeps shared state."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from talo.states import REVOKED
from tests.chaos.kit import HANGS, LONG, call, check, full, send_all
from tests.support import eventually
from tests.workers import Worker, client

ENV = {"TALO_WORKER_LEASE": "3"}


@pytest.mark.promise("L03", "D07")
@pytest.mark.timeout(HANGS)
def test_what_is_revoked_while_no_worker_is_up_never_starts(urls: tuple[str, str | None], tmp_path: Path) -> None:
    broker, results = urls
    count = full(1000, 30) // 3
    with client(broker, results) as app:
        app.store.broker.purge(["celery"])  # SQS is one for the whole session

        def states(ids: list[str]) -> set[str]:
            return {app.AsyncResult(each).state for each in ids}

        # Given tasks that are between two attempts, and a worker that is gone without a word,
        with Worker(broker, tmp_path, "-c", "2", results=results, env=ENV) as old:
            retrying = send_all(app, [call("later", 2.0) for _ in range(count)])
            eventually(lambda: check(states(retrying) == {"RETRY"}), LONG, 0.05)
            old.signal(signal.SIGKILL, group=True)
            old.wait()
        # others that wait for a worker, and others for their time,
        queued = send_all(app, [call("noop") for _ in range(count)])
        delayed = send_all(app, [call("noop", countdown=2.0) for _ in range(count)])
        good = send_all(app, [call("noop") for _ in range(5)])
        # When they are revoked, and workers start, one of which was not there before,
        revoked = [*retrying, *queued, *delayed]
        app.control.revoke(revoked)
        since = time.time()
        with (
            Worker(broker, tmp_path, "-c", "2", results=results, env=ENV) as again,
            Worker(broker, tmp_path, "-c", "2", results=results, env=ENV, name="new"),
        ):
            # Then none of them starts, and all are told to be revoked; what was not revoked runs.
            eventually(lambda: check(states(revoked) == {REVOKED}), LONG, 0.05)
            eventually(lambda: check(set(good) <= again.trace.count("end").keys()), LONG)
        started = again.trace.times("start")
    assert [each for each in revoked if started.get(each, 0.0) > since] == []
    assert started.keys() == {*retrying, *good}
