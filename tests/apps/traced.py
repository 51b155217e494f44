"""An app whose tasks write what happens to them into a trace file of their own, so that counts do not depend on what
the queue says.

Configured by the environment: ``TALO_BROKER_URL``, ``TALO_RESULT_BACKEND``, ``TRACE`` (a file), like a real project's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import time
from concurrent import futures
from typing import Any

from talo import Talo, errors, signals

app = Talo("traced")
if "SLOW_TO_BEGIN" in os.environ:
    signals.task_received.connect(lambda **_: time.sleep(float(os.environ["SLOW_TO_BEGIN"])), weak=False)


def trace(word: str, task_id: str | None, **facts: Any) -> None:
    """Append one line to the trace; one write of less than a page is atomic with O_APPEND."""
    path = os.environ.get("TRACE")
    if path:
        more = "".join(f" {name}={value}" for name, value in facts.items())
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{word} {task_id} {os.getpid()} {time.time():.6f}{more}\n".encode())
        os.close(fd)


@app.task(bind=True)
def noop(self: Any) -> None:
    trace("start", self.request.id)
    trace("end", self.request.id)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def quiet() -> None:
    return None


@app.task(bind=True)
def nap(self: Any, seconds: float) -> float:
    trace("start", self.request.id)
    time.sleep(seconds)
    trace("end", self.request.id)
    return seconds


@app.task(bind=True)
async def anap(self: Any, seconds: float) -> float:
    trace("start", self.request.id)
    await asyncio.sleep(seconds)
    trace("end", self.request.id)
    return seconds


@app.task(bind=True)
def spin(self: Any) -> None:
    """Never returns and never lets go of a bytecode."""
    trace("start", self.request.id)
    while True:
        pass


@app.task(bind=True)
def deaf(self: Any, seconds: float) -> None:
    """Catches what can be caught and goes on."""
    trace("start", self.request.id)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except errors.SoftTimeLimitExceeded:
            trace("soft", self.request.id)


@app.task(bind=True)
def cleans_up(self: Any, seconds: float) -> str:
    trace("start", self.request.id)
    try:
        time.sleep(seconds)
    except errors.SoftTimeLimitExceeded:
        return "cleaned up"
    return "had time"


@app.task(bind=True)
def poison(self: Any, number: int = signal.SIGKILL) -> None:
    """Kills its own process."""
    trace("start", self.request.id)
    os.kill(os.getpid(), number)
    time.sleep(30)


@app.task(bind=True, acks_late=False)
def once(self: Any, seconds: float = 0.0) -> None:
    """Must never start twice."""
    trace("start", self.request.id)
    time.sleep(seconds)
    trace("end", self.request.id)


@app.task(bind=True)
def fails(self: Any, text: str = "no") -> None:
    trace("start", self.request.id)
    raise ValueError(text)


@app.task(bind=True, max_retries=3, default_retry_delay=0.01)
def flaky(self: Any, until: int) -> int:
    """Fails until the given attempt."""
    trace("start", self.request.id, retries=self.request.retries)
    if self.request.retries < until:
        raise self.retry(exc=RuntimeError("not yet"))
    return int(self.request.retries)


@app.task(bind=True, max_retries=None)
def later(self: Any, seconds: float) -> None:
    """Asks to be tried again, without end."""
    trace("start", self.request.id)
    raise self.retry(countdown=seconds)


@app.task
def has_helpers() -> dict[str, Any]:
    """Starts processes in every way, and ends them."""
    ended: dict[str, Any] = {}
    program = subprocess.Popen(["sleep", "300"])
    program.terminate()
    ended["program"] = program.wait(60)
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        helper = context.Process(target=time.sleep, args=(300,))
        helper.start()
        while helper.exitcode is None:  # one that comes before its program has begun may be lost, as anywhere
            helper.terminate()
            helper.join(0.5)
        with context.Pool(1) as pool:
            mapped = pool.map(abs, [-1, -2, -3])
        with futures.ProcessPoolExecutor(1, context) as executor:
            ended[method] = [helper.exitcode, mapped, list(executor.map(abs, [-4, -5]))]
    return ended


@app.task(bind=True, max_retries=None)
def stumbles(self: Any, times: int, delay: float) -> None:
    """Is tried again so many times, each time after so many seconds."""
    trace("start", self.request.id, retries=self.request.retries)
    if self.request.retries < times:
        raise self.retry(countdown=delay)


@app.task(bind=True, rate_limit="1/m")
def rare(self: Any) -> None:
    """Starts hardly ever."""
    trace("start", self.request.id)


@app.task(bind=True, autoretry_for=(OSError,), max_retries=2, retry_backoff=0.01, retry_jitter=False)
def stubborn(self: Any) -> None:
    trace("start", self.request.id, retries=self.request.retries)
    raise OSError("disk on fire")


@app.task(bind=True)
def rejects(self: Any, requeue: bool = False) -> None:
    trace("start", self.request.id)
    raise errors.Reject("not mine", requeue=requeue)


@app.task(bind=True)
def ignores(self: Any) -> None:
    raise errors.Ignore


@app.task(bind=True)
def unwritable(self: Any) -> object:
    return object()


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True)
def on_error(self: Any, failed_id: str) -> str:
    trace("errback", failed_id)
    return failed_id


@app.task(bind=True)
def on_error_new(self: Any, request: Any, exc: BaseException, traceback: str) -> None:
    trace("errback_new", request.id, exc=type(exc).__name__)


@app.task(bind=True)
def after(self: Any, *_: Any) -> None:
    """A callback; each settlement that was applied has sent one, under an id of its own."""
    trace("after", self.request.id, parent=self.request.parent_id)


@app.task(bind=True)
def burn(self: Any, seconds: float) -> None:
    """Short work that a kill can fall into."""
    trace("start", self.request.id)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    trace("end", self.request.id)


@app.task(bind=True)
def who(self: Any) -> dict[str, Any]:
    """What a task can see of itself."""
    request = self.request
    names = (
        "id",
        "task",
        "args",
        "kwargs",
        "retries",
        "root_id",
        "parent_id",
        "hostname",
        "is_eager",
        "called_directly",
    )
    return {name: request.get(name) for name in names} | {"headers": request.headers, "pid": os.getpid()}


@app.task(bind=True)
def hog(self: Any, mib: int) -> int:
    """Takes memory and keeps it."""
    self.app.__dict__.setdefault("_hoard", []).append(bytearray(os.urandom(1024)) * (mib * 1024))
    return os.getpid()
