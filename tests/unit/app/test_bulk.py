"""What a bulk send leaves behind when it ends in the middle, and how it is taken up again."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from talo import Talo, group
from talo.errors import PublishTimeout
from tests.unit.app.conftest import FarSide


def broken_off(count: int) -> Iterator[Any]:
    """Calls of which no more than so many can be made."""
    for n in range(count):
        yield "any", (n,)
    raise RuntimeError("the file ends here")


def test_a_send_under_a_key_goes_on_after_what_was_confirmed(app: Talo, far: FarSide) -> None:
    # Given a bulk send that ended in its third batch
    with pytest.raises(RuntimeError) as caught:
        app.send_many(broken_off(25), batch=10, key="letter-7")
    first = far.calls()

    # Then how far it came is said at once and later
    assert caught.value.__notes__ == [
        "send_many: 20 calls had been sent before this; send them again with key='letter-7' to go on from there"
    ]
    assert (app.bulk_sent("letter-7"), app.bulk_sent("letter-8"), len(first)) == (20, 0, 20)

    # When all of it is sent again, then only the rest goes out, and the handles are those of all
    results = app.send_many([("any", (n,)) for n in range(30)], batch=10, key="letter-7")
    calls = [*first, *far.calls()]
    assert [call.args for call in calls] == [[n] for n in range(30)]
    assert [result.id for result in results] == [call.id for call in calls]
    assert app.bulk_sent("letter-7") == 30

    # And once more sends nothing
    assert app.send_many([("any", (n,)) for n in range(30)], key="letter-7") == results
    assert far.messages() == []


def test_a_batch_that_may_have_got_through_is_sent_again_under_the_same_ids(app: Talo, far: FarSide) -> None:
    # Given a store that takes a batch, and whose answer is lost
    broker = app.store.broker
    answered = broker.send

    def unanswered(*args: Any, **kwargs: Any) -> None:
        answered(*args, **kwargs)
        broker.send = answered  # type: ignore[method-assign]
        raise PublishTimeout("no answer")

    broker.send = unanswered  # type: ignore[method-assign]
    with pytest.raises(PublishTimeout):
        app.send_many([("any",)] * 3, key="k")
    unsure = [message.id for message in far.messages()]
    # When it is sent again
    results = app.send_many([("any",)] * 3, key="k")
    # Then nothing new has come to be
    assert [result.id for result in results] == unsure
    assert {message.id for message in far.messages()} == set(unsure)


def test_an_id_of_a_call_of_its_own_goes_before_the_one_of_the_key(app: Talo, far: FarSide) -> None:
    [result] = app.send_many([("any", (), {}, {"task_id": "mine"})], key="k")
    assert (result.id, far.call().id) == ("mine", "mine")


def test_what_a_transaction_holds_is_not_counted(app: Talo, far: FarSide) -> None:
    # Given an outlet that takes what is sent, as a transaction does
    class Held:
        def take(self, messages: list[Any], publish: Any) -> bool:
            return True

        def holding(self, task_id: str) -> None: ...

    app.outlets.append(Held())
    # When a bulk send ends there, and the transaction is rolled back, then it can be sent again
    app.send_many([("any",)] * 3, key="k")
    assert app.bulk_sent("k") == 0
    app.outlets.clear()
    app.send_many([("any",)] * 3, key="k")
    assert (app.bulk_sent("k"), len(far.messages())) == (3, 3)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_group_that_ends_in_the_middle_says_how_far_it_came(app: Talo, far: FarSide, streamed: bool) -> None:
    # Given a store that fails in the third batch of a group
    broker, left = app.store.broker, iter(range(2))
    taken = broker.send

    def send(*args: Any, **kwargs: Any) -> None:
        if next(left, None) is None:
            raise PublishTimeout("away")
        taken(*args, **kwargs)

    broker.send = send  # type: ignore[method-assign]
    members = [app.signature("any", (n,)) for n in range(3_000)]
    with pytest.raises(PublishTimeout) as caught:
        group(iter(members) if streamed else members, app=app).apply_async()
    assert "2000" in caught.value.__notes__[-1]
    assert len(far.messages()) == 2_000


def test_spread_delays_each_call_by_itself_and_evenly(app: Talo, far: FarSide) -> None:
    # When many calls are spread over a minute, some of them from a later moment on
    began = time.time()
    app.send_many([("any",)] * 2_000, spread=60)
    app.send_task("moment", eta=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100), spread=10)
    app.send_task("countdown", countdown=100, spread=10)
    ended = time.time()
    due: dict[str, list[float]] = {}
    for message in app.store.broker.peek("celery", 3_000, delayed=True):
        assert message.due is not None
        due.setdefault(str(message.task), []).append(message.due)
    # Then they are due all over that time: a Kolmogorov-Smirnov test that passes by chance but once in a billion
    found = sorted((at - began) / (60 + ended - began) for at in due["any"])
    assert 0 <= found[0]
    assert found[-1] <= 1
    assert max(abs(at - n / len(found)) for n, at in enumerate(found)) < 3.3 / len(found) ** 0.5
    for name in ("moment", "countdown"):
        assert began + 100 <= due[name][0] <= ended + 110
    # And what is no number is named
    with pytest.raises(TypeError, match="spread"):
        app.send_task("any", spread="soon")


class _Slow:
    """Makes a broker that is waited for, and notes when a send begins and ends. ``failing``: the number of the send
    that fails when it is waited for."""

    def __init__(self, app: Talo, failing: int | None = None) -> None:
        self.told: list[tuple[str, int]] = []
        self.failing = failing
        app.store.broker.begin_send = self.begin  # type: ignore[method-assign]

    def begin(self, messages: Any, timeout: float) -> Callable[[], None]:
        assert messages and timeout > 0
        number = sum(word == "begin" for word, _ in self.told)
        self.told.append(("begin", number))

        def wait() -> None:
            if number == self.failing:
                raise PublishTimeout("no answer")
            self.told.append(("end", number))

        return wait


@pytest.mark.parametrize("way", ["bulk", "group", "key"])
def test_the_next_batch_is_ready_before_the_last_is_waited_for(app: Talo, way: str) -> None:
    # Given a store that takes its time, when three batches are sent
    store = _Slow(app)
    calls = [app.signature("any", (n,)) for n in range(2_500)]
    if way == "group":
        group(calls, app=app).apply_async()
    else:
        app.send_many(calls, key="k" if way == "key" else None)
    # Then two are on their way at most, and one where it is counted how many are confirmed
    ahead = [("begin", 0), ("begin", 1), ("end", 0), ("begin", 2), ("end", 1), ("end", 2)]
    assert store.told == (ahead if way != "key" else sorted(ahead, key=lambda each: each[1]))


def test_what_was_sent_behind_a_batch_that_failed_does_not_count(app: Talo) -> None:
    # Given a store that does not answer for the second of three batches
    store = _Slow(app, failing=1)
    # When they are sent, then what is told is how many were sent from the first on
    with pytest.raises(PublishTimeout) as caught:
        app.send_many([("any", (n,)) for n in range(30)], batch=10)
    assert caught.value.__notes__ == ["send_many: 10 calls had been sent before this"]
    # And the third, which had begun, is seen to its end
    assert store.told[-1] == ("end", 2)
