"""A project as Celery's user guide teaches it, page by page: it imports nothing but ``celery``, and runs under that
name.

``python -m talo.compat tests/apps/guide.py`` reads a JSON list of expressions and prints the list of their values, or
of the names of what they raised.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, bootsteps, chain, chord, group, shared_task, signals, states  # noqa: F401
from celery.contrib.abortable import AbortableAsyncResult, AbortableTask
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded  # noqa: F401
from celery.result import AsyncResult, GroupResult  # noqa: F401
from celery.schedules import crontab, solar  # noqa: F401
from celery.utils.log import get_task_logger
from celery.worker.control import control_command

app = Celery("guide", broker=os.environ["GUIDE_URL"], backend=os.environ["GUIDE_URL"])
app.conf.update(
    CELERY_TASK_RESULT_EXPIRES=3600,  # a name from before 4.0
    task_track_started=True,
    task_routes={"guide.images.*": {"queue": "images"}},
    timezone="Europe/Helsinki",
    beat_schedule={"tick": {"task": "guide.add", "schedule": crontab(minute="*/5"), "args": (1, 1)}},
)
logger = get_task_logger(__name__)
published: list[str] = []
ended: Path = Path(os.environ["GUIDE_FOLDER"]) / "ended"


@signals.before_task_publish.connect
def note(sender: str, **kwargs: Any) -> None:
    published.append(sender)


@signals.task_postrun.connect
def note_end(task: Any, state: str, **kwargs: Any) -> None:
    with open(ended, "a") as file:
        file.write(f"{task.name} {state}\n")


class Counting(Task):
    """A class with state of its own."""

    abstract = True
    seen = 0

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        type(self).seen += 1


@app.task(name="guide.add")
def add(x: int, y: int) -> int:
    """Add."""
    logger.info("adding %s and %s", x, y)
    return x + y


@app.task(name="guide.xsum")
def xsum(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, base=Counting, name="guide.who")
def who(self: Any) -> list[Any]:
    return [self.name, self.request.id is not None, self.seen > 0]


@app.task(bind=True, max_retries=2, default_retry_delay=0.05, name="guide.flaky")
def flaky(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(exc=OSError("not yet"))
    return int(self.request.retries)


@app.task(autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0, max_retries=1, name="guide.down")
def down() -> None:
    raise OSError("down")


@app.task(bind=True, name="guide.by_hand")
def by_hand(self: Any) -> None:
    self.update_state(state="CUSTOM", meta={"half": True})
    raise Ignore


@app.task(soft_time_limit=0.3, time_limit=20, name="guide.slow")
def slow() -> str:
    try:
        while True:
            dt.datetime.now()
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(name="guide.image", queue="images")
def image() -> str:
    return "drawn"


@app.task(bind=True, name="guide.on_error")
def on_error(self: Any, request: Any, exc: BaseException, traceback: str) -> str:
    return f"{type(exc).__name__}"


@app.task(bind=True, base=AbortableTask, name="guide.patient")
def patient(self: Any) -> str:
    while not self.is_aborted():
        pass
    return "aborted"


@app.task(ignore_result=True, name="guide.quiet")
def quiet() -> int:
    return 1


@shared_task(name="guide.shared")
def shared() -> str:
    return "shared"


class Door(bootsteps.StartStopStep):
    """A step of the worker."""

    def start(self, parent: Any) -> None:
        (ended.parent / "door").write_text("open")


app.steps["worker"].add(Door)


@control_command(args=[("n", int)], signature="[N]")
def multiply(state: Any, n: int = 1) -> dict[str, int]:
    """A command of the project's."""
    return {"ok": 2 * n}


def last_state(result: Any, expected: str) -> str:
    """The state of a task that never ends, as soon as it is the expected one; half a minute later what it is."""
    end = time.monotonic() + 30
    while result.state != expected and time.monotonic() < end:
        time.sleep(0.02)
    return str(result.state)


def abort_it() -> Any:
    """Abort a task that runs."""
    sent = patient.delay()
    until = time.monotonic() + 30
    while sent.state != states.STARTED and time.monotonic() < until:
        time.sleep(0.05)
    AbortableAsyncResult(sent.id, app=app).abort()
    return sent.get(timeout=30)


def main() -> None:
    answers = []
    for code in json.load(sys.stdin):
        try:
            answers.append(eval(code, globals()))
        except Exception as exc:
            answers.append(f"{type(exc).__name__}: {exc}".split("\n")[0])
    print(json.dumps(answers, default=str))


if __name__ == "__main__":
    main()
