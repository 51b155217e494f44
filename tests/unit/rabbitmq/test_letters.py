"""Task messages on AMQP: what a form has written ahead is what is written message by message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from talo.stores.rabbitmq.letters import Facts, packed
from talo.wire import make_message, new_id
from talo.wire.form import FilledForm, Form
from talo.wire.sent import SENT


def form(**how: Any) -> Form:
    """A form whose constant parts contain what a template might stumble over."""
    options = {"queue": "q%s", "exchange": "x", "routing_key": "%b", "timelimit": [9, None], **how}
    return Form(make_message("t.%add%b", "model", reply_to="me", headers={SENT: 0.0, "%d": "%"}, **options))


def filled(of: Form, args: Any = (), task_id: str = "", **place: Any) -> FilledForm:
    """The message of one call."""
    task_id = task_id or new_id()
    blanks = {"root_id": task_id, "parent_id": None, "reply_to": "me", "now": 1.5, **place}
    return of.fill(task_id, args, {}, **blanks)


@settings(max_examples=100, deadline=None)
@given(
    args=st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**70), 2**70), max_size=3),
    place=st.fixed_dictionaries(
        {},
        optional={
            "parent_id": st.none() | st.uuids().map(str),
            "group": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            "group_index": st.none() | st.integers(0, 2**40),
        },
    ),
    how=st.sampled_from([{}, {"priority": 7}, {"delivery_mode": 1}, {"compression": "gzip"}]),
)
@example(args=["%b"], place={"parent_id": "%s", "group": "%"}, how={})
def test_a_filled_form_is_written_as_the_message_by_itself(args: Any, place: Any, how: Any) -> None:
    of = form(**how)
    filled(of, ("first",))
    message = filled(of, args, **place)
    assert packed(message) == packed(message.loose())


@pytest.mark.parametrize("task_id", ["x" * 255, "x" * 256, "ü" * 200])
def test_an_id_of_any_length_is_written(task_id: str) -> None:
    message = filled(form(), task_id=task_id)
    assert packed(message) == packed(message.loose())


def test_what_came_back_tells_of_it_beside_the_form() -> None:
    message = filled(form())
    assert packed(message, Facts(2, True)) == packed(message.loose(), Facts(2, True)) != packed(message)
