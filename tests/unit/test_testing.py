"""The pytest plugin, used as its users do: a suite of its own in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SUITE = """
import asyncio, gc, os, threading, time
import pytest
from talo import Talo, chain, chord, group
from talo.errors import UnsentTask

app = Talo("shop", broker="redis://127.0.0.1:1/0", task_always_eager=True)
state = {}

@app.task
def add(x, y): return x + y

@app.task
def divide(by): return 1 / by

@app.task
def total(numbers): return sum(numbers)

@app.task
def checkout(order): return add.delay(order, 1).id

@app.task(bind=True, max_retries=2, default_retry_delay=3600)
def charge(self):
    if self.request.retries < 2: raise self.retry()
    return self.request.retries

@app.task
async def acheck(x):
    await asyncio.sleep(0)
    return x

@app.task
def where(): return threading.current_thread().name

def open_files(): return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                          if os.path.exists(f"/proc/self/fd/{fd}")}

def test_first():
    state["threads"], state["files"] = threading.active_count(), len(open_files())

def test_the_worker_runs_tasks(talo_worker):
    assert add.delay(1, 2).get(timeout=10) == 3
    assert where.delay().get(timeout=10).startswith("talo-test-")
    assert acheck.delay(7).get(timeout=10) == 7
    assert chain(add.s(1, 1), add.s(2)).delay().get(timeout=10) == 4
    assert chord([add.s(n, n) for n in range(5)], total.s()).delay().get(timeout=10) == 20
    with pytest.raises(ZeroDivisionError):
        divide.delay(0).get(timeout=10)

def test_nothing_of_the_last_test_is_here(talo_app, talo_worker):
    assert [queue for queue in talo_app.store.broker.stats() if queue.ready or queue.leased] == []

def test_the_last_worker_has_left_nothing():
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() != state["threads"] and time.monotonic() < deadline: time.sleep(0.01)
    assert threading.active_count() == state["threads"]
    assert len(open_files()) <= state["files"], list(open_files().values())
    assert app.conf.broker_url == "redis://127.0.0.1:1/0" and app.conf.task_always_eager

def test_it_is_ready_at_once(talo_app):
    from talo.testing.local import LocalWorker
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with LocalWorker(talo_app):
            assert add.delay(1, 2).get(timeout=10) == 3
            times.append(time.perf_counter() - began)
    assert min(times) < 0.2, times

def test_rescheduling_counts_from_the_clock_of_the_test(talo_app, talo_clock):
    talo_clock.advance(7200)
    waits = add.apply_async((1, 2), countdown=60)
    assert waits.reschedule(countdown=600)
    talo_clock.advance(61)
    assert [(queue.ready, queue.delayed) for queue in talo_app.store.broker.stats()] == [(0, 1)]

def test_time_is_put_forward(talo_worker, talo_clock):
    result = charge.delay()
    later = add.apply_async((1, 2), countdown=7200)
    deadline = time.monotonic() + 10
    while result.state != "RETRY" and time.monotonic() < deadline: time.sleep(0.01)
    talo_clock.advance(3601)
    while not result.ready() and time.monotonic() < deadline:
        talo_clock.advance(3601)
        time.sleep(0.01)
    assert result.get(timeout=10) == 2
    assert later.get(timeout=10) == 3
    with pytest.raises(ValueError): talo_clock.advance(-1)

def test_sends_are_caught(talo_sends):
    result = checkout.apply_async((5,), countdown=60, queue="slow")
    assert [(sent.task, sent.args, sent.queue) for sent in talo_sends] == [(checkout.name, (5,), "slow")]
    assert talo_sends.of(checkout)[0].id == result.id and talo_sends[0].due > time.time() + 50
    with pytest.raises(UnsentTask, match="catches its sends"): result.get()
    talo_sends.clear()
    group(add.s(n, n) for n in range(3)).delay()
    assert [sent.args for sent in talo_sends.of(add)] == [(0, 0), (1, 1), (2, 2)]

def test_a_task_that_does_not_end_is_an_error_of_the_stop(talo_app):
    from talo.testing.local import LocalWorker
    gate = threading.Event()
    @talo_app.task(shared=False)
    def hangs(): gate.wait(30)
    worker = LocalWorker(talo_app).start()
    hangs.delay()
    deadline = time.monotonic() + 10
    while not talo_app.store.broker.owners() and time.monotonic() < deadline: pass
    while not any(q.leased for q in talo_app.store.broker.stats()): time.sleep(0.01)
    with pytest.raises(RuntimeError, match="did not end within 0.1 s"): worker.stop(timeout=0.1)
    gate.set()
    worker.stop()

def test_in_the_callers_thread(talo_app):
    from talo.testing.local import LocalWorker
    result = checkout.delay(4)
    assert LocalWorker(talo_app).run_all() == 2
    assert talo_app.AsyncResult(result.get(timeout=1)).get(timeout=1) == 5

@pytest.mark.xfail(strict=True, raises=AssertionError)
def test_a_failing_test_ends_its_worker_too(talo_worker):
    state["worker"] = talo_worker
    assert False

def test_after_a_failure_nothing_is_left_either():
    assert not [t for t in threading.enumerate() if t.name.startswith("talo-test")]
"""


def run_suite(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "talo.testing.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.promise("C05")
def test_a_suite_with_the_fixtures_passes_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(SUITE)
    done = run_suite(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed, 1 xfailed" in done.stdout, done.stdout


def test_the_example_of_the_page_on_testing_passes(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto/testing.md").read_text()
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", page, flags=re.S):
        (tmp_path / name).write_text(text)
    done = run_suite(tmp_path)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_is_found_by_pytest() -> None:
    # Given the name under which it is registered: that of its module, so that -p and the entry point are one
    text = (ROOT / "pyproject.toml").read_text()
    assert '"talo.testing.pytest_plugin" = "talo.testing.pytest_plugin"' in text
