"""An app of the real Celery, with the tasks of ``shared_code``. Configured by Celery's own variables.

``python -m tests.apps.celery_app`` is a client in a process of its own: it evaluates the expressions that it is sent
and answers with their values, so that a test can use the real Celery without loading it beside Talo.
"""

from __future__ import annotations

import datetime as dt
import os
import pickle
import sys
import time
from typing import Any

import celery
import celery.result
from celery import Celery, chain, chord, group, signature

from tests.apps.shared_code import PLAIN, RICH, define, sign

app = Celery("celery_app")
app.conf.update(
    accept_content=["json", "msgpack", "yaml"],
    result_extended=os.environ.get("RESULT_EXTENDED") == "1",
    task_track_started=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "priority_steps": [0, 3, 6, 9],
        "visibility_timeout": float(os.environ.get("VISIBILITY_TIMEOUT", "3600")),
        # It looks for lost messages every this many seconds times ten.
        "unacked_restore_interval": float(os.environ.get("RESTORE_INTERVAL", "10")),
    },
    worker_prefetch_multiplier=1,
)
sign(app)
define(app, "celery")


def result(task_id: str) -> Any:
    """The result of this id, as Celery sees it."""
    return celery.result.AsyncResult(task_id, app=app)


def send(name: str, *args: Any, kwargs: dict[str, Any] | None = None, **options: Any) -> str:
    """Send ``shared.<name>``; return its id."""
    return str(app.tasks[f"shared.{name}"].apply_async(args, kwargs, **options).id)


def s(name: str, *args: Any, **kwargs: Any) -> Any:
    """The signature of ``shared.<name>``."""
    return app.tasks[f"shared.{name}"].s(*args, **kwargs)


def states(task_id: str, until: str, timeout: float = 20) -> list[str]:
    """The different states that this id went through, in order, as seen by asking."""
    seen: list[str] = []
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state = result(task_id).state
        if state not in seen[-1:]:
            seen.append(state)
        if state == until:
            break
        time.sleep(0.002)
    return seen


def raised(task_id: str, timeout: float = 20) -> tuple[str, str, tuple[Any, ...], str]:
    """What waiting for this id raises: module, name and arguments of the exception, and the state."""
    handle = result(task_id)
    try:
        handle.get(timeout=timeout)
    except Exception as exc:
        return type(exc).__module__, type(exc).__name__, exc.args, handle.state
    return "", "", (), handle.state


def serve() -> None:
    """Answer expressions until the other side closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    scope = {
        **globals(),
        "chain": chain,
        "chord": chord,
        "group": group,
        "signature": signature,
        "dt": dt,
        "RICH": RICH,
        "PLAIN": PLAIN,
    }
    while True:
        try:
            code = pickle.load(sys.stdin.buffer)
        except EOFError:
            # At once: a hundred thousand results would each take leave of Redis first.
            os._exit(0)
        try:
            answer = pickle.dumps((True, eval(code, scope)))
        except BaseException as exc:
            answer = pickle.dumps((False, f"{type(exc).__name__}: {exc}"))
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    serve()
