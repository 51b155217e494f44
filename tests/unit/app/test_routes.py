"""Where calls go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from talo import Exchange, Queue, Talo
from talo.app.routes import Queues, worker_direct
from talo.errors import ImproperlyConfigured, NotSupported, QueueNotFound
from talo.wire.queues import Broadcast
from tests.unit.app.conftest import FarSide


def route_feeds(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> Any:
    """A router as users write them."""
    return {"queue": "by-function", "priority": 2} if name.startswith("feeds.") else None


class OldRouter:
    """A router of the old kind."""

    def route_for_task(self, name: str, args: Any = None, kwargs: Any = None) -> Any:
        return "by-object" if name.startswith("feeds.") else None


FORMS: list[tuple[Any, str]] = [
    ({"feeds.get": {"queue": "q"}}, "q"),
    ({"feeds.get": "q"}, "q"),
    ({"feeds.*": {"queue": "q"}}, "q"),
    ({re.compile(r"(feeds|news)\..*"): {"queue": "q"}}, "q"),
    ({"feeds.*": "late", "feeds.get": "exact"}, "exact"),
    ([("feeds.*", {"queue": "q"}), ("*", {"queue": "rest"})], "q"),
    (([("feeds.*", "q")],), "q"),
    ([{"news.*": "n"}, {"feeds.*": "q"}], "q"),
    (route_feeds, "by-function"),
    ([route_feeds, {"*": "rest"}], "by-function"),
    (f"{__name__}:route_feeds", "by-function"),
    (f"{__name__}.OldRouter", "by-object"),
    (OldRouter(), "by-object"),
    ({"other": "q"}, "celery"),
    (None, "celery"),
]


@pytest.mark.parametrize(("routes", "queue"), FORMS)
def test_task_routes_in_every_form(app: Talo, routes: Any, queue: str) -> None:
    # Given routes in one of their forms, when a task is prepared, then it goes where they say
    app.conf.task_routes = routes
    assert app.prepare("feeds.get", (), {}, {}).queue == queue


def test_the_call_wins_over_the_task_and_the_task_over_the_routes(app: Talo, far: FarSide) -> None:
    # Given all three
    app.conf.task_routes = {"routed": {"queue": "by-route", "priority": 3}, "own": {"queue": "by-route"}}

    @app.task(name="own", queue="by-task")
    def own() -> None: ...

    # Then the nearest to the call wins, and the route's other options stay
    own.delay()
    own.apply_async(queue="by-call")
    assert far.message("by-task")
    assert far.message("by-call")
    message = app.prepare("routed", (), {}, {"queue": "by-call"})
    assert (message.queue, message.priority) == ("by-call", 3)
    assert app.prepare("routed", (), {}, {"priority": 8}).priority == 8


def test_direct_queues_are_reached_by_name_and_others_through_their_exchange(app: Talo) -> None:
    # Given a direct and a topic queue
    app.conf.task_queues = [
        Queue("plain", Exchange("plain"), routing_key="plain"),
        Queue("media", Exchange("media", type="topic"), routing_key="media.#"),
    ]

    # Then their delivery facts are Celery's
    plain = app.prepare("any", (), {}, {"queue": "plain"})
    media = app.prepare("any", (), {}, {"queue": "media", "routing_key": "media.video"})
    assert (plain.exchange, plain.routing_key) == ("", "plain")
    assert (media.exchange, media.routing_key) == ("media", "media.video")


@pytest.mark.parametrize(
    ("pattern", "key", "passes"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.#", "a.b.c", True),
        ("a.#", "a", True),
        ("#", "any.thing", True),
        ("#.z", "a.b.z", True),
        ("#.z", "z", True),
        ("a.#.z", "a.z", True),
        ("a.#.z", "a.b.c.z", True),
        ("a.#.z", "abz", False),
        ("a+b", "aab", False),
    ],
)
def test_topic_patterns_follow_amqp(app: Talo, pattern: str, key: str, passes: bool) -> None:
    # Given a queue bound by the pattern, when something is sent to the exchange, then the key decides
    app.conf.task_queues = [Queue("q", Exchange("x", type="topic"), routing_key=pattern)]
    options = {"exchange": "x", "routing_key": key}
    if passes:
        assert app.prepare("any", (), {}, options).queue == "q"
    else:
        with pytest.raises(QueueNotFound):
            app.prepare("any", (), {}, options)


def test_a_fanout_exchange_gives_every_queue_a_copy(app: Talo, far: FarSide) -> None:
    # Given two queues at a fan-out exchange
    everyone = Exchange("everyone", type="fanout")
    app.conf.task_queues = [Queue("a", everyone), Queue("b", everyone)]

    # When one call is sent to it
    app.send_task("any", exchange="everyone")

    # Then both have it
    assert [m.queue for m in far.messages("a", "b")] == ["a", "b"]


def test_missing_queues_are_made_or_refused_as_the_setting_says(app: Talo) -> None:
    # Given the default
    assert app.prepare("any", (), {}, {"queue": "new"}).queue == "new"

    # When missing queues are not to be made, then the error is typed and the default queue still works
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="new"):
        app.prepare("any", (), {}, {"queue": "new"})
    assert app.prepare("any", (), {}, {}).queue == "celery"


def test_a_broken_router_is_named(app: Talo) -> None:
    app.conf.task_routes = "nowhere.router"
    with pytest.raises(ImproperlyConfigured, match=r"nowhere\.router"):
        app.prepare("any", (), {}, {})


def test_a_worker_selects_and_excludes_queues(app: Talo) -> None:
    # Given three queues, when a worker takes some of them
    app.conf.task_queues = [Queue("a"), Queue("b"), Queue("c")]
    assert list(app.queues.consume_from) == ["a", "b", "c"]
    app.queues.deselect("b")
    assert list(app.queues.consume_from) == ["a", "c"]
    app.select_queues("a,new")

    # Then it consumes from these only, and sends still reach the others
    assert list(app.queues.consume_from) == ["a", "new"]
    assert app.prepare("any", (), {}, {"queue": "c"}).queue == "c"


def test_queues_take_names_options_and_aliases() -> None:
    # Given queues in different forms
    queues = Queues({"a": {"exchange": "x", "routing_key": "k"}, "b": {}}, max_priority=9)
    queues.add(Queue("long", alias="short"))

    # Then each is found by its names, completed by the defaults
    assert (queues["a"].exchange.name, queues["a"].routing_key) == ("x", "k")
    assert queues["short"] is queues["long"]
    assert queues["b"].max_priority == 9
    assert list(queues.consume_from) == ["a", "b", "long"]


def test_a_workers_own_queue_is_named_as_celery_names_it() -> None:
    queue = worker_direct("w1@host")
    assert (queue.name, queue.exchange.name, queue.routing_key) == ("w1@host.dq2", "C.dq2", "w1@host")


@pytest.mark.parametrize("pattern", ["shop.pay", "shop.*"])
def test_calls_of_moved_tasks_go_to_talos_queues(pattern: str) -> None:
    # Given a fleet in which one task has moved,
    app = Talo("t", broker="memory://", set_as_current=False, task_cutover=[pattern], task_routes={"shop.*": "money"})
    # When it is called, whatever chose its queue, and another one that has not,
    router = app.router
    # Then it goes to Talo's queue, once and not twice over (a retry names the queue it came from).
    assert router.route("shop.pay", {}, (), {}).queues == ("talo.money",)
    assert router.route("shop.pay", {"queue": "fast"}, (), {}).queues == ("talo.fast",)
    assert router.route("shop.pay", {"queue": "talo.fast"}, (), {}).queues == ("talo.fast",)
    assert router.route("other.task", {}, (), {}).queues == ("celery",)


def test_a_worker_of_a_moving_fleet_reads_talos_queues_only() -> None:
    app = Talo("t", broker="memory://", set_as_current=False, task_cutover=["shop.*"], task_queues=["a", "b"])
    app.router.route("shop.pay", {"queue": "c"}, (), {})
    assert list(app.queues.consume_from)[:2] == ["talo.a", "talo.b"]
    assert "a" not in app.queues.consume_from
    # And -Q means what it says.
    app.select_queues("a")
    assert list(app.queues.consume_from) == ["a"]


def test_a_broadcast_is_selected_and_excluded_by_its_alias(app: Talo) -> None:
    # Given a broadcast, whose queue has a name of its own
    queue = Broadcast("everybody")
    app.conf.task_queues = [Queue("a"), queue]
    assert list(app.queues.consume_from) == ["a", queue.name]

    # When it is selected by its alias, or excluded, then the queue itself is meant
    app.select_queues("everybody")
    assert list(app.queues.consume_from) == [queue.name]
    app.queues.deselect("everybody")
    assert list(app.queues.consume_from) == []


def test_a_broadcast_is_refused_where_its_sender_cannot_reach_the_queues_of_others(app: Talo) -> None:
    app.conf.task_queues = [Queue("celery"), Broadcast("everybody")]
    with pytest.raises(NotSupported, match="RabbitMQ"):
        app.send_task("any", queue="everybody")


def test_a_key_beside_a_direct_queue_changes_nothing_and_beside_a_topic_queue_decides(app: Talo) -> None:
    # Given two queues of a topic exchange
    news = Exchange("news", type="topic")
    app.conf.task_queues = [
        Queue("plain"),
        Queue("all", news, routing_key="news.#"),
        Queue("art", news, routing_key="#.art"),
    ]

    # Then who is named with a key names the exchange, as in Celery
    assert app.prepare("any", (), {}, {"queue": "plain", "routing_key": "other"}).queue == "plain"
    assert app.router.route("any", {"queue": "all", "routing_key": "news.art"}, (), {}).queues == ("all", "art")
    assert app.router.route("any", {"queue": "all", "routing_key": "local.art"}, (), {}).queues == ("art",)


def test_a_queue_that_is_added_to_a_new_app_stays() -> None:
    app = Talo("new", set_as_current=False)
    app.queues.add("late")
    assert "late" in app.queues
