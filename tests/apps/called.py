"""What a worker calls around its runs, written down by whoever it is: ``ENGINE`` says whether Celery is Celery or Talo.

Each call is a line of the file ``CALLS``: the task's id and what was called. Signals stand by their names, methods of
the task by theirs, those of its ``Request`` as ``Request.name``."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

if os.environ["ENGINE"] == "talo":
    from talo.compat import install_as_celery

    install_as_celery()

from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject
from celery.worker.request import Request

app = Celery("called", broker=os.environ["URL"], backend=os.environ["URL"])
_file = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(task_id: str | None, what: str) -> None:
    """Write it down in one piece."""
    os.write(_file, f"{task_id} {what}\n".encode())


class NotedRequest(Request):
    """Tells of what is called when the process of a task did not come to an end of its own."""

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        note(self.id, f"Request.on_timeout(soft={soft})")
        return super().on_timeout(soft, timeout)


class Noted(Task):
    """Tells of its handlers."""

    Request = "tests.apps.called:NotedRequest"

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, "before_start")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, "on_success")

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"on_retry({type(exc).__name__})")

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"on_failure({type(exc).__name__})")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"after_return({status})")


@signals.task_prerun.connect(weak=False)
def prerun(task_id: str, **_: Any) -> None:
    note(task_id, "task_prerun")


@signals.task_postrun.connect(weak=False)
def postrun(task_id: str, state: str, **_: Any) -> None:
    note(task_id, f"task_postrun({state})")


@signals.task_success.connect(weak=False)
def success(sender: Any, **_: Any) -> None:
    note(sender.request.id, "task_success")


@signals.task_retry.connect(weak=False)
def retried(request: Any, **_: Any) -> None:
    note(request.id, "task_retry")


@signals.task_failure.connect(weak=False)
def failure(task_id: str, exception: BaseException, **_: Any) -> None:
    note(task_id, f"task_failure({type(exception).__name__})")


@signals.task_revoked.connect(weak=False)
def revoked(request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    note(request.id, f"task_revoked({terminated=},{expired=})")


@app.task(base=Noted)
def fine() -> int:
    return 1


@app.task(base=Noted)
def breaks() -> None:
    raise KeyError("k")


@app.task(base=Noted, bind=True)
def again(self: Any) -> None:
    if not self.request.retries:
        raise self.retry(exc=ValueError("v"), countdown=0)


@app.task(base=Noted, bind=True, max_retries=0)
def too_often(self: Any) -> None:
    raise self.retry(exc=ValueError("v"), countdown=0)


@app.task(base=Noted)
def ignores() -> None:
    raise Ignore


@app.task(base=Noted, acks_late=True)
def rejects() -> None:
    raise Reject("no", requeue=False)


@app.task(base=Noted, soft_time_limit=1, time_limit=60)
def soft() -> None:
    time.sleep(30)


@app.task(base=Noted, time_limit=1)
def hard() -> None:
    time.sleep(30)


@app.task(base=Noted)
def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=Noted)
def late() -> None:
    """It has expired before it starts."""
