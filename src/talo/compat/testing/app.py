"""Apps for tests: private, in memory, and never the current one by accident.

Owns ``TestApp`` and the trap that catches code which relies on the current app.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from talo.app import current
from talo.compat.app import Celery
from talo.compat.log import Logging

__all__ = ["DEFAULT_TEST_CONFIG", "TestApp", "Trap", "UnitLogging", "set_trap", "setup_default_app"]

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_heartbeat": 0,
}


class Trap:
    """Stands for the current app and says that it must not be used."""

    def __getattr__(self, name: str) -> Any:
        if name in ("_is_coroutine", "__func__"):
            raise AttributeError(name)
        raise RuntimeError("Test depends on current_app")


class UnitLogging(Logging):
    """Logging that is never set up twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        Logging.already_setup = True


def TestApp(
    name: str | None = None,
    config: Any = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = UnitLogging,
    backend: str | None = None,
    broker: str | None = None,
    **kwargs: Any,
) -> Celery:
    """An app for one test; broker and results share one private store in memory unless they are named."""
    place = broker or f"memory://test-{uuid.uuid4().hex[:12]}"
    app = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        log=Logging if enable_logging else log,
        **kwargs,
    )
    # Defaults all of them: what the test adds later as a default counts.
    app.add_defaults({**DEFAULT_TEST_CONFIG, "broker_url": place, "result_backend": backend or place})
    app.add_defaults(config or {})
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """Let every use of the current app fail inside the block."""
    del app
    before = current._State.current
    current.set_current_app(Trap())
    try:
        yield
    finally:
        current.set_current_app(before)


@contextmanager
def setup_default_app(app: Any, use_trap: bool = False) -> Iterator[None]:
    """Take back at the end of the block what is made the current or default app inside; ``use_trap``: until then
    the use of one is an error. The app of a test becomes the current one with its worker, or when it is told so."""
    del app
    before = current._State.current, current._State.default
    if use_trap:
        current.set_current_app(Trap())
    logging.getLogger("celery")
    try:
        yield
    finally:
        current.set_current_app(before[0])
        current.set_default_app(before[1])
