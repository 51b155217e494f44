"""Stamps reach every call of a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from talo import Talo, chain, chord, group
from talo.canvas import StampingVisitor
from tests.unit.app.conftest import FarSide, app, far  # noqa: F401  fixtures


class Monitor(StampingVisitor):
    """Stamps each call with an id, and what stands in groups with another."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"monitor": sig["task"]}

    def on_group_start(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"in_group": True, "note": 1, "stamped_headers": ["in_group"]}

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
        return {"callback": True}


def test_every_call_of_a_workflow_is_stamped(app: Talo) -> None:  # noqa: F811
    # Given a workflow with a callback
    step = app.signature("step").set(link=[app.signature("linked")])
    signature = chain(step, group(app.signature("a"), app.signature("b")), app.signature("end"), app=app)
    # When it is stamped
    signature.stamp(Monitor())
    # Then each call carries what the visitor said for it
    first, whole = signature.tasks
    assert (first.options["monitor"], first.options["stamped_headers"]) == ("step", ["monitor"])
    assert first.options["link"][0].options["stamped_headers"] == ["callback", "monitor"]
    for member in whole.tasks.tasks:
        assert member.options["stamped_headers"] == ["in_group", "monitor"]
        assert member.options["in_group"] is True
        assert "note" not in member.options
    assert whole.body.options["stamped_headers"] == ["monitor"]


def test_stamps_travel_in_the_headers_of_the_message(app: Talo, far: FarSide) -> None:  # noqa: F811
    signature = app.signature("step")
    signature.stamp(order=7, tags=["a", "b"])
    signature.apply_async()
    headers = far.call().headers
    assert sorted(headers["stamped_headers"]) == ["order", "tags"]
    assert headers["stamps"] == {"order": 7, "tags": ["a", "b"]}


def test_a_second_stamp_joins_the_first_only_when_asked(app: Talo) -> None:  # noqa: F811
    signature = app.signature("step")
    signature.stamp(order=1)
    signature.stamp(order=2)
    assert signature.options["order"] == 1
    signature.stamp(append_stamps=True, order=2)
    assert signature.options["order"] == [1, 2]


def test_a_chord_is_stamped_in_header_and_body(app: Talo) -> None:  # noqa: F811
    whole = chord([app.signature("a")], app.signature("body"), app=app)
    whole.stamp(order=1)
    assert whole.tasks.tasks[0].options["order"] == whole.body.options["order"] == 1


def test_what_is_linked_is_stamped_without_the_call_itself(app: Talo) -> None:  # noqa: F811
    # Given a call with a callback that has an error callback, and an error callback
    inner = app.signature("inner")
    signature = app.signature("step").set(link=[app.signature("linked").set(link_error=[inner])])
    signature.link_error(app.signature("failed"))
    # When its links are stamped
    signature.stamp_links(Monitor(), order=7)
    # Then all behind it carry the stamps, and it does not
    [linked], [failed] = signature.options["link"], signature.options["link_error"]
    assert linked.options["stamped_headers"] == ["callback", "monitor", "order"]
    assert linked.options["link_error"][0].options["monitor"] == "inner"
    assert (failed.options["monitor"], failed.options["order"]) == ("failed", 7)
    assert "stamped_headers" not in signature.options


def test_a_circle_of_links_is_told(app: Talo) -> None:  # noqa: F811
    one, two = app.signature("one"), app.signature("two")
    one.link(two)
    two.link(one)
    with pytest.raises(ValueError, match="one is linked to itself"):
        one.stamp(order=1)
