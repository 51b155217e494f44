"""An app that shows what a task can see and do; every feature that needs a worker's side has a task here."""

from __future__ import annotations

import os
import time
from typing import Any

from talo import Talo, shared_task, signals
from tests.apps.shared_code import note

app = Talo(
    "featured",
    task_routes={"featured.routed": {"queue": "routed"}},
    accept_content=["json", "msgpack"],
    set_as_current=False,
)


def observe(name: str) -> None:
    """Write down each sending of a signal with the names of its keywords."""

    def receiver(signal: Any, sender: Any, **keywords: Any) -> None:
        request = keywords.get("request")
        about = keywords.get("task_id") or getattr(request, "id", None) or getattr(sender, "name", None) or "-"
        note("signal", name, about, ",".join(sorted(keywords)))

    getattr(signals, name).connect(receiver, weak=False)


for name in ("worker_process_init", "worker_ready", "task_prerun", "task_success", "task_failure", "task_revoked"):
    observe(name)


@app.task(bind=True, name="featured.facts")
def facts(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What the task sees of its own message."""
    request = self.request
    info = request.delivery_info or {}
    return {
        "args": list(request.args),
        "kwargs": request.kwargs,
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "group": request.group,
        "group_index": request.group_index,
        "shadow": request.shadow,
        "headers": request.headers,
        "retries": request.retries,
        "timelimit": list(request.timelimit),
        "reply_to": request.reply_to,
        "correlation_id": request.correlation_id,
        "priority": info.get("priority"),
        "routing_key": info.get("routing_key"),
        "exchange": info.get("exchange"),
        "eta": request.eta,
        "expires": request.expires,
        "ignore_result": request.ignore_result,
        "argsrepr": request.argsrepr,
        "hostname": request.hostname,
        "is_eager": request.is_eager,
        "called_directly": request.called_directly,
    }


@app.task(name="featured.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(bind=True, name="featured.begun")
def begun(self: Any, value: Any = None) -> Any:
    note("begun", self.request.id, time.time())
    return value


@app.task(bind=True, name="featured.routed")
def routed(self: Any) -> str:
    return str(self.request.delivery_info["routing_key"])


@app.task(bind=True, name="featured.progress")
def progress(self: Any, gate: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    _wait_for(gate)
    return "done"


@app.task(bind=True, name="featured.hold")
def hold(self: Any, gate: str) -> str:
    note("begun", self.request.id, time.time())
    _wait_for(gate)
    return "let go"


@app.task(name="featured.fails")
def fails() -> None:
    raise ValueError("as told")


@app.task(bind=True, max_retries=2, default_retry_delay=0.01, name="featured.flaky")
def flaky(self: Any, until: int) -> int:
    if self.request.retries < until:
        raise self.retry(exc=KeyError("not yet"))
    return int(self.request.retries)


@app.task(ignore_result=True, name="featured.silent")
def silent() -> int:
    return 1


@app.task(bind=True, name="featured.parent")
def parent(self: Any) -> str:
    return str(add.delay(1, 1).id)


@app.task(name="featured.remember")
def remember(value: Any, label: str) -> str:
    note("remembered", label, value)
    return f"{label}={value}"


@shared_task(name="featured.shared")
def shared(x: int) -> int:
    return -x


class Counting(app.Task):  # type: ignore[name-defined,misc]
    """A base class that wraps the call and keeps something for the life of the process."""

    abstract = True
    calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        type(self).calls += 1
        return [type(self).calls, super().__call__(*args, **kwargs)]


@app.task(base=Counting, bind=True, name="featured.counted")
def counted(self: Any, text: str) -> str:
    return f"{text}:{self.request.called_directly}"


def _wait_for(gate: str) -> None:
    end = time.monotonic() + 30
    while not os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.01)
