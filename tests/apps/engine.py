"""Tasks of which every hook and every signal is noted, for the cases of ``tests.cases``: the same on a worker, in test
mode and eager.

``TRACE`` names the file of notes, ``UNIT`` the seconds that one unit of time lasts. What a task notes by itself tells
what the engine cannot know.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from talo import Talo, Task, errors, signals
from talo.canvas.signature import maybe_signature
from talo.wire.queues import Queue

MODULE = __name__
SETTINGS: dict[str, Any] = {
    "task_queues": [Queue("celery"), Queue("ranked", max_priority=9)],
    "task_unknown_patience": 0,
    "task_store_eager_result": True,
    "task_allow_error_cb_on_chord_header": True,
    "result_extended": True,
}
#: What each app of this module gets: functions with their options, which may be given as functions of the unit.
TASKS: list[tuple[Callable[..., Any], Callable[[float], dict[str, Any]]]] = []


def unit() -> float:
    """Seconds in a unit of time."""
    return float(os.environ.get("UNIT", "1"))


def task(options: Callable[[float], dict[str, Any]] | None = None, **fixed: Any) -> Callable[..., Any]:
    """Make a function a task of every app that ``equip`` is given."""

    def collect(function: Callable[..., Any]) -> Callable[..., Any]:
        TASKS.append((function, lambda seconds: {**fixed, **(options(seconds) if options else {})}))
        return function

    return collect


def equip(app: Talo) -> Talo:
    """Give an app these tasks; return it."""
    for function, options in TASKS:
        name = f"{MODULE}.{function.__name__}"
        app.task(name=name, bind=True, base=Noted, shared=False, typing=False, **options(unit()))(function)
    return app


# -- notes


def note(task_id: str | None, what: str, *facts: Any) -> None:
    """Write down what happens to a task of a case, whose ids have a dot."""
    path = os.environ.get("TRACE")
    if path and task_id and "." in task_id:
        line = json.dumps([task_id, what, *map(shown, facts)])
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)


def shown(value: Any) -> Any:
    """A value as a trace has it: seconds are told elsewhere, exceptions by class and text."""
    if isinstance(value, errors.Retry):
        return shown(value.exc)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}({', '.join(map(repr, value.args))})"
    if isinstance(value, dict):
        # What a signature is made of has times in it; its run is noted by itself.
        return f"<{value['task']}>" if "subtask_type" in value else {key: shown(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value if isinstance(value, str | int | float | None) else f"<{type(value).__name__}>"


def remembered(key: str, value: float | None = None) -> float:
    """A number that outlasts the process, beside the trace; 0.0 before it is set."""
    file = Path(f"{os.environ['TRACE']}-{key}")
    if value is not None:
        file.write_text(repr(value))
    return float(file.read_text()) if file.exists() else 0.0


def units(when: Any) -> Any:
    """A delay in units: as it was asked for, not as it was measured."""
    return round(when / unit(), 3) if isinstance(when, int | float) else "a moment"


class Noted(Task[Any, Any]):
    """Writes down each of its hooks."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, "before_start", list(args), kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(task_id, "on_success", retval)

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, "on_retry", exc)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, "on_failure", exc)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(task_id, "after_return", status, retval)


def _received(request: Any, **_: Any) -> None:
    note(request.id, "received")


def _prerun(task_id: str, task: Any, **_: Any) -> None:
    note(task_id, "prerun", task.name.removeprefix(f"{MODULE}."), task.request.retries)


def _success(sender: Any, result: Any, **_: Any) -> None:
    note(sender.request.id, "success", result)


def _retry(request: Any, reason: Any, **_: Any) -> None:
    note(request.id, "retry", units(reason.when), reason)


def _failure(task_id: str, exception: BaseException, **_: Any) -> None:
    note(task_id, "failure", exception)


def _postrun(task_id: str, state: str, **_: Any) -> None:
    note(task_id, "postrun", state)


