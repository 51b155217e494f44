"""Messages that are filled into a form are those that are written one by one."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from talo.errors import EncodeError
from talo.wire import decode, make_message, new_id, pack, serializers
from talo.wire.form import FilledForm, Form
from talo.wire.message import Message
from talo.wire.sent import SENT

HOW: dict[str, Any] = {
    "queue": "q%s",
    "exchange": "x",
    "routing_key": '"k',
    "ignore_result": True,
    "timelimit": [9, None],
}
EVERYTHING = serializers.accept(["json", "msgpack", "pickle"])


class _Odd:
    """Shows itself as half a surrogate pair."""

    def __repr__(self) -> str:
        return "\ud800"

    def __json__(self) -> str:
        return "odd"


def form(**how: Any) -> Form:
    """A form of calls that have these options."""
    return Form(make_message("t.%add", "model", headers={SENT: 0.0}, **{**HOW, **how}))


def filled(of: Form, args: Any, kwargs: Any, parent: str | None = None) -> FilledForm:
    """The message of one call."""
    task_id = new_id()
    return of.fill(task_id, args, kwargs, root_id=parent or task_id, parent_id=parent, reply_to="me", now=time.time())


def written(like: FilledForm, args: Any, kwargs: Any, **how: Any) -> Message:
    """The same message, written by itself."""
    ids = {key: like.headers[key] for key in ("root_id", "parent_id")}
    headers = {SENT: like.headers[SENT]}
    options = {"reply_to": "me", "headers": headers, **ids, **HOW, **how}
    return make_message("t.%add", like.headers["id"], args, kwargs, **options)


def meaning(message: Message) -> tuple[Any, ...]:
    """All of it, the body as it is read: the same value has several texts."""
    fields = {name: getattr(message, name) for name in Message.__struct_fields__ if name != "body"}
    return fields, repr(decode(message, EVERYTHING))


def envelope(message: Message) -> bytes:
    """Its list item but for the delivery tag, which is never the same."""
    return re.sub(rb'"delivery_tag":"[-0-9a-f]{36}"', b"", pack(message))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=st.dictionaries(st.text(max_size=5), values, max_size=3),
    parent=st.none() | st.uuids().map(str),
    how=st.sampled_from([{}, {"codec": "msgpack"}, {"codec": "pickle"}, {"compression": "gzip"}, {"priority": 7}]),
)
@example(args=("\ud800",), kwargs={"\udfff": "%b"}, parent="%s", how={})
@example(args=(_Odd(),), kwargs={}, parent=None, how={})
def test_a_filled_form_is_the_message_written_by_itself(
    args: Any, kwargs: Any, parent: str | None, how: dict[str, Any]
) -> None:
    # Given a form that was used before, and a call
    of = form(**how)
    pack(filled(of, (), {}))
    try:
        message = filled(of, args, kwargs, parent)
    except EncodeError:  # msgpack has no dates
        with pytest.raises(EncodeError):
            written(filled(of, (), {}), args, kwargs, **how)
        return

    if parent is not None:  # it may have a place in a group, too
        message.headers |= {"group": parent, "group_index": 3}

    # When the same is written without the form
    place = {key: message.headers[key] for key in ("group", "group_index")}
    alone = written(message, args, kwargs, **place, **how)

    # Then nothing tells them apart, neither in Talo nor on a server
    assert meaning(message) == meaning(alone)
    assert envelope(message) == envelope(message.loose())


def test_what_is_of_one_call_stays_with_it() -> None:
    # Given two messages of one form
    of = form()
    first, second = filled(of, (1,), {}), filled(of, (2,), {})

    # When somebody writes into the first
    first.headers["stamps"]["x"] = 1
    first.headers["timelimit"][0] = 1
    first.properties["more"] = 1

    # Then the others do not know
    assert meaning(second) == meaning(written(second, (2,), {}))
    assert filled(of, (), {}).headers["stamps"] == {}


def test_an_argument_that_cannot_be_written_is_named() -> None:
    with pytest.raises(EncodeError, match=r"^args\[1\]: object of type object cannot be written"):
        filled(form(), (1, object()), {})
    with pytest.raises(EncodeError, match=r"^kwargs\.x: object of type object cannot be written"):
        filled(form(), (), {"x": object()})
