"""An app for the dashboard's tests: tasks that succeed, fail, wait and call each other."""

from __future__ import annotations

import time
from typing import Any

from talo import Talo, chain, chord

app = Talo("shop")
app.conf.beat_schedule = {
    "nightly-report": {"task": "shop.report", "schedule": "30 2 * * 1-5", "args": (2026,)},
    "heartbeat": {"task": "shop.add", "schedule": 30.0, "args": (1, 1)},
}


@app.task(name="shop.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="shop.charge", bind=True, max_retries=2)
def charge(self: Any, order: int, fail: bool = False) -> str:
    if fail:
        try:
            raise ConnectionError("the bank does not answer")
        except ConnectionError as error:
            raise self.retry(exc=error, countdown=0) from error
    return f"order {order} is paid"


@app.task(name="shop.report")
def report(year: int) -> str:
    time.sleep(0.01)
    if year < 2000:
        raise ValueError(f"no figures of {year} are kept")
    return f"report of {year}"


@app.task(name="shop.nap")
def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@app.task(name="shop.total")
def total(values: list[int]) -> int:
    return sum(values)


def flow() -> Any:
    """A chord inside a chain."""
    return chain(add.s(1, 2), chord([add.s(3), add.s(4), add.s(5)], total.s()))
