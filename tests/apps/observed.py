"""One app on either engine (``ENGINE``: ``celery`` or ``talo``) that writes down every hook and every signal, in the
order of the calls, with the names of the keywords.
"""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

from tests.apps.shared_code import WORKER_SIGNALS, note

ENGINE = os.environ.get("ENGINE", "talo")
engine = importlib.import_module(ENGINE)
signals = importlib.import_module(f"{ENGINE}.signals")
errors = importlib.import_module("celery.exceptions" if ENGINE == "celery" else "talo.errors")

app = engine.Celery("observed")
app.conf.task_acks_late = True

TASK_SIGNALS = (
    "task_received",
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_retry",
    "task_failure",
    "task_revoked",
    "task_rejected",
    "task_unknown",
    "task_internal_error",
)


def observe(name: str) -> None:
    """Write down each sending of a signal."""

    def receiver(signal: Any, sender: Any, **keywords: Any) -> None:
        about = "-"
        for key in ("task_id", "id"):
            about = keywords.get(key, about)
        if "request" in keywords:
            about = getattr(keywords["request"], "id", "-")
        elif name == "task_success":
            about = sender.request.id
        extra = f" state={keywords['state']}" if "state" in keywords else ""
        note(about, f"signal:{name}({','.join(sorted(keywords))}){extra}")

    getattr(signals, name).connect(receiver, weak=False)


for name in (*TASK_SIGNALS, *WORKER_SIGNALS):
    observe(name)


class Hooked(app.Task):  # type: ignore[misc,name-defined]
    """A base class as projects write it: every hook, and the call itself."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note(self.request.id, "__call__:in")
        try:
            return super().__call__(*args, **kwargs)
        finally:
            note(self.request.id, "__call__:out")

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, f"before_start:{list(args)}")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, f"on_success:{retval}")

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"on_failure:{exc!r}:{type(einfo).__name__}")

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"on_retry:{exc!r}:{type(einfo).__name__}")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, f"after_return:{status}:{retval!r}:{type(einfo).__name__}")


@app.task(base=Hooked, name="observed.double")
def double(n: int) -> int:
    note(double.request.id, "run")
    return 2 * n


@app.task(base=Hooked, name="observed.broken")
def broken() -> None:
    raise ValueError("broken")


@app.task(base=Hooked, bind=True, max_retries=2, name="observed.again")
def again(self: Any) -> str:
    if self.request.retries < 1:
        raise self.retry(exc=KeyError("later"), countdown=0)
    return "done"


@app.task(base=Hooked, autoretry_for=(OSError,), max_retries=1, default_retry_delay=0, name="observed.stubborn")
def stubborn() -> None:
    raise OSError("no")


@app.task(base=Hooked, bind=True, max_retries=1, default_retry_delay=0, name="observed.unexplained")
def unexplained(self: Any) -> None:
    raise self.retry()


@app.task(base=Hooked, throws=(LookupError,), name="observed.expected")
def expected() -> None:
    raise LookupError("foreseen")


@app.task(base=Hooked, name="observed.ignoring")
def ignoring() -> None:
    raise errors.Ignore


@app.task(base=Hooked, name="observed.rejecting")
def rejecting() -> None:
    raise errors.Reject("unwanted", requeue=False)


@app.task(base=Hooked, soft_time_limit=0.3, name="observed.slow")
def slow() -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass
