"""What was said to a worker, in shared memory and in the store: the bulletin, rate limits, brakes, its size."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from types import SimpleNamespace

import pytest

from talo.stores.url import open_store
from talo.util.rates import rate_of
from talo.worker.autoscale import Autoscaler
from talo.worker.brakes import brakes_of
from talo.worker.bulletin import Standing
from talo.worker.marks import keep_size, size_of
from talo.worker.share import Common


def test_what_is_written_is_read_by_whoever_opens_it() -> None:
    common = Common()
    assert common.bulletin.read() is None and common.bulletin.number == 0
    first = Standing(
        queues=("a",), paused_queues=frozenset({"b"}), time_limits={"t": (3.0, None)}, stamps=frozenset("x")
    )
    common.bulletin.write(first)
    number, found = Common(common.handles).bulletin.read() or (0, None)
    assert found == first and number == common.bulletin.number
    common.bulletin.write(Standing(queues=("a", "b")))
    assert common.bulletin.number != number
    assert Standing(queues=("a", "b"), paused_queues=frozenset("a")).open_queues == ("b",)


def test_a_writer_that_died_in_the_middle_misleads_nobody() -> None:
    common = Common()
    common.bulletin.write(Standing(queues=("a",)))
    memory, offset = common.bulletin._memory, common.bulletin._offset
    # Given a document of which the first bytes are another's
    memory[offset + 24 : offset + 30] = b"[[[[[["
    assert common.bulletin.read() is None
    # When the next agent writes
    common.bulletin.write(Standing(queues=("c",)))
    assert (common.bulletin.read() or (0, Standing(queues=())))[1].queues == ("c",)
    with pytest.raises(ValueError, match="more was said"):
        common.bulletin.write(Standing(queues=("x" * 1_000_000,)))


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10), ("30/m", 0.5), ("3600/h", 1), (5, 5), ("2.5", 2.5), (0, 0), (None, 0), ("", 0)]
)
def test_rates_are_read_as_celery_writes_them(text: str | int | None, rate: float) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["soon", "10/d", "-1/s", "nan", "inf", "/s", "1/s/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        rate_of(text)


def test_a_limit_lets_start_at_its_pace_and_sends_the_rest_away_at_it() -> None:
    table = Common().rates
    now = 1_000_000.0
    # Given ten a second, and a crowd
    waits = [table.ask("t", 10.0, now) for _ in range(50)]
    started = [wait for wait in waits if not wait]
    # Then a few may start (what was not used before is made up for), the rest comes back one after the other
    assert 1 <= len(started) <= 3
    later = [wait for wait in waits if wait]
    gaps = [round(b - a, 6) for a, b in itertools.pairwise(later)]
    assert set(gaps) == {0.1}
    # and over ten seconds a hundred start, whoever asks
    begun = sum(1 for tick in range(1000) if not table.ask("t", 10.0, now + 1 + tick / 100))
    assert 95 <= begun <= 105
    # Another task has a bucket of its own, and nobody waits for more than five minutes.
    assert table.ask("other", 0.001, now) == 0.0
    assert max(table.ask("other", 0.001, now) for _ in range(100)) <= 1000.0


def _ask(common: Common, seconds: float, answers: multiprocessing.SimpleQueue[int]) -> None:
    end = time.monotonic() + seconds
    begun = 0
    while time.monotonic() < end:
        begun += not common.rates.ask("t", 50.0, time.time())
    answers.put(begun)


def test_processes_share_a_limit() -> None:
    common = Common()
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[int] = context.SimpleQueue()
    began = time.monotonic()
    children = [context.Process(target=_ask, args=(common, 1.0, answers)) for _ in range(3)]
    for child in children:
        child.start()
    begun = sum(answers.get() for _ in children)
    for child in children:
        child.join(10)
    # However slow the machine is: no more than the rate allows in the time that it took.
    assert 1 <= begun <= 50 * (time.monotonic() - began) + 12


def test_brakes_are_made_only_where_something_is_in_force() -> None:
    table, now = Common().rates, time.time()
    tasks = {"limited": SimpleNamespace(rate_limit="1/h"), "free": SimpleNamespace(rate_limit=None)}
    nothing = Standing(queues=("a",))
    assert brakes_of(nothing, {"free": tasks["free"]}, table, limited=True) is None
    assert brakes_of(nothing, tasks, table, limited=False) is None
    brakes = brakes_of(nothing, tasks, table, limited=True)
    assert brakes is not None
    assert brakes.delay("free", now) == 0.0
    assert brakes.delay("limited", now) == 0.0 < brakes.delay("limited", now)
    # A command lifts the task's own limit, a pause holds whatever the rate
    lifted = brakes_of(
        Standing(queues=(), rate_limits={"limited": 0}, paused_tasks=frozenset({"free"}), stamps=frozenset({"a=1"})),
        tasks, table, limited=True,
    )  # fmt: skip
    assert lifted is not None
    assert lifted.delay("limited", now) == 0.0 < lifted.delay("free", now)
    closed = brakes_of(Standing(queues=("q",), paused_queues=frozenset({"q"})), {}, table, limited=True)
    assert closed is not None and closed.closes("q") and not closed.closes("p")
    assert lifted.revokes({"stamps": {"a": ["1", "2"]}}) and lifted.revokes({"stamps": {"a": 1}})
    assert not lifted.revokes({"stamps": {"a": "2"}}) and not lifted.revokes({"stamps": "a=1"})


def test_autoscaling_grows_while_all_are_busy_and_shrinks_slowly() -> None:
    scaler = Autoscaler(3, 1)
    scaler.keepalive = 10.0
    assert scaler.change(processes=1, active=1, waiting=True, now=0) == 1
    assert scaler.change(processes=1, active=1, waiting=False, now=0) == 0
    assert scaler.change(processes=3, active=3, waiting=True, now=0) == 0
    assert [scaler.change(processes=3, active=1, waiting=False, now=now) for now in (1, 5, 11, 12, 21)] == [
        0,
        0,
        -1,
        0,
        -1,
    ]
    assert scaler.change(processes=1, active=0, waiting=False, now=99) == 0
    scaler.most, scaler.least = 6, 5
    assert scaler.change(processes=1, active=0, waiting=False, now=99) == 4


def test_the_size_that_was_said_last_counts_for_the_same_configuration() -> None:
    locks = open_store("memory://sizes").locks
    assert size_of(locks, "w@a", 4) is None
    keep_size(locks, "w@a", 4, 8, now=1000.0)
    keep_size(locks, "w@a", 4, 6, now=1001.0)
    assert size_of(locks, "w@a", 4) == 6
    assert (size_of(locks, "w@a", 5), size_of(locks, "w@b", 4)) == (None, None)
    # What was said earlier and could not be taken back does not count.
    locks.mark("processes:w@a", {f"{900.0:017.6f} 4 9": 60.0})
    assert size_of(locks, "w@a", 4) == 6
    # Saying it again is no harm, also in the same instant.
    keep_size(locks, "w@a", 4, 6, now=1001.0)
    assert size_of(locks, "w@a", 4) == 6
