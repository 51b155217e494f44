"""One app on either engine (``ENGINE``: ``celery`` or ``talo``) with every way to route: routes by name, pattern,
expression and function; direct, topic and fanout exchanges; a broadcast; a queue that only the command line names.

``python -m tests.apps.routed CALLS`` sends a JSON list of ``[label, task, options]``, and prints what was refused.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from typing import Any

from tests.apps.shared_code import note

ENGINE = os.environ.get("ENGINE", "talo")
engine = importlib.import_module(ENGINE)
parts = importlib.import_module("kombu" if ENGINE == "celery" else "talo.wire.queues")
broadcast = importlib.import_module("kombu.common" if ENGINE == "celery" else "talo.wire.queues").Broadcast

app = engine.Celery("routed")
media, news, alarm = (
    parts.Exchange(n, type=t) for n, t in (("media", "direct"), ("news", "topic"), ("alarm", "fanout"))
)


def by_argument(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A route as a function: by what is in the call, with a key of its own."""
    if name == "routed.ordered":
        return {"queue": "video", "routing_key": "media.video"} if args and args[0].startswith("film") else None
    return None


app.conf.update(
    task_default_queue="default",
    task_default_exchange="tasks",
    task_default_routing_key="task.default",
    task_queues=[
        parts.Queue("default", parts.Exchange("tasks"), routing_key="task.default"),
        parts.Queue("video", media, routing_key="media.video"),
        parts.Queue("image", media, routing_key="media.image"),
        parts.Queue("every_news", news, routing_key="news.#"),
        parts.Queue("sport", news, routing_key="*.sport"),
        parts.Queue("paris", news, routing_key="news.*.paris"),
        parts.Queue("bell", alarm),
        parts.Queue("light", alarm),
        broadcast("everybody"),
    ],
    task_routes=[
        by_argument,
        {"routed.film": {"queue": "video", "routing_key": "media.video"}},
        {"routed.picture_*": "image"},
        [(re.compile(r"routed\.(left|right)"), {"queue": "late"})],
        {"routed.wake": {"queue": "everybody", "exchange": "everybody"}},
    ],
)


def _define(name: str, **options: Any) -> None:
    @app.task(name=f"routed.{name}", bind=True, ignore_result=True, **options)  # type: ignore[untyped-decorator]
    def run(self: Any, label: str) -> None:
        note(label, self.request.hostname.partition("@")[0])


for name in ("plain", "film", "picture_small", "left", "wake", "ordered"):
    _define(name)
_define("own", queue="image")
_define("own_exchange", exchange="news", routing_key="news.sport")


def main(calls: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Send all; print the labels of those that were refused."""
    for label, name, options in calls:
        try:
            app.tasks[f"routed.{name}"].apply_async((label,), **options)
        except Exception as exc:
            print(label, type(exc).__name__)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
