"""What a sent workflow puts into the store, and what is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from talo import Talo, chain, chord, group
from talo.app import current
from talo.canvas.plan import INLINE, ONCE, PART, STEP
from talo.errors import EncodeError
from tests.unit.app.conftest import FarSide, app, far  # noqa: F401  fixtures


def call(app: Talo, *args: Any) -> Any:  # noqa: F811
    return app.signature("t", args)


def test_a_chain_is_one_message_with_its_steps_in_reverse(app: Talo, far: FarSide) -> None:  # noqa: F811
    result = chain(call(app, 1), call(app, 2), call(app, 3)).apply_async()
    sent = far.call()
    assert [step["args"] for step in sent.chain or ()] == [[3], [2]]
    assert (sent.chain or [{}])[0]["options"]["task_id"] == result.id
    assert result.parent.parent.id == sent.id


def test_a_message_carries_a_bounded_number_of_steps(app: Talo, far: FarSide) -> None:  # noqa: F811
    chain(call(app, n) for n in range(100)).apply_async()
    sent = far.call()
    assert len(sent.chain or ()) <= INLINE
    assert len(far_body(sent)) < 4096
    assert (sent.chain or [{}])[0]["task"] == STEP


@pytest.mark.promise("W04")
def test_chained_chords_are_small_messages_and_linear_in_the_store(
    app: Talo,  # noqa: F811
    far: FarSide,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given an eye on what is stored beside the messages
    sizes: list[int] = []
    store = app.backend.open_groups

    def weigh(groups: Any) -> None:
        sizes.append(sum(len(group.plan) + (len(group.then.body) if group.then else 0) for group in groups))
        store(groups)

    monkeypatch.setattr(app.backend, "open_groups", weigh)
    # When ever longer chains of chords are sent
    for length in (50, 100, 200, 400):
        chain(chord([call(app) for _ in range(50)], call(app)) for _ in range(length)).apply_async()
        # Then no message is large,
        for message in far.messages():
            assert len(message.body) + len(str(message.headers)) < 4096
    # and what is stored grows with the length
    per_chord = [size / length for size, length in zip(sizes, (50, 100, 200, 400), strict=True)]
    assert max(per_chord) < 1.05 * min(per_chord)


def far_body(sent: Any) -> str:
    return str(sent.chain) + str(sent.headers)


def test_each_sending_of_a_chain_has_a_word_of_its_own_and_a_plain_call_has_none(app: Talo, far: FarSide) -> None:  # noqa: F811
    twice = chain(call(app, 1), call(app, 2))
    words = []
    for _ in range(2):
        twice.apply_async()
        words.append(far.call().headers[ONCE])
    assert len(set(words)) == 2
    call(app, 1).apply_async()
    assert ONCE not in far.call().headers


def test_members_of_a_chord_name_their_place(app: Talo, far: FarSide) -> None:  # noqa: F811
    result = chord([call(app, 1), call(app, 2)], call(app)).apply_async()
    messages = far.messages()
    assert [message.headers[PART] for message in messages] == [[result.parent.id, 0], [result.parent.id, 1]]
    assert [message.headers["group_index"] for message in messages] == [0, 1]


def test_a_chord_without_a_body_is_refused(app: Talo) -> None:  # noqa: F811
    with pytest.raises(TypeError, match="body"):
        chord([call(app, 1)]).apply_async()


def test_a_body_that_is_no_signature_is_refused(app: Talo) -> None:  # noqa: F811
    with pytest.raises(TypeError, match="signatures"):
        chord([call(app, 1)], 42)


def test_a_workflow_that_contains_itself_is_refused(app: Talo) -> None:  # noqa: F811
    round_ = group([call(app, 1)], app=app)
    round_["kwargs"]["tasks"].append(round_)
    with pytest.raises(ValueError, match="contains itself"):
        round_.apply_async()


@pytest.mark.parametrize("key", ["link", "link_error"])
@pytest.mark.parametrize(
    "make",
    [
        lambda one, two: one,
        lambda one, two: chain(one, two),
        lambda one, two: group(one, two),
        lambda one, two: chord([one], two),
    ],
    ids=["call", "chain", "group", "chord"],
)
def test_signatures_linked_in_a_circle_are_refused(app: Talo, far: FarSide, key: str, make: Any) -> None:  # noqa: F811
    # Given two calls, each of which is linked to the other
    one, two = call(app, 1), call(app, 2)
    one.options[key], two.options[key] = [two], [one]
    # Then whatever they are part of is refused with the place of the circle, and nothing is sent
    with pytest.raises(EncodeError, match="refers to itself"):
        make(one, two).apply_async()
    assert far.messages() == []


def test_nothing_is_sent_for_an_empty_chain_or_group(app: Talo, far: FarSide) -> None:  # noqa: F811
    assert chain(app=app).apply_async() is None
    assert group([], app=app).apply_async().get() == []
    assert far.messages() == []


def test_a_group_takes_a_generator(app: Talo, far: FarSide) -> None:  # noqa: F811
    result = group((call(app, n) for n in range(5)), app=app).apply_async()
    assert len(result) == len(far.messages()) == 5


def test_every_handle_of_a_workflow_belongs_to_the_app_of_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two apps, of which the other one is current
    with Talo("own", broker="memory://", set_as_current=False) as own, Talo("other", set_as_current=False) as other:

        @own.task
        def step(*_: object) -> None: ...

        monkeypatch.setattr(current._State, "current", other)
        # When a workflow is sent whose members are chains
        header = [chain(step.s(), step.s()) for _ in range(2)]
        node = chain(step.s(), chord(header, step.s()), step.s()).apply_async()
        # Then it is asked for where the tasks are
        handles = [node]
        while (node := node.parent) is not None:
            handles.append(node)
    assert [type(each).__name__ for each in handles] == ["AsyncResult", "AsyncResult", "GroupResult", "AsyncResult"]
    assert {each.app for each in handles} == {own}
