"""What a call becomes on its way out."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from talo import Talo, group, signals
from talo.app.send import Sender
from talo.errors import AccessRefused, EncodeError, OperationalError, PublishTimeout, StoreFull, TaloWarning
from talo.execution.request import Context, enter, leave
from talo.wire.message import Message
from talo.wire.sent import SENT
from tests.unit.app.conftest import FarSide


class _Broken:
    """A store at the border of the app: its broker fails as often as it is told, and keeps what it took. ``late``: it
    fails when it is waited for."""

    def __init__(self, *failures: Exception, late: bool = False) -> None:
        self.broker = self
        self.late = late
        self.failures = list(failures)
        self.taken: list[Message] = []
        self.timeouts: list[float] = []

    def send(self, messages: Any, timeout: float) -> None:
        self.timeouts.append(timeout)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.extend(messages)

    def begin_send(self, messages: Any, timeout: float) -> Callable[[], None]:
        if self.late:
            return lambda: self.send(messages, timeout)
        self.send(messages, timeout)
        return lambda: None

    def close(self) -> None:
        self.broker = self


def test_delay_sends_the_call_to_the_default_queue(app: Talo, far: FarSide) -> None:
    # Given a task
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    # When it is sent
    result = add.delay(1, 2)

    # Then a worker finds the call under the id of the handle
    call = far.call()
    assert (call.task, call.id, call.args, call.kwargs) == (f"{__name__}.add", result.id, [1, 2], {})
    assert call.headers["root_id"] == result.id
    assert call.headers["parent_id"] is None


def test_calls_that_share_a_template_do_not_share_what_is_theirs(app: Talo, far: FarSide) -> None:
    # Given a task with options of its own
    @app.task(queue="fast", time_limit=9)
    def add(x: int) -> int:
        return x

    # When it is sent twice with nothing but arguments, and once with an option
    ids = [add.delay(1).id, add.delay(x=2).id, add.apply_async((3,), priority=7).id]

    # Then each message is complete by itself
    first, second, third = sorted(far.messages("fast"), key=lambda m: ids.index(str(m.id)))
    assert [m.headers["argsrepr"] for m in (first, second, third)] == ["(1,)", "()", "(3,)"]
    assert second.headers["kwargsrepr"] == "{'x': 2}"
    assert [m.properties["correlation_id"] for m in (first, second, third)] == ids
    assert first.headers["timelimit"] == third.headers["timelimit"] == [9, None]
    assert (first.priority, third.priority) == (0, 7)
    assert first.headers["stamps"] is not second.headers["stamps"]


def test_an_option_changed_on_the_task_holds_for_the_next_send(app: Talo, far: FarSide) -> None:
    # Given a task that was sent before
    @app.task
    def add() -> None: ...

    add.delay()
    far.message()

    # When its queue and then the app's default queue change
    add.queue = "other"
    add.delay()
    assert far.message("other").queue == "other"
    add.queue = None
    app.conf.task_default_queue = "main"
    add.delay()

    # Then the next send goes there
    assert far.message("main").routing_key == "main"


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"shadow": "nick"}, "shadow", "nick"),
        ({"group_id": "g", "group_index": 3}, "group", "g"),
        ({"group_id": "g", "group_index": 3}, "group_index", 3),
        ({"retries": 2}, "retries", 2),
        ({"time_limit": 20, "soft_time_limit": 10}, "timelimit", [20, 10]),
        ({"ignore_result": True}, "ignore_result", True),
        ({"headers": {"x": {"y": 1}}}, "x", {"y": 1}),
        ({"replaced_task_nesting": 1}, "replaced_task_nesting", 1),
        ({"stamped_headers": ["who"], "who": "me"}, "stamps", {"who": "me"}),
        ({"root_id": "r"}, "root_id", "r"),
        ({"parent_id": "p"}, "parent_id", "p"),
        ({"origin": "o", "argsrepr": "a"}, "argsrepr", "a"),
    ],
)
def test_each_option_arrives_as_its_header(
    app: Talo, far: FarSide, options: dict[str, Any], header: str, value: Any
) -> None:
    # Given a task, when it is sent with the option
    app.send_task("any", (1,), **options)

    # Then the header says so
    assert far.message().headers[header] == value


def test_properties_and_unknown_options_arrive_as_properties(app: Talo, far: FarSide) -> None:
    # Given options that are message properties, one of them unheard of
    app.send_task("any", reply_to="me", delivery_mode="transient", girder="x")

    # Then they stand among the properties
    properties = far.message().properties
    assert (properties["reply_to"], properties["delivery_mode"], properties["girder"]) == ("me", 1, "x")


def test_countdown_eta_and_expiry_become_points_in_time(app: Talo, far: FarSide) -> None:
    # Given calls that wait, by number, datetime, naive datetime and text
    now = time.time()
    app.conf.timezone = "Europe/Rome"
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    options: list[dict[str, Any]] = [
        {"countdown": 3600},
        {"eta": later},
        {"eta": later.astimezone(app.timezone).replace(tzinfo=None)},
        {"eta": later.isoformat()},
    ]
    prepared = [app.prepare("any", (), {}, each) for each in options]

    # Then all are due at that moment
    for message in prepared:
        assert message.due is not None
        assert abs(message.due - now - 3600) < 60
        assert dt.datetime.fromisoformat(message.headers["eta"]).timestamp() == pytest.approx(message.due)

    # And an expiry in seconds counts from now
    expiring = app.prepare("any", (), {}, {"expires": 10})
    assert abs(dt.datetime.fromisoformat(expiring.headers["expires"]).timestamp() - now - 10) < 60
    assert int(expiring.properties["expiration"]) == pytest.approx(10_000, abs=100)


def test_callbacks_travel_in_the_body(app: Talo, far: FarSide) -> None:
    # Given a task with a callback and an error callback
    @app.task
    def add(x: int) -> int:
        return x

    add.apply_async((1,), link=add.s(), link_error=[add.si(0)])

    # Then the call carries them as signatures
    call = far.call()
    assert call.callbacks is not None and call.errbacks is not None
    assert (call.callbacks[0]["task"], call.errbacks[0]["immutable"]) == (add.name, True)


def test_a_task_sent_by_a_task_knows_its_parent_and_root(app: Talo, far: FarSide) -> None:
    # Given a run of a task, of high priority, in a workflow
    @app.task
    def add(x: int) -> int:
        return x

    app.conf.task_inherit_parent_priority = True
    request = Context(id="me", root_id="root", called_directly=False, delivery_info={"priority": 6})
    token = enter(add, request)
    try:
        # When it sends another one
        child = add.delay(1)
        stray = add.apply_async((2,), add_to_parent=False)
    finally:
        leave(token)

    # Then parent, root and priority are inherited, and the parent knows its child
    first, second = far.messages()
    assert {m.headers["parent_id"] for m in (first, second)} == {"me"}
    assert {m.headers["root_id"] for m in (first, second)} == {"root"}
    assert first.priority == 6
    assert request.children == [child]
    assert stray not in (request.children or [])


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"z": 2}), ((1, 2), {"x": 3})],
)
def test_arguments_that_do_not_fit_are_refused_at_the_send(
    app: Talo, far: FarSide, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    # Given a function of two arguments
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    # When it is sent with others, then it is a TypeError like calling it, and nothing was sent
    with pytest.raises(TypeError, match=r"add\(\)"):
        add.apply_async(args, kwargs)
    assert far.messages() == []


def test_typing_off_and_bound_tasks_are_counted_right(app: Talo, far: FarSide) -> None:
    # Given a bound task and one that is not checked
    @app.task(bind=True)
    def bound(self: Any, x: int, *, y: int = 0) -> int:
        return x

    @app.task(typing=False)
    def loose(x: int) -> int:
        return x

    # When they are sent
    bound.delay(1, y=2)
    loose.apply_async((1, 2, 3))

    # Then self is not counted, and the unchecked call goes out
    assert len(far.messages()) == 2
    with pytest.raises(TypeError):
        bound.apply_async((1, 2))


def test_what_cannot_be_written_is_named(app: Talo, far: FarSide) -> None:
    # Given an argument that is no data, when the task is sent, then the error names the place
    @app.task
    def add(x: Any) -> Any:
        return x

    with pytest.raises(EncodeError, match=r"args\[0\]"):
        add.delay({"user": object()})
    assert far.messages() == []


def test_a_soft_limit_above_the_hard_one_is_refused(app: Talo) -> None:
    with pytest.raises(ValueError, match="soft_time_limit"):
        app.send_task("any", time_limit=1, soft_time_limit=2)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"countdown": "soon"}, TypeError), ({"eta": "soon"}, ValueError), ({"expires": []}, TypeError)],
)
def test_options_of_a_wrong_type_are_named(app: Talo, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        app.send_task("any", **options)


def test_receivers_may_change_headers_properties_and_body_before_the_send(app: Talo, far: FarSide) -> None:
    # Given a receiver that changes what is about to be sent
    seen: dict[str, Any] = {}

    def change(sender: str, body: Any, headers: Any, properties: Any, **more: Any) -> None:
        headers["trace"] = "abc"
        properties["extra"] = 1
        body[1]["y"] = 5
        seen.update(more, sender=sender)

    def told(sender: str, headers: Any, body: Any, **more: Any) -> None:
        seen["after"] = headers["id"]

    signals.before_task_publish.connect(change)
    signals.after_task_publish.connect(told)
    try:
        # When a task is sent
        result = app.send_task("any", (1,), {"y": 2}, queue="q")
    finally:
        signals.before_task_publish.disconnect(change)
        signals.after_task_publish.disconnect(told)

    # Then the changed message arrived, and receivers got every documented keyword
    message = far.message("q")
    assert message.headers["trace"] == "abc"
    assert message.properties["extra"] == 1
    assert b'"y":5' in message.body.replace(b" ", b"")
    assert seen["sender"] == "any"
    assert seen["after"] == result.id
    assert {"exchange", "routing_key", "declare", "retry_policy", "signal"} <= seen.keys()


@pytest.mark.parametrize("late", [False, True])
def test_a_lost_connection_is_tried_again_within_the_deadline(app: Talo, late: bool) -> None:
    # Given a broker that fails twice
    store = _Broken(OperationalError("gone"), OperationalError("gone"), late=late)
    app._stores._broker = store  # type: ignore[assignment]
    app.conf.task_publish_retry_policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0, "interval_max": 0}

    # When a task is sent, then it arrives, each try with no more than the time that is left
    app.send_task("any")
    assert len(store.taken) == 1
    assert store.timeouts == sorted(store.timeouts, reverse=True)
    assert store.timeouts[0] <= app.conf.publish_timeout


def test_a_broker_that_stays_away_is_a_publish_timeout(app: Talo) -> None:
    # Given a broker that fails for good
    app._stores._broker = _Broken(*[OperationalError("gone")] * 99)  # type: ignore[assignment]
    app.conf.task_publish_retry_policy = {"max_retries": 2, "interval_start": 0, "interval_step": 0, "interval_max": 0}

    # When a task is sent, then the error is the typed one, with its cause
    with pytest.raises(PublishTimeout) as caught:
        app.send_task("any")
    assert isinstance(caught.value.__cause__, OperationalError)


def test_without_retry_or_with_a_full_store_there_is_one_try(app: Talo) -> None:
    # Given a broker that fails once, and one that is full
    lost, full = _Broken(OperationalError("gone")), _Broken(StoreFull("disk"))

    # When a task is sent without retry, then the first failure counts
    app._stores._broker = lost  # type: ignore[assignment]
    with pytest.raises(PublishTimeout):
        app.send_task("any", retry=False)
    assert len(lost.timeouts) == 1

    # And a full store is not asked again
    app._stores._broker = full  # type: ignore[assignment]
    with pytest.raises(StoreFull):
        app.send_task("any")
    assert len(full.timeouts) == 1


def test_send_many_takes_calls_in_every_form_and_keeps_their_order(app: Talo, far: FarSide) -> None:
    # Given tasks, names, tuples and signatures
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    calls = [
        (add, (1,)),
        add.s(2),
        ("foreign", (3,)),
        (add.name, (4,), {"y": 1}, {"priority": 3}),
        app.signature("far"),
    ]

    # When they are sent in bulk, in small batches
    results = app.send_many(iter(calls), batch=2)

    # Then all are there, under the ids of the results
    messages = {m.id: m for m in far.messages()}
    assert [messages[r.id].task for r in results] == [add.name, add.name, "foreign", add.name, "far"]
    assert messages[results[3].id].priority == 3


def test_common_options_of_send_many_hold_where_neither_task_nor_call_says_otherwise(app: Talo, far: FarSide) -> None:
    # Given a task with an option of its own, and one without
    @app.task(priority=3)
    def own() -> None: ...

    @app.task
    def plain() -> None: ...

    # When calls of every kind are sent with common options
    results = app.send_many(
        [(own,), (plain,), ("stranger",), (plain, (), {}, {"priority": 9}), plain.s().set(priority=8), plain.s()],
        priority=5,
        ignore_result=True,
    )

    # Then each message has what is nearest to it
    found = {message.id: message for message in far.messages()}
    messages = [found[result.id] for result in results]
    assert [message.priority for message in messages] == [3, 5, 5, 9, 8, 5]
    assert all(message.headers["ignore_result"] for message in messages)
    assert all(result.ignored for result in results)


def test_send_many_looks_at_the_settings_again_with_each_batch(app: Talo, far: FarSide) -> None:
    # Given calls on whose way the settings and the task change
    @app.task
    def add(n: int) -> None: ...

    def calls() -> Iterator[Any]:
        yield from ((add, (n,)) for n in range(2))
        app.conf.task_default_queue = "second"
        yield from ((add, (n,)) for n in range(2))
        add.queue = "third"
        yield from ((add, (n,)) for n in range(2))

    # When
    app.send_many(calls(), batch=2)

    # Then each batch goes where it should by then
    assert [len(far.messages(queue)) for queue in ("celery", "second", "third")] == [2, 2, 2]


def test_a_receiver_changes_the_message_that_it_gets_and_no_other(app: Talo, far: FarSide) -> None:
    # Given calls that are alike, and a receiver that counts them in their messages
    seen = 0

    def count(headers: dict[str, Any], properties: dict[str, Any], **_: Any) -> None:
        nonlocal seen
        seen += 1
        headers["stamps"][f"n{seen}"] = properties["n"] = seen

    signals.before_task_publish.connect(count)
    try:
        app.send_many([("any",)] * 3)
    finally:
        signals.before_task_publish.disconnect(count)
    app.send_task("any")

    # Then each message shows its own number, and the next, after the receiver has gone, none
    messages = far.messages()
    assert [message.headers["stamps"] for message in messages] == [{"n1": 1}, {"n2": 2}, {"n3": 3}, {}]
    assert [message.properties.get("n") for message in messages] == [1, 2, 3, None]


def test_routers_that_decide_by_arguments_are_asked_for_every_call(app: Talo, far: FarSide) -> None:
    # Given a router that looks at the arguments
    app.conf.task_routes = (lambda name, args, kwargs, options, task=None: {"queue": args[0]},)

    # When calls that are alike in everything else are sent
    app.send_many([("any", ("a",)), ("any", ("b",))])

    # Then each goes its way
    assert [len(far.messages(queue)) for queue in ("a", "b")] == [1, 1]


def test_send_many_reads_a_generator_as_it_sends(app: Talo) -> None:
    # Given a generator that looks at what was sent so far
    store = _Broken()
    app._stores._broker = store  # type: ignore[assignment]
    sent_before: list[int] = []

    def calls() -> Any:
        for n in range(25):
            sent_before.append(len(store.taken))
            yield ("any", (n,))

    # When it is sent in batches of ten, then it was never read far ahead
    app.send_many(calls(), batch=10)
    assert sent_before[9:12] == [0, 10, 10]
    assert len(store.taken) == 25


def test_send_many_says_how_much_was_sent_before_an_error(app: Talo, far: FarSide) -> None:
    # Given a bad call behind good ones, when they are sent, then the error tells what had gone out
    calls = [("any", (n,)) for n in range(4)] + [("any", (object(),))]
    with pytest.raises(EncodeError) as caught:
        app.send_many(calls, batch=3)
    assert "3 calls" in caught.value.__notes__[0]
    assert len(far.messages()) == 3


def test_eager_mode_runs_instead_of_sending_but_not_for_names(app: Talo, far: FarSide) -> None:
    # Given an app that runs its tasks itself
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    app.conf.task_always_eager = True

    # When tasks are called, then they have run
    assert add.delay(1, 2).get() == 3
    assert add.s(1).delay(5).get() == 6
    assert [r.get() for r in app.send_many([(add, (1, 1))])] == [2]
    assert far.messages() == []

    # And what is sent by name is sent, with a warning
    with pytest.warns(TaloWarning):
        app.send_task(add.name, (1, 2))
    assert len(far.messages()) == 1


def test_apply_async_goes_through_send_task_of_the_app() -> None:
    # Given an app class that overrides send_task, as plug-ins do
    class Tenant(Talo):
        def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            return super().send_task(name, args, kwargs, headers={"tenant": "a"}, **options)

    with Tenant("t", broker="memory://tenant", set_as_current=False) as tenant:

        @tenant.task
        def add(x: int) -> int:
            return x

        # When a task is sent by any of its forms, then the override had its say
        add.delay(1)
        add.apply_async((1,), countdown=0)
        add.s(1).delay()
        assert [m.headers["tenant"] for m in FarSide(tenant).messages()] == ["a"] * 3


def test_the_message_is_prepared_without_being_sent(app: Talo, far: FarSide) -> None:
    # Given a task with options of its own, when a follow-up of it is prepared
    @app.task(queue="own", priority=4)
    def add(x: int) -> int:
        return x

    message = app.env.prepare(add.name, [1], {}, {"task_id": "next", "chain": [], "parent_id": "me"})

    # Then it is routed as a send would route it, and nothing has gone out
    assert (message.queue, message.priority, message.id) == ("own", 4, "next")
    assert message.headers["parent_id"] == "me"
    assert far.messages("own") == []
    assert isinstance(app._sender, Sender)


@pytest.mark.promise("B01")
def test_a_store_that_lets_nobody_in_is_told_at_once(app: Talo, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a store that refuses the password, however often it is asked
    refusal = AccessRefused("redis://host wants another password")
    broken = _Broken(*[refusal] * 5)
    monkeypatch.setattr(type(app), "store", broken)
    # Then the send fails with its one kind of error, and does not knock again
    with pytest.raises(PublishTimeout, match="another password") as caught:
        app.send_task("x")
    assert caught.value.__cause__ is refusal
    assert len(broken.timeouts) == 1


@pytest.mark.promise("B08")
def test_large_arguments_are_said(app: Talo, caplog: pytest.LogCaptureFixture) -> None:
    app.conf.task_soft_size_limit = 1000
    app.send_task("small", ("x",))
    assert not caplog.records
    app.send_task("large", ("x" * 2000,))
    [record] = caplog.records
    assert "large" in record.getMessage() and "1000" in record.getMessage()


def test_members_of_a_group_are_alike_but_for_their_places(app: Talo, far: FarSide) -> None:
    # Given a member whose message is filled into a form, and one that is written by itself, for an option of its own
    member = app.signature("t.add", (1, 2), queue="q", priority=3)
    alone = member.clone().set(retries=0)
    # When both are sent
    result = group(member, alone, app=app).apply_async()
    # Then they differ in nothing else
    filled, written = far.messages("q")
    for index, message in enumerate((filled, written)):
        assert message.headers.pop("id") == message.headers.pop("root_id") == result.results[index].id
        assert message.properties.pop("correlation_id") == result.results[index].id
        assert message.headers.pop("group") == result.id
        assert message.headers.pop("group_index") == index
        assert message.headers.pop(SENT) > 0
        message.properties.pop("delivery_tag", None)
    assert filled == written
