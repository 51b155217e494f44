"""A group of very many members, given as a generator, is sent without being held in memory."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from talo import Talo, chain, chord, group
from talo.canvas.members import AT_ONCE
from talo.wire.serializers import JSON

MANY = AT_ONCE + 500


@pytest.fixture
def app(tmp_path: Any) -> Iterator[Talo]:
    with Talo("many", broker=f"sqlite:///{tmp_path}/t.sqlite3?synchronous=NORMAL", set_as_current=False) as app:

        @app.task(name="f")
        def f(*args: Any) -> Any:
            return args

        yield app


def calls(app: Talo, count: int) -> Iterator[Any]:
    return (app.signature("f", (n,)) for n in range(count))


def ready(app: Talo) -> int:
    return sum(queue.ready for queue in app.store.broker.stats())


@pytest.mark.parametrize(
    "count",
    [
        30_000,
        pytest.param(100_000, marks=pytest.mark.soak),
        pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_the_memory_of_a_group_from_a_generator_is_that_of_its_result_handles(app: Talo, count: int) -> None:
    if count >= 100_000 and not os.environ.get("TALO_SOAK"):
        pytest.skip("a soak")
    # Given an eye on memory
    group(calls(app, 10), app=app).apply_async()
    tracemalloc.start()
    try:
        # When a group of very many is sent
        result = group(calls(app, count), app=app).apply_async()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Then all of it is in the queue, and what is left here is an id for each member
    assert len(result) == count
    assert ready(app) == count + 10
    assert kept < 300 * count
    # Beside the ids there were the members that a group reads at once, and one batch of messages.
    assert peak < 300 * count + 2_500 * AT_ONCE


def test_members_that_were_streamed_are_the_same_as_others(app: Talo) -> None:
    # Given a group of many with options, arguments still to come, and members of every kind
    def mixed() -> Iterator[Any]:
        yield group(app.signature("f", (1,)), app.signature("f", (2,)))
        yield chain(app.signature("f", (3,)), app.signature("f"))
        yield chord([app.signature("f", (4,))], app.signature("f"))
        yield from calls(app, MANY)

    result = group(mixed(), app=app).apply_async(("first",), queue="q", headers={"trace": "x"})
    # Then each has its place, its arguments and its options
    broker = app.store.broker
    broker.open("me", worker="w", slots=1, lease=60)
    messages = [each.message for each in broker.turn([], "me", ["q"], 5).deliveries]
    bodies = [json.loads(message.body)[0] for message in messages if message is not None]
    assert bodies == [["first", 1], ["first", 2], ["first", 3], ["first", 4], ["first", 0]]
    assert [message.headers["group_index"] for message in messages if message is not None][:2] == [0, 1]
    assert {message.headers["trace"] for message in messages if message is not None} == {"x"}
    assert messages[0] is not None and messages[0].headers["group"] == result.id
    assert len(result) == MANY + 4 and result.results[3].parent is not None


def test_a_group_that_has_been_streamed_says_so(app: Talo) -> None:
    many = group(calls(app, MANY), app=app)
    many.apply_async()
    with pytest.raises(RuntimeError, match="have been sent"):
        many.apply_async()


def test_whoever_looks_at_the_members_keeps_them(app: Talo) -> None:
    many = group(calls(app, MANY), app=app)
    assert len(many) == len(many.tasks) == len(many.clone()) == MANY
    assert len(many.apply_async()) == len(many.apply_async()) == MANY


@pytest.mark.parametrize(
    "form", [lambda many: json.loads(JSON.dumps(many)), lambda many: pickle.loads(pickle.dumps(many))]
)
def test_as_data_it_has_all_its_members(app: Talo, form: Any) -> None:
    data = form(group(calls(app, MANY), app=app))
    assert [each["args"][0] for each in data["kwargs"]["tasks"]] == list(range(MANY))


def test_what_a_group_cannot_be_linked_to_is_refused(app: Talo) -> None:
    for option in ("link", "link_error"):
        with pytest.raises(TypeError, match="link its members"):
            group(calls(app, 2), app=app).apply_async(**{option: app.signature("f")})


def test_a_generator_that_fails_tells_its_own_error(app: Talo) -> None:
    def broken() -> Iterator[Any]:
        yield from calls(app, MANY)
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        group(broken(), app=app).apply_async()
