"""``talo call`` and ``talo result``."""

from __future__ import annotations

import datetime as dt

import pytest

from talo import states
from talo.stores.base import ResultMeta
from talo.wire.exceptions import exception_to_data
from talo.wire.message import Message
from talo.wire.protocol import Call, decode
from talo.wire.results import encode_result
from talo.wire.serializers import accept
from tests.unit.cli.conftest import Project


def fetched(project: Project, queue: str = "celery") -> tuple[Message, Call]:
    with project.app() as app:
        broker = app.store.broker
        broker.open("reader", worker="reader@test", slots=1, lease=60)
        (delivery,) = broker.turn([], "reader", [queue], 5).deliveries
        assert delivery.message is not None
        return delivery.message, decode(delivery.message, accept(["json", "msgpack"]))


def store(project: Project, state: str, value: object, traceback: str | None = None) -> None:
    with project.app() as app:
        payload = encode_result("t1", state, value, traceback=traceback)
        app.backend.store([ResultMeta(task_id="t1", status=state, payload=payload, expires=60)])


def test_a_call_is_sent_with_its_arguments_and_its_id_is_printed(project: Project) -> None:
    # When
    told = project.with_app("call", f"{project.name}.add", "-a", "[1]", "-k", '{"y": 2}')
    # Then
    message, call = fetched(project)
    assert (told.code, told.out.strip()) == (0, message.id)
    assert (call.task, call.args, call.kwargs) == (f"{project.name}.add", [1], {"y": 2})


def test_every_option_of_sending_reaches_the_message(project: Project) -> None:
    # When
    told = project.with_app(
        "call", f"{project.name}.add", "-a", "[1, 2]", "--queue", "slow", "--priority", "7",
        "--serializer", "msgpack", "--expires", "2999-01-01T00:00:00+00:00",
    )  # fmt: skip
    # Then
    assert told.code == 0, told.err
    message, call = fetched(project, "slow")
    assert message.priority == 7
    assert message.content_type == "application/x-msgpack"
    assert call.expires == dt.datetime(2999, 1, 1, tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize("option", [["--countdown", "3600"], ["--eta", "2999-01-01T00:00:00+00:00"]])
def test_a_later_call_waits_in_the_store(project: Project, option: list[str]) -> None:
    project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", *option)
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "0", "1", "0"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-a", "[1"], "is not JSON"),
        (["-a", '{"x": 1}'], "is not a JSON array"),
        (["-k", "[1]"], "is not a JSON object"),
        (["-k", "x=1"], "is not JSON"),
        (["--eta", "tomorrow"], "ISO 8601"),
        (["--expires", "soon"], "a number of seconds"),
        (["--wait=never"], "--wait"),
    ],
)
def test_an_option_that_cannot_be_read_is_one_line(project: Project, words: list[str], expected: str) -> None:
    told = project.with_app("call", f"{project.name}.add", *words)
    assert told.code == 2
    told.says_in_one_line(expected)


def test_arguments_that_do_not_fit_are_told_before_anything_is_sent(project: Project) -> None:
    told = project.with_app("call", f"{project.name}.add", "-a", "[1]")
    assert told.code == 2
    told.says_in_one_line("missing a required argument: 'y'")
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "0", "0", "0"]]


def test_an_unknown_task_is_told_with_the_nearest_name(project: Project) -> None:
    told = project.with_app("call", f"{project.name}.ad")
    assert told.code == 1
    told.says_in_one_line(f"no task '{project.name}.ad'", f"did you mean '{project.name}.add'?", "--force")


def test_an_unknown_task_is_sent_when_told_so_or_without_an_app(project: Project) -> None:
    assert project.with_app("call", "elsewhere.add", "--force").code == 0
    assert project.talo("call", "elsewhere.add").code == 0
    assert [row[:4] for row in project.talo("queues").rows] == [["celery", "2", "0", "0"]]


def test_waiting_in_vain_says_so(project: Project) -> None:
    told = project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", "--wait=0")
    assert told.code == 1
    told.says_in_one_line("no result within 0 s", "talo result")
    assert told.out.strip() in told.err


def test_waiting_where_no_results_are_kept_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALO_RESULT_BACKEND", "disabled://")
    told = project.with_app("call", f"{project.name}.add", "-a", "[1, 2]", "--wait=0")
    told.says_in_one_line("the task was sent, but cannot be waited for", "result_backend")


@pytest.mark.parametrize(
    ("value", "printed"), [("text", "text"), ({"a": [1, None]}, '{"a": [1, null]}'), (3, "3"), (None, "null")]
)
def test_a_result_is_printed(project: Project, value: object, printed: str) -> None:
    store(project, states.SUCCESS, value)
    assert project.talo("result", "t1").out == f"{printed}\n"


def test_a_failure_is_one_line_and_its_traceback_on_demand(project: Project) -> None:
    # Given
    store(project, states.FAILURE, exception_to_data(ValueError("no")), traceback="Traceback (most recent)\n  x\n")
    # Then
    told = project.talo("result", "t1")
    assert told.code == 1
    told.says_in_one_line("FAILURE: ValueError: no")
    assert project.talo("result", "t1", "--traceback").out == "Traceback (most recent)\n  x\n"


def test_what_has_not_ended_does_not_keep_anybody_waiting(project: Project) -> None:
    told = project.talo("result", "unknown")
    assert told.code == 1
    told.says_in_one_line("no result of unknown is stored", "--wait")


def test_an_intermediate_state_is_told(project: Project) -> None:
    store(project, "PROGRESS", {"done": 3})
    project.talo("result", "t1").says_in_one_line("PROGRESS", "{'done': 3}")


def test_waiting_for_a_result_ends_with_its_time(project: Project) -> None:
    project.talo("result", "unknown", "--timeout", "0").says_in_one_line("no result of unknown within 0 s")


def test_a_result_of_a_task_that_is_not_there_is_told_with_the_nearest_name(project: Project) -> None:
    project.with_app("result", "t1", "-t", f"{project.name}.adds").says_in_one_line(f"mean '{project.name}.add'?")
