"""A broker that shows nothing, with a ledger beside it: what is known of each task, and what is left when somebody dies
between two steps."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from talo.app.app import Talo
from talo.control.history import explain
from talo.errors import ImproperlyConfigured, PublishTimeout, StoreUnavailable
from talo.stores.base import Lease, Store, Verdict
from talo.stores.delays import Delays
from talo.stores.ledger import Entry, Holder, Ledger
from talo.stores.noted import NotedBroker
from talo.stores.url import open_store
from talo.testing.contract._support import bodies, death, document, end, message
from talo.wire.message import Message
from tests.workers import client

_serial = itertools.count()


class Away:
    """What stands between a caller and an object, and is away while it is told so."""

    def __init__(self, of: Any, *verbs: str) -> None:
        self.now = False
        self.calls: list[str] = []
        for verb in verbs:
            setattr(of, verb, self._through(verb, getattr(of, verb)))

    def _through(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def through(*arguments: Any, **options: Any) -> Any:
            self.calls.append(verb)
            if self.now:
                raise StoreUnavailable("away")
            return call(*arguments, **options)

        return through


@pytest.fixture
def store() -> Iterator[Store]:
    """What keeps the messages; it shows nothing to whoever goes by the ledger."""
    store = open_store(f"memory://noted-{next(_serial)}")
    yield store
    store.close()


@pytest.fixture
def beside() -> Iterator[Store]:
    store = open_store(f"memory://noted-{next(_serial)}")
    yield store
    store.close()


@pytest.fixture
def ledger(beside: Store) -> Ledger:
    assert beside.ledger is not None
    return beside.ledger


@pytest.fixture
def broker(store: Store, ledger: Ledger) -> NotedBroker:
    broker = NotedBroker(store, ledger, lambda queue: queue == "everybody")
    broker.open("me", worker="w@host", slots=1, lease=60)
    return broker


def place(broker: NotedBroker, task_id: str) -> str:
    """Where the ledger has a task."""
    found = broker.find(task_id, 1)
    if found.message is None:
        return f"{found.beyond} others"
    if found.holder is not None:
        return f"held by {found.holder.worker}"
    return "ready" if found.message.due is None else "delayed"


def places(broker: NotedBroker, *task_ids: str) -> list[str]:
    return [place(broker, each) for each in task_ids]


# -- from its sending to its end --------------------------------------------------------------------------------------


def test_a_task_is_known_from_its_sending_to_its_end(broker: NotedBroker) -> None:
    broker.send([message(id="a"), message(id="b"), message(id="later", due=time.time() + 60)])
    assert places(broker, "a", "b", "later", "unknown") == ["ready", "ready", "delayed", "0 others"]
    [first, second] = broker.turn([], "me", ["q"], 10).deliveries
    assert places(broker, "a", "b", "later") == ["held by w@host", "held by w@host", "delayed"]
    broker.turn([end(first)], "me", ["q"], 0)
    assert places(broker, "a", "b") == ["0 others", "held by w@host"]
    broker.settle([end(second, Verdict.DEAD, death=death(second))])
    assert places(broker, "b", "later") == ["0 others", "delayed"]


def test_what_goes_back_waits_again(broker: NotedBroker) -> None:
    broker.send([message(id="a"), message(id="b")])
    [first, second] = broker.turn([], "me", ["q"], 10).deliveries
    broker.settle([end(first, Verdict.AGAIN), end(second, Verdict.AGAIN, delay=60)])
    assert places(broker, "a", "b") == ["ready", "delayed"]


def test_what_follows_is_known_before_its_forerunner_has_ended(broker: NotedBroker, store: Store) -> None:
    broker.send([message(id="a")])
    [delivery] = broker.fetch("me", ["q"], 10).deliveries
    away = Away(store.broker, "settle")
    away.now = True
    with pytest.raises(StoreUnavailable):
        broker.settle([end(delivery, follow=[message(id="next")])])
    assert places(broker, "a", "next") == ["held by w@host", "ready"]


def test_a_retry_fetched_by_the_turn_that_ends_its_attempt_is_held(broker: NotedBroker) -> None:
    broker.send([message(id="a")])
    [delivery] = broker.turn([], "me", ["q"], 10).deliveries
    turn = broker.turn([end(delivery, follow=[message(id="a", body="again")])], "me", ["q"], 10)
    assert bodies(turn) == ["again"]
    assert place(broker, "a") == "held by w@host"
    broker.turn([end(turn.deliveries[0])], "me", ["q"], 0)
    assert place(broker, "a") == "0 others"


def test_who_takes_over_has_it(broker: NotedBroker) -> None:
    broker.send([message(id="a")])
    broker.turn([], "me", ["q"], 10)
    broker.open("other", worker="v@host", slots=1, lease=60)
    [taken] = broker.take_over("me", "other", 10, expired=False)
    assert place(broker, "a") == "held by v@host"
    broker.settle([end(taken)])
    assert place(broker, "a") == "0 others"


def test_dead_letters_come_back_by_replay_and_a_refused_replay_leaves_nothing(broker: NotedBroker) -> None:
    broker.send([message(id="a")])
    [delivery] = broker.turn([], "me", ["q"], 10).deliveries
    broker.settle([end(delivery, Verdict.DEAD, death=death(delivery))])
    [letter] = broker.dead()
    assert broker.dead_replace([letter.id, "unknown"], [message(id="b")]) == 0
    assert place(broker, "b") == "0 others"
    assert broker.dead_replace([letter.id], [message(id="b")]) == 1
    assert place(broker, "b") == "ready"


def test_what_is_purged_is_struck_out(broker: NotedBroker) -> None:
    broker.send([message(id="a"), message(id="later", due=time.time() + 60), message("other", id="b")])
    assert broker.purge(["q"]) == 2
    assert places(broker, "a", "later", "b") == ["0 others", "0 others", "ready"]


def test_what_is_rescheduled_is_known_with_its_new_time(broker: NotedBroker) -> None:
    broker.send([message(id="a"), message(id="b", due=time.time() + 60)])
    assert broker.reschedule(["a", "b", "unknown"], due := time.time() + 500) == {"a", "b"}
    assert [each.due for each in broker.peek("q", 10, delayed=True)] == [pytest.approx(due, abs=1)] * 2
    broker.reschedule(["a"], time.time())
    assert places(broker, "a", "b") == ["ready", "delayed"]


def test_delayed_tasks_in_the_other_store_are_known(broker: NotedBroker, beside: Store) -> None:
    delays = Delays(beside, "amqp://here", broker)
    delays.send([message(id="a", due=time.time() + 60), message(id="b")])
    assert places(broker, "a", "b") == ["delayed", "ready"]
    assert delays.reschedule(["a"], time.time()) == {"a"}
    assert places(broker, "a", "b") == ["ready", "ready"]
    # A store that takes nothing leaves nothing.
    away = Away(beside.broker, "send")
    away.now = True
    with pytest.raises(StoreUnavailable):
        delays.send([message(id="c", due=time.time() + 60)])
    assert place(broker, "c") == "0 others"


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_the_oldest_is_the_first_that_the_broker_still_has(broker: NotedBroker, store: Store) -> None:
    now = time.time()
    broker.send([_sent("a", now - 50), _sent("b", now - 40), _sent("c", now - 30)])
    [numbers] = broker.stats(["q"])
    assert (numbers.ready, numbers.oldest) == (3, pytest.approx(50, abs=20))
    assert numbers.oldest is not None
    # Given that somebody who writes no ledger has taken the first
    store.broker.open("stranger", worker="x", slots=1, lease=60)
    store.broker.fetch("stranger", ["q"], 1)
    [after] = broker.stats(["q"])
    assert after.oldest is not None
    assert after.ready == 2
    assert after.oldest < numbers.oldest - 5
    # and then all
    store.broker.fetch("stranger", ["q"], 10)
    assert broker.stats(["q"])[0].oldest is None


def _sent(task_id: str, at: float) -> Message:
    found = message(id=task_id)
    found.headers["talo-sent"] = at
    return found


def test_what_waits_is_listed_in_its_order(broker: NotedBroker) -> None:
    now = time.time()
    broker.send([_sent("b-2", now - 10), _sent("a-1", now - 20), _sent("c-3", now)])
    assert [each.id for each in broker.peek("q", 2)] == ["a-1", "b-2"]
    assert [each.id for each in broker.peek("q", 2, 2)] == ["c-3"]
    assert [each.id for each in broker.peek("q", 9, about="b-2")] == ["b-2"]
    broker.send([message("p", id="y", due=now + 90), message("q", id="x", due=now + 80)])
    assert [each.id for each in broker.peek(None, 9, delayed=True)] == ["x", "y"]
    assert [each.id for each in broker.peek(None, 1, 1, delayed=True)] == ["y"]
    assert broker.find("c-3", 1).ahead == 2


def test_what_others_send_is_counted_until_it_is_fetched(broker: NotedBroker, store: Store) -> None:
    store.broker.send([message(id="foreign"), message(id="later", due=time.time() + 60)])
    broker.send([message(id="own")])
    assert places(broker, "foreign", "own") == ["2 others", "ready"]
    held = broker.turn([], "me", ["q"], 10).deliveries
    assert places(broker, "foreign", "later") == ["held by w@host", "1 others"]
    broker.settle([end(each) for each in held])
    assert places(broker, "foreign", "own") == ["1 others", "1 others"]


def test_what_every_worker_gets_a_copy_of_is_known_when_it_is_fetched(broker: NotedBroker) -> None:
    broker.send([message("everybody", id="a")])
    assert place(broker, "a") == "1 others"
    [delivery] = broker.turn([], "me", ["everybody"], 1).deliveries
    assert place(broker, "a") == "held by w@host"
    broker.settle([end(delivery)])
    assert place(broker, "a") == "0 others"


def test_an_id_that_no_database_takes_for_a_key_is_not_noted(broker: NotedBroker) -> None:
    # Given one that is short in letters and long in bytes
    broker.send([message(id="é" * 200)])
    assert place(broker, "é" * 200) == "1 others"
    # When it is fetched, then nobody is told to have it
    [delivery] = broker.turn([], "me", ["q"], 1).deliveries
    assert place(broker, "é" * 200) == "0 others"
    broker.settle([end(delivery)])


def test_brokers_with_one_ledger_keep_apart(broker: NotedBroker, ledger: Ledger) -> None:
    elsewhere = open_store(f"memory://noted-{next(_serial)}")
    other = NotedBroker(elsewhere, ledger, lambda _: False)
    broker.send([message(id="a")])
    assert place(other, "a") == "0 others"
    assert other.peek("q", 10) == []
    assert [each.oldest for each in other.stats(["q"])] == [None]
    elsewhere.close()


# -- who is away, or dies ---------------------------------------------------------------------------------------------


def test_what_cannot_be_entered_is_not_sent(broker: NotedBroker, ledger: Ledger, store: Store) -> None:
    away = Away(ledger, "enter")
    away.now = True
    with pytest.raises(StoreUnavailable):
        broker.send([message(id="a")])
    with pytest.raises(PublishTimeout):
        broker.send([message(id="a")], timeout=0.0)
    assert store.broker.stats() == []


@pytest.mark.parametrize("step", ["begin_send", "finish"])
def test_what_could_not_be_sent_is_struck_out(broker: NotedBroker, store: Store, step: str) -> None:
    def fail() -> None:
        raise StoreUnavailable("away")

    def begin(messages: Sequence[Message], *, timeout: float | None = None) -> Callable[[], None]:
        del messages, timeout
        return fail if step == "finish" else fail()  # type: ignore[func-returns-value]

    store.broker.begin_send = begin  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        broker.begin_send([message(id="a")])()
    assert place(broker, "a") == "0 others"


def test_a_turn_goes_on_while_the_ledger_is_away_and_tells_it_later(broker: NotedBroker, ledger: Ledger) -> None:
    broker.send([message(id="a"), message(id="b")])
    [first] = broker.turn([], "me", ["q"], 1).deliveries
    away = Away(ledger, "mark")
    away.now = True
    [second] = broker.turn([end(first)], "me", ["q"], 1).deliveries
    assert places(broker, "a", "b") == ["held by w@host", "ready"]
    # It is back: the next turn strikes out what had ended, although it brings nothing
    away.now = False
    broker.turn([], "me", ["q"], 1)
    assert places(broker, "a", "b") == ["0 others", "ready"]
    broker.turn([end(second)], "me", ["q"], 0)


@pytest.fixture
def app(store: Store, broker: NotedBroker) -> Iterator[Talo]:
    with client("memory://", None) as app:
        store.broker = broker
        store.features = msgspec.structs.replace(store.features, peek=True, ledger=True)
        app.use_store(store)
        yield app


def told(app: Talo, task_id: str) -> list[str]:
    return [reason.code for reason in explain(app, task_id).reasons if reason.code not in ("no_worker", "no_consumer")]


def _entered(broker: NotedBroker, task_id: str, sent: float) -> Entry:
    """What the death of a sender leaves that had entered a message, and not yet sent it."""
    [entry] = broker._entries([_sent(task_id, sent)])
    broker._ledger.enter([entry])
    return entry


def test_what_its_sender_died_over_is_no_waiting_task(app: Talo, broker: NotedBroker) -> None:
    _entered(broker, "a", time.time() - 100)
    assert told(app, "a") == ["unseen"]
    # It is told so as soon as a broker's count can be believed.
    _entered(broker, "b", time.time())
    assert told(app, "b") == ["waiting"]


def test_what_ended_when_its_worker_died_has_ended(
    app: Talo, broker: NotedBroker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talo.control.history.SILENCE", 0.1)
    # Given a worker that died over a task
    sent = time.time() - 100
    entry = _entered(broker, "a", sent)
    broker._ledger.mark([], [(entry, Holder(Lease("gone", 1), "gone@host", sent))])
    assert told(app, "a") == ["lost"]
    # When it had ended, and was not struck out, Then it is not lost
    store.results.store([_result("a", sent + 50)])
    assert told(app, "a") == ["ended"]


def test_what_ended_and_was_not_struck_out_has_ended(app: Talo, broker: NotedBroker, store: Store) -> None:
    sent = time.time() - 100
    _entered(broker, "a", sent)
    store.results.store([_result("a", sent - 50)])
    assert told(app, "a") == ["unseen"]  # that was another run
    store.results.store([_result("a", sent + 50)])
    assert told(app, "a") == ["ended"]


def _result(task_id: str, done: float) -> Any:
    meta = document(task_id)
    payload = msgspec.json.decode(meta.payload)
    payload["date_done"] = dt.datetime.fromtimestamp(done, dt.UTC).isoformat()
    meta.payload = msgspec.json.encode(payload)
    return meta


# -- the setting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("results", [None, "rpc://", "disabled://"])
def test_without_a_store_that_keeps_it_a_ledger_is_refused(results: str | None) -> None:
    app = client("amqp://localhost", results, broker_ledger=True)
    for _ in range(2):
        with app, pytest.raises(ImproperlyConfigured, match="broker_ledger"):
            app.send_task("any")


def test_a_broker_that_shows_what_waits_needs_none() -> None:
    with client("memory://", None, broker_ledger=True) as app:
        app.send_task("any")
        assert not isinstance(app.store.broker, NotedBroker)
        assert not app.store.features.ledger
