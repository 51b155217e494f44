"""What RabbitMQ refuses is said in one line, with its mend and without a password; what it declares is what Celery
declares."""

from __future__ import annotations

import socket
import time

import pytest

from talo import Talo
from talo.errors import AccessRefused, ImproperlyConfigured, MessageTooLarge, NotSupported, PublishTimeout, StoreError
from talo.stores.base import Store
from talo.stores.rabbitmq import RabbitStore, publishing
from talo.testing.contract._support import bodies, message
from talo.wire.message import Message
from talo.wire.queues import Broadcast, Exchange, Queue
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitServer
from tests.support import eventually


def _one_line(error: BaseException, *words: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert "secret" not in text and "guest:guest" not in text
    for word in words:
        assert word in text


def _through(exchange: str, key: str, queue: str, body: str) -> Message:
    """A message as the routes name it for one of the queues of an exchange; all copies have one id."""
    sent = message(queue, body, id=f"id of {body}", exchange=exchange)
    sent.routing_key = key
    return sent


def _fetch(store: Store, queue: str, owner: str = "me") -> list[str]:
    store.broker.open(owner, worker="w", slots=1, lease=30)
    found = store.broker.turn([], owner, [queue], 10)
    assert found.deliveries
    return bodies(found)


def test_a_wrong_password_is_said(rabbit_server: RabbitServer) -> None:
    store = RabbitStore(rabbit_server.url_of(password="secret"))
    with pytest.raises(AccessRefused) as caught:
        store.ping(5)
    _one_line(caught.value, "user name and password")


def test_a_missing_virtual_host_is_said(rabbit_server: RabbitServer) -> None:
    with pytest.raises(AccessRefused) as caught:
        RabbitStore(rabbit_server.url_of("nowhere")).ping(5)
    _one_line(caught.value, "add_vhost")


def test_a_missing_privilege_is_said(rabbit_server: RabbitServer) -> None:
    vhost = rabbit_server.new_vhost()
    rabbit_server.eval(
        'rabbit_auth_backend_internal:add_user(<<"poor">>, <<"secret">>, <<"t">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"poor">>, <<"{vhost}">>, <<"">>, <<"">>, <<"">>, <<"t">>).'
    )
    store = RabbitStore(rabbit_server.url_of(vhost, user="poor", password="secret"))
    with pytest.raises(AccessRefused) as caught:
        store.broker.send([message()])
    _one_line(caught.value, "set_permissions")
    store.close()


def test_an_exchange_with_other_arguments_is_said(rabbit_url: str) -> None:
    first = RabbitStore(rabbit_url, queues=lambda: {"q": Queue("q", Exchange("q", "topic"), "q")})
    first.broker.send([message()])
    second = RabbitStore(rabbit_url)
    with pytest.raises(ImproperlyConfigured) as caught:
        second.broker.send([message()])
    _one_line(caught.value, "exchange 'q'", "delete it")
    first.close()
    second.close()


@pytest.mark.promise("B07")
def test_an_existing_classic_queue_is_used_as_it_is(rabbit_url: str) -> None:
    classic, quorum = RabbitStore(rabbit_url, queue_type="classic"), RabbitStore(rabbit_url)
    classic.broker.send([message(body="1")])
    quorum.broker.send([message(body="2")])
    assert _fetch(quorum, "q") == ["1", "2"]
    classic.close()
    quorum.close()


@pytest.mark.promise("B07")
def test_new_queues_are_quorum_queues(rabbit_server: RabbitServer) -> None:
    vhost = rabbit_server.new_vhost()
    store = RabbitStore(rabbit_server.url_of(vhost))
    store.broker.send([message("fresh"), message("fresh", due=time.time() + 60)])
    listed = rabbit_server.ctl("list_queues", "-p", vhost, "name", "type", "--no-table-headers").splitlines()
    kinds = dict(line.split("\t") for line in listed)
    assert kinds["fresh"] == "quorum"
    assert {kinds[f"celery_delayed_{level}"] for level in range(28)} == {"quorum"}
    store.close()


def test_levels_of_delay_that_somebody_has_made_otherwise_are_used_as_they_are(rabbit_server: RabbitServer) -> None:
    # Given some of the levels, as another setting makes them
    vhost = rabbit_server.new_vhost()
    store = RabbitStore(rabbit_server.url_of(vhost))
    with store._client.using(store._client.deadline()) as connection:
        for level in (0, 3):
            connection.channel(store._client.deadline()).declare_queue(
                f"celery_delayed_{level}", store._client.deadline(), arguments=_classic(level)
            )
    # When messages are delayed by them
    store.broker.send([message("late", due=time.time() + 0.9), message("late", due=time.time() + 14.9)])

    # Then one waits where the highest bit of its delay says, and the other comes
    def come() -> None:
        listed = rabbit_server.ctl("list_queues", "-p", vhost, "name", "type", "messages", "--no-table-headers")
        found = {name: (kind, int(count)) for name, kind, count in map(str.split, listed.splitlines())}
        assert len([name for name in found if name.startswith("celery_delayed_")]) == 28
        assert found["celery_delayed_3"] == ("classic", 1)
        assert found["celery_delayed_4"] == ("quorum", 0)
        assert found["late"] == ("quorum", 1)

    eventually(come)
    store.close()


def _classic(level: int) -> dict[str, object]:
    return {
        "x-overflow": "reject-publish",
        "x-message-ttl": 2**level * 1000,
        "x-dead-letter-exchange": f"celery_delayed_{level - 1}" if level else "celery_delayed_delivery",
    }


def test_priorities_that_a_queue_does_not_know_are_named_once(
    rabbit_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = RabbitStore(rabbit_url, queues=lambda: {"ordered": Queue("ordered", max_priority=9)})
    store.broker.send([message("plain"), message("ordered", priority=9)])
    assert caplog.text == ""
    # When priorities are asked for of a quorum queue, then it is said once, with the queue's name and the mend
    for _ in range(2):
        store.broker.send([message("urgent", priority=9), message("plain")])
    [said] = caplog.messages
    assert "Queue urgent knows no priorities" in said and "max_priority=9" in said
    store.close()


def test_a_message_above_the_limit_is_refused_with_both_sizes(
    rabbit_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "MAX_MESSAGE", 1000)
    store = RabbitStore(rabbit_url)
    with pytest.raises(MessageTooLarge) as caught:
        store.broker.send([message(body="small"), message(body="x" * 1001)])
    assert (caught.value.size, caught.value.limit) == (1001, 1000)
    # And nothing of the batch was sent
    assert [each.ready for each in store.broker.stats(["q"])] == [0]
    store.close()


def test_a_message_that_no_queue_takes_is_an_error(rabbit_url: str) -> None:
    store = RabbitStore(rabbit_url, queues=lambda: {"q": Queue("q", Exchange("t", "topic"), "a.*")})
    with pytest.raises(StoreError, match="no queue takes"):
        store.broker.send([_through("t", "b", "q", "lost")])
    store.close()


def test_a_queue_that_was_deleted_is_made_again(rabbit_url: str) -> None:
    store, other = RabbitStore(rabbit_url), RabbitStore(rabbit_url)
    store.broker.send([message()])
    with other._client.using(other._client.deadline()) as connection:
        connection.channel(other._client.deadline()).delete_queue("q", other._client.deadline())
    store.broker.send([message(body="again")])
    assert _fetch(store, "q") == ["again"]
    store.close()
    other.close()


def test_a_delay_beyond_the_levels_is_refused(rabbit_url: str) -> None:
    store = RabbitStore(rabbit_url)
    with pytest.raises(NotSupported, match="268435455"):
        store.broker.send([message(due=time.time() + 2**28)])
    store.close()


def test_topic_and_fanout_reach_whoever_is_bound_once(rabbit_url: str) -> None:
    # Given two queues of a topic exchange and a broadcast of two workers
    topic = Exchange("news", "topic")
    queues = {
        "all": Queue("all", topic, "news.#"),
        "sport": Queue("sport", topic, "news.sport"),
        "b1": Broadcast("everybody", queue="b1"),
        "b2": Broadcast("everybody", queue="b2"),
    }
    store = RabbitStore(rabbit_url, queues=lambda: queues)
    for name in queues:
        store.broker.open(name, worker="w", slots=1, lease=30)
        store.broker.turn([], name, [name], 1)
    # When the routes name a copy for each
    store.broker.send([_through("news", "news.weather", "all", "weather")])
    store.broker.send([_through("news", "news.sport", name, "sport") for name in ("all", "sport")])
    store.broker.send([_through("everybody", "everybody", name, "hello") for name in ("b1", "b2")])
    # Then each queue has one of each that its key takes
    expected = {"all": ["weather", "sport"], "sport": ["sport"], "b1": ["hello"], "b2": ["hello"]}
    found: dict[str, list[str]] = {name: [] for name in queues}

    def all_came() -> None:
        for name in queues:
            found[name] += bodies(store.broker.turn([], name, [name], 10))
        assert found == expected

    eventually(all_came)
    store.close()


def test_the_next_host_is_tried_when_one_does_not_answer(rabbit_server: RabbitServer) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        nobody = deaf.getsockname()[1]
        vhost = rabbit_server.new_vhost()
        urls = ";".join([rabbit_server.url_of(vhost, port=nobody), rabbit_server.url_of(vhost)])
        store = RabbitStore(urls)
        store.broker.send([message(body="came")])
        assert _fetch(store, "q") == ["came"]
        store.close()


@pytest.mark.parametrize("mode", ["refuse", "black_hole"])
def test_a_send_ends_in_time_when_the_broker_does_not_answer(
    rabbit_server: RabbitServer,
    mode: str,
) -> None:
    with Proxy("127.0.0.1", rabbit_server.port) as proxy:
        url = rabbit_server.url_of(rabbit_server.new_vhost(), port=proxy.port)
        with Talo("client", broker=url, backend="disabled://", set_as_current=False, publish_timeout=1.0) as app:
            app.send_task("any")
            getattr(proxy, mode)()
            began = time.monotonic()
            with pytest.raises(PublishTimeout):
                app.send_task("any")
            assert time.monotonic() - began < 4
            proxy.pass_on()
            eventually(lambda: app.send_task("any"), timeout=10)


def test_groups_without_a_store_that_counts_are_refused_by_name(rabbit_url: str) -> None:
    with Talo("client", broker=rabbit_url, backend="rpc://", set_as_current=False) as app:
        with pytest.raises(NotSupported, match="result_backend"):
            app.backend.add_parts([])
