"""An app of workflows; its tasks write what happens into the trace that ``tests.apps.traced`` describes."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from talo import Talo, chain, chord, errors, group
from talo.app.abortable import AbortableTask
from talo.wire.message import COPY
from tests.apps.traced import trace

app = Talo("flows", result_expires=float(os.environ.get("RESULT_EXPIRES", "3600")))
app.conf.beat_schedule = json.loads(os.environ.get("ENTRIES", "{}"))


@app.task(bind=True)
def note(self: Any, value: Any = None, *more: Any) -> Any:
    """Hands its first argument on."""
    trace("note", self.request.id, value=str(value).replace(" ", ""))
    return value


@app.task(bind=True)
def add(self: Any, x: int, y: int) -> int:
    trace("add", self.request.id)
    return x + y


@app.task(bind=True)
def total(self: Any, numbers: list[int]) -> int:
    trace("total", self.request.id)
    return sum(numbers)


@app.task(bind=True)
def gather(self: Any, values: Any) -> Any:
    trace("gather", self.request.id, copy=(self.request.headers or {}).get(COPY))
    return values


@app.task(bind=True)
def fail(self: Any, *args: Any) -> None:
    trace("fail", self.request.id)
    raise ValueError("no")


@app.task(bind=True)
def fail_at(self: Any, number: int, every: int) -> int:
    if number % every == every - 1:
        raise ValueError(number)
    return number


@app.task(bind=True)
def ignore(self: Any, *args: Any) -> None:
    raise errors.Ignore


@app.task(bind=True)
def reject(self: Any, *args: Any) -> None:
    raise errors.Reject("not mine")


@app.task(bind=True)
def unwritable(self: Any, *args: Any) -> object:
    return object()


@app.task(bind=True, max_retries=3, default_retry_delay=0.01)
def third_time(self: Any, value: Any = None) -> Any:
    trace("try", self.request.id)
    if self.request.retries < 2:
        raise self.retry()
    return value


@app.task(bind=True, max_retries=3)
def again_elsewhere(self: Any, value: Any = None) -> Any:
    """Retries with an option of its own, so that its message is made anew."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.01, priority=7)
    return value


@app.task(bind=True)
def on_error(self: Any, failed_id: str) -> str:
    trace("errback", failed_id)
    return failed_id


@app.task(bind=True)
def on_error_new(self: Any, request: Any, exc: BaseException, traceback: Any) -> None:
    trace("errback_new", request.id, exc=type(exc).__name__)


@app.task(bind=True)
def nap(self: Any, seconds: float) -> float:
    trace("start", self.request.id)
    time.sleep(seconds)
    trace("end", self.request.id)
    return seconds


@app.task(bind=True)
def cancels_its_root(self: Any) -> None:
    app.AsyncResult(self.request.root_id).revoke()


@app.task(bind=True)
def work(self: Any, value: Any = None, *more: Any) -> Any:
    """Takes a moment."""
    trace("work", self.request.id)
    time.sleep(0.01)
    return value


@app.task(bind=True)
def replaced_by_task(self: Any, x: int) -> Any:
    return self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_chain(self: Any, x: int) -> Any:
    return self.replace(chain(add.s(x, 100), add.s(1000)))


@app.task(bind=True)
def replaced_by_group(self: Any, x: int) -> Any:
    return self.replace(group(add.s(x, 1), add.s(x, 2)))


@app.task(bind=True)
def replaced_by_chord(self: Any, x: int) -> Any:
    return self.replace(chord([add.s(x, 1), add.s(x, 2)], total.s()))


@app.task(bind=True)
def adds_members(self: Any, x: int) -> int:
    for more in (10, 20):
        self.add_to_chord(add.s(x, more))
    return x


@app.task(bind=True)
def fans_out(self: Any, count: int) -> list[Any]:
    """Sends a chord from inside and names its result."""
    return [chord([add.s(n, 0) for n in range(count)], total.s()).apply_async().id]


@app.task(bind=True)
def identity(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    request = self.request
    names = ("id", "root_id", "parent_id", "group", "group_index", "stamped_headers", "stamps", "headers")
    return {name: getattr(request, name) for name in names}


@app.task
def quick(x: int, y: int) -> int:
    return x + y


@app.task(bind=True, base=AbortableTask)
def patient(self: Any, seconds: float) -> str:
    """Works until it is asked to stop."""
    trace("start", self.request.id)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if self.is_aborted():
            return "stopped"
        time.sleep(0.01)
    return "had time"
