"""The middleware of the manual, as it stands there, in every pool on every store."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from typing import Any

import pytest

from tests.places import STORES, Place, a_place  # noqa: F401  fixture
from tests.support import eventually
from tests.workers import ROOT

LONG = 60.0
PAGE = ROOT / "docs/howto/extending.md"
POOLS = {
    "processes": ["-P", "processes", "-c", "2"],
    "threads": ["-P", "threads", "-c", "8"],
    "asyncio": ["-P", "asyncio", "-c", "8"],
    "solo": ["-P", "solo"],
    "spawned": ["-P", "processes", "-c", "2", "--start-method", "spawn"],
}
TASKS = """
import asyncio, time
import timing
from talo import Talo

app = Talo("timed")

@app.task(bind=True)
def works(self, seconds):
    began, now = self.request.began, time.perf_counter()
    time.sleep(seconds)
    return began, self.request.began, now, time.perf_counter()

@app.task(bind=True)
async def awaits(self, seconds):
    began, now = self.request.began, time.perf_counter()
    await asyncio.sleep(seconds)
    return began, self.request.began, now, time.perf_counter()

@app.task
def breaks():
    raise ValueError("no")

@app.task(bind=True, max_retries=1, default_retry_delay=0.01)
def stumbles(self):
    if not self.request.retries:
        raise self.retry()
"""


@pytest.mark.promise("C10")
@pytest.mark.parametrize("place", STORES, indirect=True)
def test_a_timing_middleware_of_the_manual_works_in_every_pool(place: Place) -> None:
    # Given the middleware of the manual, of less than thirty lines, beside a project's tasks
    [code] = re.findall(r"<!-- file: timing.py -->\n```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert code.count("\n") < 30
    (place.tmp / "timing.py").write_text(code)
    (place.tmp / "timed.py").write_text(TASKS)
    with place.client() as app, contextlib.ExitStack() as stack:
        # And a worker with each pool
        workers = [place.worker("-Q", pool, *words, app="timed", name=pool) for pool, words in POOLS.items()]
        for worker in workers:
            stack.callback(worker.destroy)
            worker.start(ready=False)
        for worker in workers:
            worker.wait_ready()
        # When tasks of every kind run in it, many at a time where it can
        sent = {pool: _send(app, pool) for pool in POOLS}
        wanted = Counter((task_id, state) for calls in sent.values() for task_id, states in calls for state in states)
        eventually(lambda: _is(Counter((each[0], each[2]) for each in _lines(place)), wanted), LONG, 0.05)
        # Then each attempt has been timed, once, and as itself
        seconds = {each[0]: float(each[3]) for each in _lines(place)}
        for calls in sent.values():
            told = {task_id: app.AsyncResult(task_id).get(timeout=LONG) for task_id, _ in calls[:16]}
            assert len({began for began, *_ in told.values()}) == len(told)
            for task_id, (began, still, first, last) in told.items():
                assert began == still <= first
                assert seconds[task_id] >= last - first


def _send(app: Any, pool: str) -> list[tuple[str, tuple[str, ...]]]:
    """Calls of every kind, with the states in which their attempts end; the first sixteen tell about themselves."""
    calls = [(name, (0.02 * number,)) for number in range(8) for name in ("works", "awaits")]
    kinds = [
        *[(*call, ("SUCCESS",)) for call in calls],
        ("breaks", (), ("FAILURE",)),
        ("stumbles", (), ("RETRY", "SUCCESS")),
    ]
    return [(app.send_task(f"timed.{name}", args, queue=pool).id, states) for name, args, states in kinds]


def _lines(place: Place) -> list[list[str]]:
    file = place.tmp / "times.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def _is(found: object, wanted: object) -> None:
    assert found == wanted
