"""Of a worker's idle children one waits for the store; whoever it is may die."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from tests.support import eventually

from talo.worker.share import Common

LONG = 20.0


@pytest.fixture
def common() -> Common:
    return Common()


def test_one_has_it_and_keeps_it(common: Common) -> None:
    first, second = common.baton(), common.baton()
    assert first.wait(0.0, ())
    assert not second.wait(0.0, ())
    assert first.wait(0.0, ())


def test_it_is_passed_on_to_one_that_waits(common: Common) -> None:
    # Given two that wait for it
    holder = common.baton()
    assert holder.wait(0.0, ())
    got: list[int] = []

    def wait(number: int) -> None:
        baton = common.baton()
        if baton.wait(LONG, ()):
            got.append(number)
            done.wait(LONG)
            baton.pass_on()

    done = threading.Event()
    threads = [threading.Thread(target=wait, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    # When it is passed on, then one goes (in rare cases both: the baton saves work, it guards nothing)
    holder.pass_on()
    eventually(lambda: _assert(len(got) >= 1))
    assert not holder.wait(0.0, ())
    done.set()
    # And the other once that one has passed it on
    eventually(lambda: _assert(len(got) == 2))
    for thread in threads:
        thread.join(LONG)


def test_it_is_free_when_its_holder_dies(common: Common) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        common.baton().wait(0.0, ())
        os.write(write, b"x")
        signal.pause()
    os.read(read, 1)
    mine = common.baton()
    assert not mine.wait(0.0, ())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    common.call_for_waiter()
    assert mine.wait(LONG, ())


def test_one_is_called_although_the_holder_keeps_it(common: Common) -> None:
    # Given a holder that is held up by a task
    holder, other = common.baton(), common.baton()
    assert holder.wait(0.0, ())
    common.call_for_waiter()
    # Then another waits for work in its place
    assert other.wait(LONG, ())


def test_other_news_ends_the_wait(common: Common) -> None:
    holder, other = common.baton(), common.baton()
    assert holder.wait(0.0, ())
    read, write = os.pipe()
    os.write(write, b"x")
    assert not other.wait(LONG, (read,))


def test_to_pass_on_what_one_has_not_is_nothing(common: Common) -> None:
    holder, other = common.baton(), common.baton()
    assert holder.wait(0.0, ())
    other.pass_on()
    assert not other.wait(0.0, ())


def _assert(fact: bool) -> None:
    assert fact
