"""A past: many runs of a shop's tasks, spread over weeks as real ones are, and what waits and died beside them.

Owns what is in it and putting it into a store by the store's own verbs for batches: runs as a settlement writes them
(SQL: the step that settlements share; elsewhere ``History.record``), messages by ``send``, dead letters by settlements.
Used by the tests that look at costs, and by ``bench.dashboard``."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from talo.app.app import Talo as App
from talo.stores.history import PERIODS, RunRecord
from talo.stores.sql import _writing
from talo.stores.sql.store import SqlStore
from tests.web.support import dead

__all__ = ["DAY", "QUEUES", "TASKS", "backlog", "keep", "runs", "traffic"]

DAY = 86_400.0
QUEUES = ("celery", "mail", "media", "reports", "slow")
TASKS = tuple(
    f"shop.{noun}.{verb}"
    for noun in ("order", "mail", "image", "report", "stock")
    for verb in ("make", "send", "check", "clean")
)
#: State -> its share. Nearly everything goes well.
_STATES = {"SUCCESS": 0.94, "FAILURE": 0.025, "RETRY": 0.025, "REVOKED": 0.006, "IGNORED": 0.002, "LOST": 0.002}
_WORKERS = tuple(f"worker{n}@host{n % 4}" for n in range(12))
_ERRORS = ("ConnectionError: no answer", "ValueError: no such order", "TimeoutError: too slow", "KeyError: 'sku'")
_BATCH = 4000
_ALL = 2**31 - 1
#: Seconds that one step may take on a busy machine.
_LONG = 600.0
#: Seconds to keep what is kept: longer than any past.
_KEPT = 60 * DAY


def runs(number: int, until: float, days: float = 30.0, seed: int = 1) -> Iterator[RunRecord]:
    """So many kept runs, the oldest first, the last of them at ``until``. The arguments of each name its number:
    ``order=N``; one in six belongs to a workflow of three, which is called as the first of them."""
    rng = random.Random(seed)
    states, shares = list(_STATES), list(itertools.accumulate(_STATES.values()))
    weights = list(itertools.accumulate(1 / (1 + at) ** 0.5 for at in range(len(TASKS))))
    every = days * DAY / number
    for at in range(number):
        task = rng.choices(TASKS, cum_weights=weights)[0]
        [state] = rng.choices(states, cum_weights=shares)
        failed = state in ("FAILURE", "RETRY")
        error = f"{rng.choice(_ERRORS)} ({at})" if failed else None
        yield RunRecord(
            name=task,
            queue=QUEUES[TASKS.index(task) % len(QUEUES)],
            state=state,
            ended=until - (number - 1 - at + 0.9 * rng.random()) * every,
            seconds=math.exp(rng.gauss(-2.5, 1.5)),
            waited=math.exp(rng.gauss(-4, 1.5)),
            keep=_KEPT,
            id=f"flow-{at // 18}" if at % 18 == 0 else f"{seed:04x}{at:012x}-{rng.getrandbits(64):016x}",
            worker=rng.choice(_WORKERS),
            root=f"flow-{at // 18}" if at % 18 < 3 else None,
            error=error,
            fingerprint=f"{task}/{error[:5]}" if error else None,
            traceback=f"Traceback (most recent call last):\n  in {task}\n{error}" if failed else None,
            args=f"({at}, 'customer-{at % 5000}')",
            kwargs=f"{{'order': {at}, 'currency': 'EUR'}}",
        )


def traffic(minutes: int, per_minute: int, until: float, seed: int = 2) -> Iterator[RunRecord]:
    """Successes of the last minutes that are only counted: most of what a busy place does."""
    rng = random.Random(seed)
    for minute in range(minutes, 0, -1):
        for at in range(per_minute):
            task = TASKS[at % len(TASKS)]
            yield RunRecord(
                name=task,
                queue=QUEUES[TASKS.index(task) % len(QUEUES)],
                state="SUCCESS",
                ended=until - minute * 60 + 30,
                seconds=math.exp(rng.gauss(-2.5, 1.5)),
                waited=math.exp(rng.gauss(-4, 1.5)),
            )


def keep(app: App, past: Iterator[RunRecord]) -> None:
    """Put runs into the history."""
    history = app.store.history
    assert history is not None
    database = app.store.database if isinstance(app.store, SqlStore) else None
    while batch := list(itertools.islice(past, _BATCH)):
        if database is None:
            history.record(batch)
        else:
            # What ``record`` does more is to look for each run whether it is there already.
            database.write(lambda tx: _writing.keep(tx, batch), _LONG)
    if database is not None:
        for width, kept in PERIODS:
            # The janitor's work, in one go.
            database.write(lambda tx: tx.run("old_counts", width, tx.now - kept, _ALL), _LONG)


def backlog(app: App, waiting: int, delayed: int, letters: int) -> None:
    """Messages that wait in each queue, that are delayed, and dead letters; the workers that held these are gone."""
    dead(app, letters, name=TASKS[0], queue="letters")
    for number, options in ((waiting, {}), (delayed, {"countdown": 3600.0})):
        app.send_many(
            (TASKS[at % len(TASKS)], (at,), {}, {"queue": QUEUES[at % len(QUEUES)], **options}) for at in range(number)
        )
