"""Tasks written once and defined on either engine: on the real Celery's app and on Talo's, under the same names.

They use nothing but what both offer. What happens to them goes into the file named by ``TRACE``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import os
import signal
import time
import uuid
from typing import Any


def note(*words: object) -> None:
    """Append a line to the trace; one short write is atomic with O_APPEND."""
    path = os.environ.get("TRACE")
    if path:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, (" ".join(map(str, words)) + "\n").encode())
        os.close(fd)


class OutOfStock(Exception):
    """An exception of the project's own."""


#: What JSON alone cannot carry.
RICH = {
    "when": dt.datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=dt.UTC),
    "naive": dt.datetime(2026, 3, 29, 2, 30),
    "day": dt.date(2026, 3, 29),
    "hour": dt.time(2, 30),
    "price": decimal.Decimal("19.90"),
    "key": uuid.UUID("12345678123456781234567812345678"),
    "raw": b"plain",
    "binary": b"\x00\xff\xfe",
}
#: The signals that tell the life of a worker, on either engine.
WORKER_SIGNALS = (
    "celeryd_init",
    "celeryd_after_setup",
    "import_modules",
    "worker_init",
    "worker_ready",
    "worker_process_init",
    "worker_shutting_down",
    "worker_shutdown",
    "worker_process_shutdown",
)
PLAIN = {"text": "Grüße, 世界 🌱", "list": [1, 2.5, None, True], "nested": {"a": {"b": []}}, "big": 2**53}


def sign(app: Any, whose: str | None = None) -> None:
    """Sign messages and run only signed ones, as whom ``SIGNED_AS`` says: a path without its suffix."""
    whose = whose or os.environ.get("SIGNED_AS")
    if whose:
        app.conf.update(
            security_key=f"{whose}.key",
            security_certificate=f"{whose}.pem",
            security_cert_store=f"{os.path.dirname(whose)}/*.pem",
            task_serializer="auth",
            event_serializer="auth",
            accept_content=["auth"],
            result_accept_content=["json"],
        )
        app.setup_security()


def define(app: Any, engine: str) -> None:
    """Define every task on ``app``; ``engine`` tells who ran it."""

    def task(function: Any = None, **options: Any) -> Any:
        if function is not None:
            return app.task(name=f"shared.{function.__name__}")(function)
        return lambda function: app.task(name=f"shared.{function.__name__}", **options)(function)

    @task
    def add(x: int, y: int) -> int:
        return x + y

    @task
    def echo(*args: Any, **kwargs: Any) -> list[Any]:
        return [list(args), kwargs]

    @task
    def kinds(value: dict[str, Any]) -> dict[str, str]:
        """The types that arrived, by name."""
        return {key: type(item).__name__ for key, item in value.items()}

    @task
    def where() -> str:
        return engine

    @task(bind=True)
    def started(self: Any, value: Any = None) -> Any:
        note("started", self.request.id, engine, time.time())
        return value

    @task
    def fails(text: str) -> None:
        raise ValueError(text, 42)

    @task
    def runs_out() -> None:
        raise OutOfStock("no more celery")

    @task(bind=True, max_retries=3)
    def flaky(self: Any, until: int, countdown: float = 0.05) -> int:
        if self.request.retries < until:
            raise self.retry(exc=KeyError("not yet"), countdown=countdown)
        return int(self.request.retries)

    @task(bind=True, max_retries=1, default_retry_delay=0.05)
    def hopeless(self: Any) -> None:
        raise self.retry(exc=OSError("still down"))

    @task(bind=True)
    def hold(self: Any, path: str, most: float = 30) -> str:
        """Run until a file appears."""
        note("started", self.request.id, engine, time.time())
        end = time.monotonic() + most
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        return engine

    @task
    def nap(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @task(bind=True)
    def progress(self: Any, path: str) -> str:
        self.update_state(state="PROGRESS", meta={"done": 3, "of": 4})
        end = time.monotonic() + 30
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.01)
        return "finished"

    @task(bind=True)
    def facts(self: Any) -> dict[str, Any]:
        request = self.request
        return {
            "id": request.id,
            "root_id": request.root_id,
            "parent_id": request.parent_id,
            "headers": request.headers,
            "tenant": request.get("tenant"),
            "retries": request.retries,
            "timelimit": list(request.timelimit or (None, None)),
            "shadow": request.shadow,
            "priority": (request.delivery_info or {}).get("priority"),
            "routing_key": (request.delivery_info or {}).get("routing_key"),
            "correlation_id": request.correlation_id,
            "called_directly": request.called_directly,
        }

    @task(bind=True)
    def parent(self: Any) -> str:
        child = app.tasks["shared.add"].delay(20, 22)
        return str(child.id)

    @task
    def on_error(failed_id: str) -> None:
        note("errback", failed_id, engine)

    @task
    def on_error_new(request: Any, exc: BaseException, traceback: str) -> None:
        note("errback_new", request.id, engine, type(exc).__name__)

    @task
    def remember(value: Any, label: str) -> str:
        note("callback", label, value, engine)
        return f"{label}:{value}"

    @task
    def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)
