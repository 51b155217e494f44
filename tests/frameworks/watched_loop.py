"""A program that sends and waits on an event loop, and watches what this does to the loop's own thread.

``python -m tests.frameworks.watched_loop PLAN``, where PLAN is JSON: ``settings`` of the app, or ``django`` for the
project's. It sends once, says so in a line, waits for a line, and from then on expects silence of the store. At its end
it prints what it saw as JSON. A process of its own, so that what a first call imports and opens is seen, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from asyncio.events import Handle
from collections.abc import Iterator
from types import FrameType
from typing import Any
from unittest import mock

from talo import Talo
from talo.errors import PublishTimeout

CALLS = 12
#: Seconds after which a call gives up. Whatever asks a silent store waits as long at least.
PATIENCE = 1.5
#: Seconds of the clock that no callback takes by itself, on however busy a machine.
HELD = PATIENCE / 2

#: Whose functions ask somebody who may not answer: modules, or how their names begin.
_ASKING = (
    "talo.stores", "django.db.backends", "socket", "_socket", "ssl", "_ssl", "sqlite3", "select", "psycopg", "pymysql",
    "boto", "urllib3", "http.client",
)  # fmt: skip
#: What waits for another thread, which may be asking.
_LOCKS = ("acquire", "__enter__", "join", "wait")


class Watch:
    """What the callbacks of a loop cost its thread, and whom they ask."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.dearest = self.longest = ""
        self.asked: set[str] = set()

    @contextlib.contextmanager
    def costs(self) -> Iterator[None]:
        """Within it, callbacks are timed: in seconds of their thread's work, and of the clock."""
        run = Handle._run

        def timed(handle: Handle) -> None:
            what, cpu, wall = repr(handle), time.thread_time(), time.perf_counter()
            run(handle)
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            if cpu > self.cpu:
                self.cpu, self.dearest = cpu, what
            if wall > self.wall:
                self.wall, self.longest = wall, what

        with mock.patch.object(Handle, "_run", timed):
            yield

    @contextlib.contextmanager
    def questions(self) -> Iterator[None]:
        """Within it, callbacks are searched for calls that may have to wait for somebody."""
        run = Handle._run

        def searched(handle: Handle) -> None:
            sys.setprofile(self._look)
            try:
                run(handle)
            finally:
                sys.setprofile(None)

        with mock.patch.object(Handle, "_run", searched):
            yield

    def _look(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            self._judge(frame.f_globals.get("__name__", ""), frame.f_code.co_name, frame.f_back)
        elif event == "c_call":
            owner = getattr(called, "__self__", None)
            module = type(owner).__module__ if owner is not None else called.__module__ or ""
            if isinstance(owner, type(sys)):
                module = owner.__name__
            self._judge(module, called.__name__, frame)

    def _judge(self, module: str, name: str, caller: FrameType | None) -> None:
        where = caller.f_globals.get("__name__", "") if caller else ""
        if name == "<module>" or where.startswith("asyncio"):
            return
        waits = (module, name) == ("time", "sleep") or (
            module in ("_thread", "threading") and name in _LOCKS and where.startswith("talo")
        )
        if waits or module.startswith(_ASKING):
            self.asked.add(f"{module}.{name} for {where}")


def app_of(plan: dict[str, Any]) -> Talo:
    """The app that the plan speaks of."""
    if not plan.get("django"):
        return Talo("loop", **plan["settings"], set_as_current=False, publish_timeout=PATIENCE)
    import django
    from django.apps import apps

    django.setup()
    app: Talo = apps.get_app_config("talo_django").app
    return app


async def ends_of(app: Talo, *, held: bool) -> list[str]:
    """How sends and waits end, many at a time. ``held``: one send is not awaited, for comparison."""
    calls: list[Any] = [app.asend_task("add", (n,)) for n in range(CALLS)]
    calls += [app.AsyncResult(f"id{n}").aget(timeout=PATIENCE) for n in range(CALLS)]
    if held:
        with contextlib.suppress(PublishTimeout):
            app.send_task("add")
    return sorted({type(end).__name__ for end in await asyncio.gather(*calls, return_exceptions=True)})


async def main(plan: dict[str, Any]) -> dict[str, Any]:
    """Do what the plan says; return what was seen."""
    # The collector's pauses come from what is loaded (boto3 alone: 70,000 objects), to whichever thread it meets.
    gc.disable()
    watch, held = Watch(), plan.get("held", False)
    app = app_of(plan)
    with watch.costs():
        await asyncio.create_task(app.asend_task("add", (0,), timeout=60))
    print("sent", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    with watch.costs():
        ends = await asyncio.create_task(ends_of(app, held=held))
    with watch.questions():
        again = await asyncio.create_task(ends_of(app_of(plan), held=held))
    return {
        "ends": [ends, again], "asked": sorted(watch.asked),
        "cpu": watch.cpu, "dearest": watch.dearest, "wall": watch.wall, "longest": watch.longest,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))), flush=True)
