"""A Talo producer, a real Celery worker, a Talo ``AsyncResult``: nobody notices the difference."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from talo import Talo, errors
from tests.apps.shared_code import PLAIN, RICH, OutOfStock
from tests.integration.peers import CeleryWorker
from tests.servers.redis import RedisServer
from tests.support import eventually

pytestmark = [pytest.mark.usefixtures("celery_worker")]

LONG = 20.0


def send(app: Talo, name: str, *args: Any, kwargs: dict[str, Any] | None = None, **options: Any) -> Any:
    return app.tasks[f"shared.{name}"].apply_async(args, kwargs, **options)


def sig(app: Talo, name: str, *args: Any) -> Any:
    return app.tasks[f"shared.{name}"].s(*args)


def traced(worker: CeleryWorker, *words: str) -> list[list[str]]:
    return [line for line in worker.trace.lines() if line[: len(words)] == list(words)]


def test_the_value_comes_back(app: Talo) -> None:
    assert app.tasks["shared.add"].delay(2, 3).get(timeout=LONG) == 5


def test_it_was_celery_that_ran_it(app: Talo) -> None:
    assert send(app, "where").get(timeout=LONG) == "celery"


def test_arguments_and_keywords_arrive_as_they_were_sent(app: Talo) -> None:
    assert send(app, "echo", 1, "zwei", kwargs=PLAIN).get(timeout=LONG) == [[1, "zwei"], PLAIN]


def test_every_extension_type_of_json_goes_there_and_back(app: Talo) -> None:
    assert send(app, "echo", RICH).get(timeout=LONG) == [[RICH], {}]


def test_extension_types_arrive_as_objects(app: Talo) -> None:
    assert send(app, "kinds", RICH).get(timeout=LONG) == {key: type(value).__name__ for key, value in RICH.items()}


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_each_serializer_is_read_there(app: Talo, serializer: str) -> None:
    assert send(app, "echo", PLAIN, serializer=serializer).get(timeout=LONG) == [[PLAIN], {}]


@pytest.mark.parametrize("compression", ["gzip", "zlib", "bzip2", "lzma", "zstd", "brotli"])
def test_each_compression_is_undone_there(app: Talo, compression: str) -> None:
    result = send(app, "echo", "long " * 2000, compression=compression)
    assert result.get(timeout=LONG) == [["long " * 2000], {}]


@pytest.mark.parametrize("form", ["countdown", "eta"])
def test_a_delayed_task_that_a_talo_worker_makes_ready_is_not_begun_early(
    app: Talo, celery_worker: CeleryWorker, form: str
) -> None:
    due = time.time() + 0.5
    options = {"countdown": 0.5} if form == "countdown" else {"eta": dt.datetime.fromtimestamp(due, dt.UTC)}
    result = send(app, "started", **options)
    # Talo keeps it in its own set of delayed tasks until it is due; the turns of any worker of Talo's make it ready.
    owner = "promoter"
    app.store.broker.open(owner, worker="test", slots=1, lease=60)

    def begun() -> list[list[str]]:
        app.store.broker.turn([], owner, ["nobody-sends-here"], 1)
        lines = traced(celery_worker, "started", result.id)
        assert lines
        return lines

    [[_, _, engine, at]] = eventually(begun, timeout=LONG)
    app.store.broker.close_owner(owner)
    assert engine == "celery"
    assert float(at) >= due - 0.05


def test_an_expired_task_is_revoked_and_never_begun(app: Talo, celery_worker: CeleryWorker) -> None:
    result = send(app, "started", expires=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5))
    with pytest.raises(errors.TaskRevokedError, match="expired"):
        result.get(timeout=LONG)
    assert result.state == "REVOKED"
    assert traced(celery_worker, "started", result.id) == []


def test_a_task_that_has_time_left_runs(app: Talo) -> None:
    assert send(app, "add", 1, 1, expires=60).get(timeout=LONG) == 2


@pytest.mark.promise("R05")
def test_a_failure_raises_its_own_class_in_the_caller(app: Talo) -> None:
    result = send(app, "fails", "broken")
    with pytest.raises(ValueError) as caught:
        result.get(timeout=LONG)
    assert caught.value.args == ("broken", 42)
    assert result.state == "FAILURE"
    assert "raise ValueError(text, 42)" in result.traceback


@pytest.mark.promise("R05")
def test_an_exception_of_the_project_raises_as_its_own_class(app: Talo) -> None:
    with pytest.raises(OutOfStock, match="no more celery"):
        send(app, "runs_out").get(timeout=LONG)


def test_a_task_that_retries_ends_with_its_value(app: Talo) -> None:
    assert send(app, "flaky", 2).get(timeout=LONG) == 2


def test_a_retry_is_seen_with_its_reason(app: Talo) -> None:
    result = send(app, "flaky", 1, kwargs={"countdown": 1})

    def retried() -> None:
        assert result.state == "RETRY"
        assert repr(result.result) == "KeyError('not yet')"

    eventually(retried)
    assert result.get(timeout=LONG) == 1


def test_retries_that_are_used_up_end_in_the_reason(app: Talo) -> None:
    with pytest.raises(OSError, match="still down"):
        send(app, "hopeless").get(timeout=LONG)


def test_a_running_task_is_seen_as_started(app: Talo, folder: Path) -> None:
    gate = folder / "open-talo-started"
    result = send(app, "hold", str(gate))
    eventually(lambda: _is(result.state, "STARTED"))
    assert result.info["hostname"] == "celery@test"
    gate.touch()
    assert result.get(timeout=LONG) == "celery"


def test_progress_is_seen_while_the_task_runs(app: Talo, folder: Path) -> None:
    gate = folder / "open-talo-progress"
    result = send(app, "progress", str(gate))
    eventually(lambda: _is((result.state, result.info), ("PROGRESS", {"done": 3, "of": 4})))
    gate.touch()
    assert result.get(timeout=LONG) == "finished"


def test_what_the_result_says_beside_its_value_is_there(app: Talo) -> None:
    result = app.AsyncResult(send(app, "echo", 1, kwargs={"k": "v"}).id)
    result.get(timeout=LONG)
    facts = (result.name, result.args, result.kwargs, result.worker, result.retries, result.queue)
    assert facts == ("shared.echo", [1], {"k": "v"}, "celery@test", 0, "celery")
    assert result.date_done is not None
    assert result.date_done.tzinfo is not None


def test_a_link_is_called_with_the_value(app: Talo, celery_worker: CeleryWorker) -> None:
    assert send(app, "add", 2, 2, link=sig(app, "remember", "linked")).get(timeout=LONG) == 4
    expected = [["callback", "linked", "4", "celery"]]
    eventually(lambda: _is(traced(celery_worker, "callback", "linked"), expected))


def test_several_links_are_all_called(app: Talo, celery_worker: CeleryWorker) -> None:
    send(app, "add", 3, 3, link=[sig(app, "remember", label) for label in ("a", "b")])
    for label in ("a", "b"):
        expected = [["callback", label, "6", "celery"]]
        eventually(lambda label=label, e=expected: _is(traced(celery_worker, "callback", label), e))


def test_an_error_callback_of_the_old_form_gets_the_id(app: Talo, celery_worker: CeleryWorker) -> None:
    result = send(app, "fails", "x", link_error=sig(app, "on_error"))
    eventually(lambda: _is(traced(celery_worker, "errback", result.id), [["errback", result.id, "celery"]]))


def test_an_error_callback_of_the_new_form_gets_the_exception(app: Talo, celery_worker: CeleryWorker) -> None:
    result = send(app, "fails", "x", link_error=sig(app, "on_error_new"))
    expected = [["errback_new", result.id, "celery", "ValueError"]]
    eventually(lambda: _is(traced(celery_worker, "errback_new", result.id), expected))


def test_the_rest_of_a_chain_is_gone_through(app: Talo) -> None:
    ids = ["chain-second", "chain-third"]
    steps = [sig(app, "add", 10).set(task_id=ids[0]), sig(app, "add", 100).set(task_id=ids[1])]
    first = send(app, "add", 1, 2, chain=list(reversed(steps)))
    assert first.get(timeout=LONG) == 3
    assert [app.AsyncResult(task_id).get(timeout=LONG) for task_id in ids] == [13, 113]


def test_a_broken_chain_fails_to_its_end(app: Talo) -> None:
    send(app, "fails", "early", chain=[sig(app, "add", 1).set(task_id="never-runs")])
    with pytest.raises(ValueError, match="early"):
        app.AsyncResult("never-runs").get(timeout=LONG)


def test_a_task_sent_by_a_task_is_its_child(app: Talo) -> None:
    result = send(app, "parent")
    child = result.get(timeout=LONG)
    assert [node.id for node in result.children] == [child]
    assert [value for _, value in result.collect(timeout=LONG)] == [child, 42]


def test_facts_of_the_message_reach_the_task(app: Talo) -> None:
    result = send(
        app, "facts", headers={"tenant": "acme"}, shadow="nick", time_limit=50, soft_time_limit=40, priority=3
    )
    facts = result.get(timeout=LONG)
    # Celery shows tasks every header that it does not know.
    assert isinstance(facts["headers"].pop("talo-sent"), float)
    assert facts == {
        "id": result.id,
        "root_id": result.id,
        "parent_id": None,
        "headers": {"tenant": "acme"},
        "tenant": "acme",
        "retries": 0,
        "timelimit": [50, 40],
        "shadow": "nick",
        "priority": 3,
        "routing_key": "celery",
        "correlation_id": result.id,
        "called_directly": False,
    }


def test_an_ignored_result_is_not_stored(app: Talo, redis_server: RedisServer, url: str) -> None:
    ignored = send(app, "started", ignore_result=True)
    assert send(app, "add", 1, 1).get(timeout=LONG) == 2
    assert redis_server.command("EXISTS", f"celery-task-meta-{ignored.id}", db=_db(url)) == b":0\r\n"


def test_a_hard_limit_of_the_call_is_kept(app: Talo) -> None:
    with pytest.raises(errors.TimeLimitExceeded):
        send(app, "nap", 60, time_limit=1).get(timeout=LONG)


def test_a_soft_limit_of_the_call_is_kept(app: Talo) -> None:
    with pytest.raises(errors.SoftTimeLimitExceeded):
        send(app, "nap", 60, soft_time_limit=1).get(timeout=LONG)


def test_a_process_that_died_is_told_as_lost(app: Talo) -> None:
    with pytest.raises(errors.WorkerLostError, match="signal 9"):
        send(app, "dies").get(timeout=LONG)


def test_a_message_of_protocol_1_runs(app: Talo) -> None:
    app.conf.task_protocol = 1
    try:
        assert send(app, "echo", 1, kwargs={"k": "v"}).get(timeout=LONG) == [[1], {"k": "v"}]
    finally:
        app.conf.task_protocol = 2


def test_a_task_that_nobody_has_fails_as_not_registered(app: Talo) -> None:
    with pytest.raises(errors.NotRegistered):
        app.send_task("shared.nobody_has_this").get(timeout=LONG)


def test_a_bulk_send_is_run_to_the_last(app: Talo) -> None:
    results = app.send_many((app.tasks["shared.add"], (n, n)) for n in range(200))
    assert [result.get(timeout=LONG) for result in results] == [2 * n for n in range(200)]


def _db(url: str) -> int:
    return int(url.rpartition("/")[2])


def _is(actual: object, expected: object) -> None:
    assert actual == expected
