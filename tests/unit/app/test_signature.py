"""Task calls as data."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from talo import Signature, Talo, maybe_signature, signature
from talo.errors import NotRegistered
from tests.unit.app.conftest import FarSide


@pytest.fixture
def add(app: Talo) -> Any:
    """A task."""

    @app.task
    def add(x: int, y: int = 0, z: int = 0) -> int:
        return x + y + z

    return add


def test_a_signature_is_a_dict_of_plain_data(add: Any) -> None:
    # Given a signature, when it goes through JSON and back
    sig = add.s(1, y=2).set(countdown=3)
    back = Signature.from_dict(json.loads(json.dumps(sig)))

    # Then it is the same call
    assert sig["subtask_type"] is None
    assert (back.task, list(back.args), back.kwargs, back.options) == (add.name, [1], {"y": 2}, {"countdown": 3})
    assert repr(back) == f"{add.name}(1, y=2)"


def test_arguments_given_later_go_in_front(add: Any, far: FarSide) -> None:
    # Given a partial call, when it is called, run and sent with more arguments
    partial = add.s(2, z=3)
    assert partial(1) == 6
    assert partial.apply((1,)).get() == 6
    partial.delay(1, z=4)

    # Then they came first, and later keywords won
    call = far.call()
    assert (call.args, call.kwargs) == ([1, 2], {"z": 4})


def test_an_immutable_signature_ignores_later_arguments_but_takes_options(add: Any, far: FarSide) -> None:
    # Given an immutable one, when it is sent with arguments and an option
    add.si(5).apply_async((1,), {"y": 2}, queue="q")

    # Then only the option counted
    call = far.call("q")
    assert (call.args, call.kwargs) == ([5], {})


def test_a_clone_shares_nothing(add: Any) -> None:
    # Given a signature with callbacks, when a clone changes
    sig = add.s(1)
    sig.link(add.s(2))
    twin = sig.clone((0,), y=1)
    twin.options["link"].append("x")
    twin.kwargs["z"] = 9

    # Then the first one is as it was
    assert (len(sig.options["link"]), sig.kwargs, list(sig.args)) == (1, {}, [1])
    assert list(twin.args) == [0, 1]
    assert sig.replace(args=(7,)).args == (7,)


def test_links_are_lists_without_repeats(add: Any) -> None:
    # Given callbacks added twice and one that stood alone
    sig = add.s(1).set(link=add.s(8))
    assert sig.link(add.s(9)) == add.s(9)
    sig.link(add.s(9))
    assert sig.on_error(add.si(0)) is sig

    # Then each is there once
    assert [list(s.args) for s in sig.options["link"]] == [[8], [9]]
    assert len(sig.options["link_error"]) == 1
    assert [list(s.args) for s in sig.flatten_links()] == [[1], [8], [9]]


def test_freezing_fixes_the_id(app: Talo, add: Any, far: FarSide) -> None:
    # Given a frozen signature, when it is sent
    sig = add.s(1)
    frozen = sig.freeze(group_id="g", root_id="r", parent_id="p", group_index=2)
    result = sig.delay()

    # Then the message has that id and that place
    headers = far.message().headers
    assert result == frozen == headers["id"] == sig.id
    assert (headers["group"], headers["root_id"], headers["parent_id"], headers["group_index"]) == ("g", "r", "p", 2)
    assert sig.freeze() == frozen


def test_a_task_that_is_not_known_here_is_sent_by_name(app: Talo, far: FarSide) -> None:
    # Given a name, when it is sent, then it goes out; calling it is another matter
    app.signature("foreign", args=(1,), queue="q").delay()
    assert far.call("q").task == "foreign"
    with pytest.raises(NotRegistered):
        signature("foreign", app=app)()


def test_a_signature_without_an_app_uses_the_current_one(app: Talo, far: FarSide) -> None:
    signature("foreign").delay()
    assert far.message().task == "foreign"


def test_forms_and_conversions(app: Talo, add: Any) -> None:
    # Given every way to say the same call
    sig = add.s(1)

    # Then they are equal, and None stays None
    assert signature(sig) == signature(dict(sig)) == signature(add, (1,)) == copy.copy(sig) == copy.deepcopy(sig) == sig
    assert pickle.loads(pickle.dumps(sig)) == sig
    assert maybe_signature(None) is None
    assert maybe_signature(dict(sig), app=app).app is app
    assert maybe_signature(sig, clone=True) is not sig


def test_forms_that_grow_from_it_are_found_by_their_type() -> None:
    # Given a registered form
    @Signature.register_type("grown")
    class Grown(Signature):
        pass

    try:
        # Then dicts of that type become it
        assert type(Signature.from_dict({"task": "x", "subtask_type": "grown"})) is Grown
    finally:
        del Signature.TYPES["grown"]


def test_the_running_call_as_a_signature(app: Talo, far: FarSide) -> None:
    # Given a task that sends itself again
    @app.task(bind=True)
    def again(self: Any, x: int) -> Any:
        if x == 1:
            return self.signature_from_request(args=(2,))
        return x

    # When it runs, then the signature has its id and the new argument
    result = again.apply((1,))
    sig = result.get()
    assert (sig.task, list(sig.args), sig.id) == (again.name, [2], result.id)
