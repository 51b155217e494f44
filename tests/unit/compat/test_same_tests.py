"""What people's tests do with Celery does the same under the alias: run here by both, and compared."""

from __future__ import annotations

import pytest

from tests.unit.compat.conftest import ALIAS, Run

APP = """
import os, threading, time
from celery import Celery, current_app
app = Celery("shop", broker="memory://", backend="rpc://", set_as_current=False)
@app.task(name="add")
def add(x, y): return x + y
"""
IN_A_THREAD = """
worker = app.Worker(pool="solo", concurrency=1, hostname="w@here", quiet=True)
thread = threading.Thread(target=worker.start, daemon=True)
thread.start()
result = add.delay(1, 2)
while not result.ready(): time.sleep(0.01)
worker.stop()
thread.join(30)
os.write(1, f"{result.result}, {thread.is_alive()}\\n".encode())  # Celery's worker takes what is printed
"""
RESULTS = """
from celery.contrib.testing.worker import start_worker
app.conf.update(broker_url=BROKER, result_backend=RESULTS)
with start_worker(app, perform_ping_check=False):
    print(add.delay(1, 2).get(timeout=30), (add.s(1, 1) | add.s(2)).delay().get(timeout=30))
"""
CURRENT = """
from celery.contrib.testing.app import TestApp, setup_default_app
from celery.contrib.testing.worker import start_worker
app.set_current(), app.set_default()
made = TestApp()
with setup_default_app(made):
    print(current_app.main)
    with start_worker(made, perform_ping_check=False):
        print(current_app.main)
    print(current_app.main)
"""
ATTRIBUTES = """
app.conf.add_defaults({"shop_currency": "EUR"})
print(app.conf.shop_currency, hasattr(app.conf, "shop_cents"))
app = Celery("lazy", set_as_current=False)
app.config_from_object({"CELERY_SHOP_CURRENCY": "EUR"}, namespace="CELERY")
print(app.conf.shop_currency)
"""


def _same(run: Run, code: str) -> str:
    """The lines that both print of it, but for the banner of a worker."""
    real, ours = run("-W", "ignore", "-c", code), run("-W", "ignore", "-c", ALIAS + code)
    assert real.returncode == 0, real.stderr
    assert ours.returncode == 0, ours.stderr
    count = len(ours.stdout.splitlines())
    assert ours.stdout.splitlines() == real.stdout.splitlines()[-count:]
    return ours.stdout


def test_a_worker_can_be_started_in_a_thread(run: Run) -> None:
    assert _same(run, APP + IN_A_THREAD) == "3, False\n"


@pytest.mark.parametrize(
    ("broker", "results"),
    [("memory://", "rpc://"), ("memory:///", "rpc"), ("memory://", "cache+memory://"), ("memory://here/", "rpc://")],
)
def test_what_is_in_memory_has_its_results_there(run: Run, broker: str, results: str) -> None:
    assert _same(run, f"{APP}BROKER, RESULTS = {broker!r}, {results!r}\n{RESULTS}") == "3 4\n"


def test_the_app_of_a_test_is_current_once_its_worker_runs(run: Run) -> None:
    assert _same(run, APP + CURRENT) == "shop\ncelery.tests\ncelery.tests\n"


def test_a_setting_of_ones_own_is_an_attribute_whatever_was_read_before(run: Run) -> None:
    assert _same(run, APP + ATTRIBUTES) == "EUR False\nEUR\n"