def _revoked(request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    note(request.id, "revoked", "terminated" if terminated else "expired" if expired else "revoked")


def _unknown(id: str, **_: Any) -> None:
    note(id, "unknown")


def _lost(request: Any, exception: BaseException, **_: Any) -> None:
    note(request.id, "lost", exception)


RECEIVERS = {
    signals.task_received: _received,
    signals.task_prerun: _prerun,
    signals.task_success: _success,
    signals.task_retry: _retry,
    signals.task_failure: _failure,
    signals.task_postrun: _postrun,
    signals.task_revoked: _revoked,
    signals.task_unknown: _unknown,
    signals.task_lost: _lost,
}


def listen() -> None:
    """Write down each signal from now on."""
    for signal, receiver in RECEIVERS.items():
        signal.connect(receiver, weak=False)


def hush() -> None:
    """Write down none."""
    for signal, receiver in RECEIVERS.items():
        signal.disconnect(receiver)


# -- values


@task()
def add(self: Any, x: int, y: int = 0) -> int:
    return x + y


@task()
def total(self: Any, numbers: list[int]) -> int:
    return sum(numbers)


@task()
def echo(self: Any, value: Any = None) -> Any:
    return value


@task()
async def aecho(self: Any, value: Any = None) -> Any:
    await asyncio.sleep(0)
    return value


@task()
def unwritable(self: Any) -> Any:
    return object()


@task()
def named(self: Any, *, name: str, times: int = 1) -> str:
    return name * times


@task()
def who(self: Any) -> dict[str, Any]:
    """What a run knows of itself."""
    request = self.request
    return {
        "id": request.id,
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group is not None,
        "retries": request.retries,
        "direct": request.called_directly,
        "headers": (request.headers or {}).get("tenant"),
    }


# -- failures


@task()
def fails(self: Any, text: str = "no") -> None:
    raise ValueError(text)


@task()
def refuses(self: Any, value: Any) -> None:
    raise ValueError(f"not {value}")


@task(throws=(KeyError,))
def expects_to_fail(self: Any) -> None:
    raise KeyError("none")


@task(dead_letter=False)
def fails_without_a_letter(self: Any) -> None:
    raise ValueError("no")


@task()
async def afails(self: Any) -> None:
    await asyncio.sleep(0)
    raise ValueError("no")


@task()
def ignores(self: Any) -> None:
    raise errors.Ignore


@task(ignore_result=True)
def forgets(self: Any, value: int) -> int:
    return value


@task(ignore_result=True)
def forgets_its_failure(self: Any) -> None:
    raise ValueError("no")


@task(ignore_result=True, store_errors_even_if_ignored=True)
def keeps_its_failure(self: Any) -> None:
    raise ValueError("no")


@task()
def rejects(self: Any) -> None:
    raise errors.Reject("not mine", requeue=False)


@task()
def sends_back(self: Any) -> str:
    if remembered(self.request.id):
        return "the second time"
    remembered(self.request.id, 1.0)
    raise errors.Reject("not now", requeue=True)


@task()
def stops_short(self: Any, value: int) -> None:
    """Ends in the middle with a state of its own."""
    self.update_state(state="HALF", meta={"value": value})
    raise errors.Ignore


# -- retries


@task(lambda unit: {"max_retries": 3, "default_retry_delay": 2 * unit})
def flaky(self: Any, times: int, **how: Any) -> int:
    """Asks ``times`` times for a retry, in ``how`` many units."""
    if self.request.retries < times:
        if "countdown" in how:
            how["countdown"] *= unit()
        raise self.retry(**how)
    return int(self.request.retries)


@task(lambda unit: {"max_retries": 2, "default_retry_delay": unit})
def stumbles(self: Any, text: str | None = None) -> None:
    """Asks for ever."""
    raise self.retry(exc=ValueError(text) if text else None)


@task(lambda unit: {"max_retries": 1, "default_retry_delay": unit})
def stumbles_quietly(self: Any) -> str:
    """Asks, and goes on to its end."""
    if self.request.retries == 0:
        self.retry(throw=False)
    return "the end"


@task(lambda unit: {"default_retry_delay": unit})
def counts_down(self: Any, number: int) -> int:
    """Is tried again with other arguments."""
    if number:
        raise self.retry(args=(number - 1,), kwargs={})
    return int(self.request.retries)


@task(lambda unit: {"autoretry_for": (ValueError,), "retry_kwargs": {"countdown": unit, "max_retries": 2}})
def recovers(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise ValueError(f"attempt {self.request.retries}")
    return int(self.request.retries)


@task(lambda unit: {"autoretry_for": (Exception,), "dont_autoretry_for": (KeyError,), "default_retry_delay": unit})
def spares_keys(self: Any) -> None:
    raise KeyError("this one stays")


@task(
    lambda unit: {
        "autoretry_for": (ValueError,),
        "retry_backoff": unit,
        "retry_backoff_max": 3 * unit,
        "retry_jitter": False,
        "max_retries": 4,
    }
)
def backs_off(self: Any, times: int) -> int:
    if self.request.retries < times:
        raise ValueError("no")
    return int(self.request.retries)


@task(lambda unit: {"autoretry_for": (ValueError,), "max_retries": 2, "default_retry_delay": unit})
async def arecovers(self: Any, times: int) -> int:
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise ValueError("no")
    return int(self.request.retries)


@task(lambda unit: {"max_retries": None, "default_retry_delay": unit})
def sees_itself(self: Any) -> list[str]:
    """The states that the store had of it at the beginning of each attempt."""
    note(self.request.id, "sees", self.app.AsyncResult(self.request.id).state)
    if self.request.retries < 1:
        raise self.retry()
    return [self.app.AsyncResult(self.request.id).state]


# -- states


@task(track_started=True)
def starts(self: Any) -> str:
    return str(self.app.AsyncResult(self.request.id).state)


@task()
def progresses(self: Any) -> list[Any]:
    """The states that it stored, as the store tells them."""
    seen = []
    for done in (1, 2):
        self.update_state(state="PROGRESS", meta={"done": done})
        result = self.app.AsyncResult(self.request.id)
        seen.append([result.state, result.info])
    return seen


# -- what follows


@task()
def gives_way(self: Any, successor: Any) -> None:
    """Is replaced by a signature."""
    raise self.replace(maybe_signature(successor, self.app))


@task()
def gives_way_with(self: Any, value: int, successor: Any) -> None:
    """Is replaced by a signature that gets its argument."""
    raise self.replace(maybe_signature(successor, self.app).clone(args=(value,)))


@task()
def sends(self: Any, *signatures: Any) -> int:
    """Sends what it is given, and waits for nothing."""
    for each in signatures:
        maybe_signature(each, self.app).apply_async()
    return len(signatures)


@task()
def grows(self: Any, *members: Any) -> str:
    """Adds members to its chord."""
    for each in members:
        self.add_to_chord(maybe_signature(each, self.app))
    return "grown"


@task()
def hears(self: Any, failed_id: str) -> str:
    """An error callback of the old form."""
    return failed_id


@task()
def listens(self: Any, request: Any, exc: BaseException, traceback: Any) -> None:
    """An error callback of the new form, which is called beside the failed run."""
    note(request.id, "told of", exc)


# -- limits


@task(soft_time_limit=0.2)
def is_warned(self: Any) -> str:
    try:
        return _spun()
    except errors.SoftTimeLimitExceeded:
        return "cleaned up"


@task()
def spins(self: Any) -> str:
    return _spun()


@task(soft_time_limit=0.2, time_limit=0.6)
def is_deaf(self: Any) -> str:
    try:
        return _spun()
    except errors.SoftTimeLimitExceeded:
        note(self.request.id, "warned")
        return _spun()


@task(soft_time_limit=0.2)
async def awaits(self: Any) -> str:
    await asyncio.sleep(30)
    return "had time"


def _spun() -> str:
    """Take longer than any limit, in small pieces."""
    end = time.monotonic() + 30
    pause = threading.Event()
    while time.monotonic() < end:
        pause.wait(0.01)
    return "had time"


@task(lambda unit: {"rate_limit": 1 / unit})
def rare(self: Any) -> str:
    """Starts once in a unit; a worker may be late, and make up for a fifth of a second."""
    now, before = self.app.time() / unit(), remembered("rare")
    remembered("rare", now)
    return "in time" if now - before > 0.5 else "too early"


@task()
def ranks(self: Any, key: str) -> int:
    """How many came before it."""
    before = remembered(key)
    remembered(key, before + 1)
    return int(before)


if "TRACE" in os.environ and "UNIT" in os.environ:
    listen()
app = equip(Talo("engine", set_as_current=False, **SETTINGS))
