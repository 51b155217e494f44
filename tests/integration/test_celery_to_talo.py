"""A real Celery producer, a Talo worker, a real Celery ``AsyncResult``: nobody notices the difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.shared_code import PLAIN, RICH
from tests.integration.peers import CeleryClient
from tests.servers.redis import RedisServer
from tests.support import eventually
from tests.workers import Worker

pytestmark = [pytest.mark.usefixtures("talo_worker")]


def outcome(celery: CeleryClient, task_id: str) -> object:
    return celery("result({task_id}).get(timeout=20)", task_id=task_id)


def traced(worker: Worker, *words: str) -> list[list[str]]:
    return [line for line in worker.trace.lines() if line[: len(words)] == list(words)]


def test_the_value_comes_back(celery: CeleryClient) -> None:
    assert celery("app.tasks['shared.add'].delay(2, 3).get(timeout=20)") == 5


def test_it_was_talo_that_ran_it(celery: CeleryClient) -> None:
    assert celery("app.tasks['shared.where'].delay().get(timeout=20)") == "talo"


def test_arguments_and_keywords_arrive_as_they_were_sent(celery: CeleryClient) -> None:
    sent = celery("send('echo', 1, 'zwei', kwargs=PLAIN)")
    assert outcome(celery, sent) == [[1, "zwei"], PLAIN]


def test_every_extension_type_of_json_goes_there_and_back(celery: CeleryClient) -> None:
    sent = celery("send('echo', RICH)")
    assert outcome(celery, sent) == [[RICH], {}]


def test_extension_types_arrive_as_objects(celery: CeleryClient) -> None:
    assert outcome(celery, celery("send('kinds', RICH)")) == {key: type(value).__name__ for key, value in RICH.items()}


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml"])
def test_each_serializer_that_is_accepted_is_read(celery: CeleryClient, serializer: str) -> None:
    assert outcome(celery, celery("send('echo', PLAIN, serializer={s})", s=serializer)) == [[PLAIN], {}]


@pytest.mark.parametrize("compression", ["gzip", "zlib", "bzip2", "lzma", "zstd", "brotli"])
def test_each_compression_is_undone(celery: CeleryClient, compression: str) -> None:
    sent = celery("send('echo', 'long ' * 2000, compression={c})", c=compression)
    assert outcome(celery, sent) == [["long " * 2000], {}]


def test_compressed_msgpack_is_read(celery: CeleryClient) -> None:
    sent = celery("send('echo', PLAIN, serializer='msgpack', compression='zstd')")
    assert outcome(celery, sent) == [[PLAIN], {}]


@pytest.mark.parametrize("option", ["countdown=0.5", "eta=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.5)"])
def test_a_delayed_task_is_not_begun_early(celery: CeleryClient, talo_worker: Worker, option: str) -> None:
    due = celery("time.time()") + 0.5
    sent = celery(f"send('started', {option})")
    outcome(celery, sent)
    [[_, _, engine, at]] = traced(talo_worker, "started", sent)
    assert engine == "talo"
    assert float(at) >= due - 0.05


def test_an_expired_task_is_revoked_and_never_begun(celery: CeleryClient, talo_worker: Worker) -> None:
    sent = celery("send('started', expires=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5))")
    assert celery("raised({sent})", sent=sent) == ("celery.exceptions", "TaskRevokedError", ("expired",), "REVOKED")
    assert traced(talo_worker, "started", sent) == []


def test_a_task_that_has_time_left_runs(celery: CeleryClient) -> None:
    assert outcome(celery, celery("send('add', 1, 1, expires=60)")) == 2


def test_a_failure_raises_its_own_class_in_the_caller(celery: CeleryClient) -> None:
    sent = celery("send('fails', 'broken')")
    assert celery("raised({sent})", sent=sent) == ("builtins", "ValueError", ("broken", 42), "FAILURE")
    assert "raise ValueError(text, 42)" in celery("result({sent}).traceback", sent=sent)


def test_an_exception_of_the_project_raises_as_its_own_class(celery: CeleryClient) -> None:
    raised = celery("raised({sent})", sent=celery("send('runs_out')"))
    assert raised == ("tests.apps.shared_code", "OutOfStock", ("no more celery",), "FAILURE")


def test_a_task_that_retries_ends_with_its_value(celery: CeleryClient) -> None:
    assert outcome(celery, celery("send('flaky', 2)")) == 2


def test_the_caller_sees_a_retry_as_celery_shows_it(celery: CeleryClient) -> None:
    sent = celery("send('flaky', 1, kwargs=dict(countdown=1))")
    assert "RETRY" in celery("states({sent}, 'RETRY')", sent=sent)
    assert celery("repr(result({sent}).result)", sent=sent) == "KeyError('not yet')"
    assert outcome(celery, sent) == 1


def test_retries_that_are_used_up_end_in_the_reason(celery: CeleryClient) -> None:
    raised = celery("raised({sent})", sent=celery("send('hopeless')"))
    assert raised[1:] == ("OSError", ("still down",), "FAILURE")


def test_the_caller_sees_a_running_task_as_started(celery: CeleryClient, folder: Path) -> None:
    gate = folder / "open-celery-started"
    sent = celery("send('hold', {gate})", gate=str(gate))
    assert celery("states({sent}, 'STARTED')", sent=sent)[-1] == "STARTED"
    meta = celery("result({sent}).info", sent=sent)
    assert set(meta) == {"pid", "hostname"}
    assert meta["hostname"] == "talo@test"
    gate.touch()
    assert outcome(celery, sent) == "talo"


def test_progress_is_seen_while_the_task_runs(celery: CeleryClient, folder: Path) -> None:
    gate = folder / "open-celery-progress"
    sent = celery("send('progress', {gate})", gate=str(gate))
    assert celery("states({sent}, 'PROGRESS')", sent=sent)[-1] == "PROGRESS"
    assert celery("result({sent}).info", sent=sent) == {"done": 3, "of": 4}
    gate.touch()
    assert outcome(celery, sent) == "finished"


def test_what_the_result_says_beside_its_value_is_there(celery: CeleryClient) -> None:
    sent = celery("send('echo', 1, kwargs=dict(k='v'))")
    outcome(celery, sent)
    meta = celery(
        "(lambda r: (r.name, r.args, r.kwargs, r.worker, r.retries, r.queue, r.date_done is not None))(result({sent}))",
        sent=sent,
    )
    assert meta == ("shared.echo", [1], {"k": "v"}, "talo@test", 0, "celery", True)


def test_a_link_is_called_with_the_value(celery: CeleryClient, talo_worker: Worker) -> None:
    sent = celery("send('add', 2, 2, link=s('remember', 'linked-one'))")
    assert outcome(celery, sent) == 4
    eventually(lambda: _is(traced(talo_worker, "callback", "linked-one"), [["callback", "linked-one", "4", "talo"]]))


def test_several_links_are_all_called(celery: CeleryClient, talo_worker: Worker) -> None:
    outcome(celery, celery("send('add', 3, 3, link=[s('remember', 'two-a'), s('remember', 'two-b')])"))
    for label in ("two-a", "two-b"):
        eventually(lambda label=label: _is(traced(talo_worker, "callback", label), [["callback", label, "6", "talo"]]))


def test_an_error_callback_of_the_old_form_gets_the_id(celery: CeleryClient, talo_worker: Worker) -> None:
    sent = celery("send('fails', 'x', link_error=s('on_error'))")
    eventually(lambda: _is(traced(talo_worker, "errback", sent), [["errback", sent, "talo"]]))


def test_an_error_callback_of_the_new_form_gets_the_exception(celery: CeleryClient, talo_worker: Worker) -> None:
    sent = celery("send('fails', 'x', link_error=s('on_error_new'))")
    eventually(lambda: _is(traced(talo_worker, "errback_new", sent), [["errback_new", sent, "talo", "ValueError"]]))


def test_a_chain_passes_its_values_on(celery: CeleryClient) -> None:
    code = "chain(s('add', 1, 2), s('add', 10), s('add', 100)).apply_async()"
    last = celery(f"(lambda r: [r.get(timeout=20), r.parent.get(timeout=20), r.parent.parent.get(timeout=20)])({code})")
    assert last == [113, 13, 3]


def test_a_broken_chain_fails_to_its_end(celery: CeleryClient) -> None:
    sent = celery("chain(s('fails', 'in the middle'), s('add', 1), s('add', 2)).apply_async().id")
    assert celery("raised({sent})", sent=sent)[1:] == ("ValueError", ("in the middle", 42), "FAILURE")


def test_an_immutable_step_takes_nothing_over(celery: CeleryClient) -> None:
    assert celery("chain(s('add', 1, 2), s('add', 5, 5).set(immutable=True)).apply_async().get(timeout=20)") == 10


def test_a_group_returns_all_values_in_order(celery: CeleryClient) -> None:
    assert celery("group(s('add', n, n) for n in range(10)).apply_async().get(timeout=20)") == [
        2 * n for n in range(10)
    ]


def test_a_task_sent_by_a_task_is_its_child(celery: CeleryClient) -> None:
    sent = celery("send('parent')")
    child = outcome(celery, sent)
    assert celery("[c.id for c in result({sent}).children]", sent=sent) == [child]
    assert celery("result({child}).get(timeout=20)", child=child) == 42


def test_facts_of_the_message_reach_the_task(celery: CeleryClient) -> None:
    sent = celery(
        "send('facts', headers=dict(tenant='acme'), shadow='nick', time_limit=50, soft_time_limit=40, priority=3)"
    )
    assert outcome(celery, sent) == {
        "id": sent,
        "root_id": sent,
        "parent_id": None,
        "headers": {"tenant": "acme"},
        "tenant": "acme",
        "retries": 0,
        "timelimit": [50, 40],
        "shadow": "nick",
        "priority": 3,
        "routing_key": "celery",
        "correlation_id": sent,
        "called_directly": False,
    }


def test_an_ignored_result_is_not_stored(celery: CeleryClient, redis_server: RedisServer, url: str) -> None:
    sent = celery("send('started', ignore_result=True)")
    after = celery("send('add', 1, 1)")
    assert outcome(celery, after) == 2
    assert celery("result({sent}).state", sent=sent) == "PENDING"
    db = int(url.rpartition("/")[2])
    assert redis_server.command("EXISTS", f"celery-task-meta-{sent}", db=db) == b":0\r\n"


def test_a_hard_limit_of_the_call_is_kept(celery: CeleryClient) -> None:
    raised = celery("raised({sent})", sent=celery("send('nap', 60, time_limit=1)"))
    assert raised[1:] == ("TimeLimitExceeded", (1,), "FAILURE")


def test_a_soft_limit_of_the_call_is_kept(celery: CeleryClient) -> None:
    raised = celery("raised({sent})", sent=celery("send('nap', 60, soft_time_limit=1)"))
    assert raised[1] == "SoftTimeLimitExceeded"
    assert raised[3] == "FAILURE"


def test_a_message_of_protocol_1_runs(celery: CeleryClient) -> None:
    code = (
        "(app.conf.update(task_protocol=1), send('echo', 1, kwargs=dict(k='v')), app.conf.update(task_protocol=2))[1]"
    )
    assert outcome(celery, celery(code)) == [[1], {"k": "v"}]


def test_a_task_that_nobody_has_fails_as_not_registered(celery: CeleryClient) -> None:
    raised = celery("raised({sent})", sent=celery("app.send_task('shared.nobody_has_this').id"))
    assert raised[1:] == ("NotRegistered", ("shared.nobody_has_this",), "FAILURE")


def test_nothing_of_the_worker_stands_in_kombus_own_keys(redis_server: RedisServer, url: str) -> None:
    db = int(url.rpartition("/")[2])
    assert redis_server.command("EXISTS", "unacked", "unacked_index", db=db) == b":0\r\n"


def _is(actual: object, expected: object) -> None:
    assert actual == expected
