"""Workflows of every shape end as they should, with real workers, on every store."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from talo import chain, chord, group
from talo.app.graph import graph_of
from talo.app.workflows import top_of
from talo.errors import ChordError, NotRegistered, TaskRevokedError
from talo.wire import new_id
from tests.apps import flows
from tests.apps.flows import add, fail, gather, note, on_error, on_error_new, total
from tests.chaos.kit import roles, stopped
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import empty_database
from tests.support import eventually
from tests.workers import Worker

PLACES = ["sqlite", "redis", "apart", "rabbit", "sqs"]


class Place(NamedTuple):
    """Where messages are, and where results are, if that is elsewhere."""

    broker: str
    results: str | None = None
    #: Of the broker's transport.
    options: Mapping[str, Any] = MappingProxyType({})


def _place(name: str, request: pytest.FixtureRequest, tmp: Path, redis: str) -> Place:
    sqlite = f"sqlite:///{tmp}/t.sqlite3"
    if name == "sqlite":
        return Place(sqlite)
    if name == "redis":
        return Place(redis)
    if name == "apart":
        return Place(redis, sqlite)
    if name == "rabbit":
        rabbit: RabbitServer = request.getfixturevalue("rabbit_server")
        return Place(rabbit.url_of(rabbit.new_vhost()), redis)
    options = {
        "region": "us-east-1",
        "endpoint_url": request.getfixturevalue("sqs_endpoint"),
        "queue_name_prefix": "flows-",
        "ledger": f"{tmp}/ledger.sqlite3",
        "wait_time_seconds": 2,
    }
    return Place("sqs://key:secret@", sqlite, options)


@pytest.fixture(scope="module", params=PLACES)
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all tests of a store, or of two: ``apart``: messages on Redis, results in SQLite; ``rabbit``:
    results on Redis; ``sqs``: results in SQLite."""
    tmp: Path = tmp_path_factory.mktemp(request.param)
    with empty_database(request.getfixturevalue("redis_server")) as redis:
        broker, results, options = _place(request.param, request, tmp, redis)
        conf = flows.app.conf
        conf.broker_url, conf.result_backend, conf.broker_transport_options = broker, results, dict(options)
        flows.app.close_stores()
        env = {"TALO_TASK_UNKNOWN_PATIENCE": "0.1", "TALO_BROKER_TRANSPORT_OPTIONS": json.dumps(dict(options))}
        with Worker(broker, tmp, "-c", "2", results=results, app="tests.apps.flows", env=env) as worker:
            yield worker
        conf.broker_transport_options = {}
        flows.app.close_stores()


TIMEOUT = 30


def not_on(scheme: str, why: str) -> None:
    """Skip on brokers of this scheme."""
    if flows.app.conf.broker_url.startswith(scheme):
        pytest.skip(why)


def value_of(signature: Any, **options: Any) -> Any:
    return signature.apply_async(**options).get(timeout=TIMEOUT)


SHAPES: dict[str, tuple[Any, Any]] = {
    "chain": (add.s(1, 1) | add.s(2) | add.s(3), 7),
    "chain longer than a message carries": (chain(add.s(0, 1), *[add.s(1) for _ in range(29)]), 30),
    "group": (group(add.s(n, n) for n in range(5)), [0, 2, 4, 6, 8]),
    "group of groups": (group(group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)), [2, 4, 6]),
    "chord": (chord([add.s(n, n) for n in range(5)], total.s()), 20),
    "chord of one": (chord([add.s(1, 1)], gather.s()), [2]),
    "empty chord": (chord([], gather.s()), []),
    "empty chord in a chain": (add.s(1, 1) | chord([], gather.s()) | gather.s(), []),
    "group in a chain": (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(100), 107),
    "group of one in a chain": (add.s(1, 1) | group(add.s(1)) | add.s(1), 4),
    "group after group": (group(add.s(1, 1), add.s(2, 2)) | group(gather.s(), gather.s()), [[2, 4], [2, 4]]),
    "three groups": (
        group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s()) | group(total.s(), total.s()) | total.s(),
        24,
    ),
    "chain ending in a group, in a group": (
        group(chain(add.s(1, 1), group(add.s(1), add.s(2))), add.s(5, 5)) | gather.s(),
        [[3, 4], 10],
    ),
    "chord in a chord": (chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(5, 5)], gather.s()), [6, 10]),
    "chord three deep": (
        chord([chord([chord([add.s(1, 1)], total.s()), add.s(2, 2)], total.s()), add.s(5, 5)], gather.s()),
        [6, 10],
    ),
    "chain in a chord": (chord([chain(add.s(1, 1), add.s(2), add.s(3)), add.s(5, 5)], gather.s()), [7, 10]),
    "chord with a chain as body": (chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(10)), 16),
    "chord with a chord as body": (
        chord([add.s(1, 1), add.s(2, 2)], chord([total.s(), total.s()], gather.s())),
        [6, 6],
    ),
    "chord after chord": (
        chain(chord([add.s(1, 1)], total.s()), chord([add.s(1), add.s(2)], total.s()), add.s(1)),
        8,
    ),
    "immutable steps": (add.s(1, 1) | note.si("alone") | group(note.si(1), note.si(2)) | gather.s(), [1, 2]),
    "members that retry": (chord([flows.third_time.s(5), add.s(5, 5)], gather.s()), [5, 10]),
    "a member that retries with other options": (chord([flows.again_elsewhere.s(5), add.s(5, 5)], gather.s()), [5, 10]),
    "a step that retries with other options": (flows.again_elsewhere.s(5) | add.s(1), 6),
    "a member that ignores its result": (chord([flows.ignore.s(), add.s(5, 5)], gather.s()), [None, 10]),
    "replaced by a task": (flows.replaced_by_task.s(5) | add.s(1), 106),
    "replaced by a chain": (flows.replaced_by_chain.s(5) | add.s(1), 1106),
    "replaced by a group": (flows.replaced_by_group.s(5) | gather.s(), [6, 7]),
    "replaced by a chord": (flows.replaced_by_chord.s(5) | add.s(1), 14),
    "members that are replaced": (
        chord(
            [
                flows.replaced_by_task.s(5),
                flows.replaced_by_chain.s(6) | add.s(1),
                flows.replaced_by_group.s(6),
                flows.replaced_by_chord.s(5),
            ],
            gather.s(),
        ),
        [105, 1107, [7, 8], 13],
    ),
    "a member that adds members": (chord([flows.adds_members.s(1), add.s(5, 5)], gather.s()), [1, 10, 11, 21]),
    "map": (note.map([1, 2, 3]), [1, 2, 3]),
    "starmap": (add.starmap([(1, 2), (3, 4)]), [3, 7]),
    "chunks": (add.chunks([(n, n) for n in range(5)], 2), [[0, 2], [4, 6], [8]]),
    "chunks in a chain": (add.chunks([(n, n) for n in range(5)], 2) | gather.s(), [[0, 2], [4, 6], [8]]),
}


@pytest.mark.promise("W03", "K02")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_workflow_gives_what_its_shape_says(worker: Worker, shape: str) -> None:
    signature, expected = SHAPES[shape]
    assert value_of(signature) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_eager_runs_give_the_same(shape: str) -> None:
    signature, expected = SHAPES[shape]
    assert signature.apply().get() == expected


BROKEN: dict[str, Any] = {
    "member": chord([add.s(1, 1), fail.s()], gather.s()),
    "member of a chord in a chain": add.s(1, 1) | group(add.s(1), fail.s()) | gather.s() | add.s(1) | note.s(),
    "step of a member": chord([chain(add.s(1, 1), fail.s(), add.s(2)), add.s(5, 5)], gather.s()),
    "step before a group in a member": chord(
        [chain(fail.s(), group(add.s(1), add.s(2))), add.s(5, 5)], gather.s() | note.s()
    ),
    "member of a chord in a chord": chord(
        [chord([fail.s(), add.s(1, 2)], total.s()), add.s(5, 5)], gather.s() | group(note.s(), note.s()) | gather.s()
    ),
    "member that rejects": chord([flows.reject.s(), add.s(5, 5)], gather.s()),
    "member whose result cannot be written": chord([flows.unwritable.s(), add.s(5, 5)], gather.s()),
}


@pytest.mark.promise("W03")
@pytest.mark.parametrize("place", BROKEN)
def test_a_failed_member_fails_whatever_waits_for_it(worker: Worker, place: str) -> None:
    with pytest.raises(ChordError, match=r"Dependency .* raised"):
        # Of the body itself: a member that has failed already would be raised before.
        BROKEN[place].apply_async().get(timeout=TIMEOUT, follow_parents=False)


@pytest.mark.parametrize("place", ["member", "step of a member", "step", "body"])
def test_a_call_that_no_worker_knows_fails_its_workflow(worker: Worker, place: str) -> None:
    # Given a task that is registered nowhere, for which no worker waits long
    nobody = flows.app.signature("tests.apps.flows.nobody")
    signature, error = {
        "member": (chord([add.s(1, 1), nobody], gather.s()), ChordError),
        "step of a member": (chord([add.s(1, 1) | nobody | add.s(1), add.s(1, 1)], gather.s()), ChordError),
        "step": (chain(add.s(1, 1), nobody, add.s(1)), NotRegistered),
        "body": (chord([add.s(1, 1)], nobody | note.s()), NotRegistered),
    }[place]
    # Then whoever waits for the workflow is told by its result
    result = signature.apply_async(link_error=on_error_new.s())
    with pytest.raises(error, match="nobody"):
        result.get(timeout=TIMEOUT, follow_parents=False)
    # and so are the error callbacks, once
    failed = [result.id, *(node.id for node in result._parents() if hasattr(node, "task_id"))]
    eventually(lambda: _once_of(worker, failed))


@pytest.mark.parametrize(
    "signature",
    [
        fail.s() | add.s(1) | add.s(2),
        fail.s() | group(add.s(1), add.s(2)) | total.s() | chord([add.s(1)], total.s()) | add.s(1),
        chain(fail.s(), *[add.s(1) for _ in range(40)]),
    ],
    ids=["chain", "chain with groups", "long chain"],
)
def test_a_failed_step_ends_all_later_ones(worker: Worker, signature: Any) -> None:
    # When the first step fails
    result = signature.apply_async()
    # Then the last result says so by itself, and so do all between
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=TIMEOUT, follow_parents=False)
    node = result.parent
    while node is not None:
        eventually(lambda: _is_failed(node))
        node = node.parent


def _is_failed(node: Any) -> None:
    assert node.failed()


@pytest.mark.promise("W03")
@pytest.mark.parametrize("body", [gather.s(), gather.s() | note.s(), group(note.s(), note.s())], ids=repr)
def test_an_error_callback_of_a_body_is_called_once(worker: Worker, body: Any) -> None:
    signature = chord([fail.s(), fail.s(), add.s(1, 1)], body.clone())
    signature.link_error(on_error.s())
    result = signature.apply_async()
    # Of the body itself: where the store of results is another one, a member that has failed is seen before it.
    alone = {} if isinstance(body, group) else {"follow_parents": False}
    with pytest.raises(ChordError):
        result.get(timeout=TIMEOUT, **alone)
    ids = {leaf.id for leaf in (result if isinstance(result, list) else getattr(result, "results", [result]))}
    ids |= {result.parent.id} if result.parent is not None else set()

    def called() -> None:
        found = {task_id: n for task_id, n in worker.trace.count("errback").items() if task_id in ids}
        assert list(found.values()) == [1]

    if not isinstance(body, group):
        eventually(called)


@pytest.mark.promise("W03")
def test_an_error_callback_that_takes_the_failure_gets_it(worker: Worker) -> None:
    result = chord([fail.s(), add.s(1, 1)], gather.s().on_error(on_error_new.s())).apply_async()
    eventually(lambda: _called(worker, "errback_new", result.id))


def test_error_callbacks_of_a_chain_are_called_for_the_step_that_failed(worker: Worker) -> None:
    signature = chain(add.s(1, 1), fail.s(), add.s(1))
    signature.link_error(on_error.s())
    result = signature.apply_async()
    eventually(lambda: _called(worker, "errback", result.parent.id))
    assert worker.trace.count("errback")[result.id] == 0


def _once_of(worker: Worker, ids: list[str]) -> None:
    called = worker.trace.count("errback_new")
    assert sum(called[task_id] for task_id in ids) == 1


def _called(worker: Worker, word: str, task_id: str) -> None:
    assert worker.trace.count(word)[task_id] == 1


def test_callbacks_of_a_workflow_are_called_at_its_end(worker: Worker) -> None:
    for signature, expected in (
        (chain(add.s(1, 1), add.s(2)), 4),
        (chord([add.s(1, 1)], total.s()), 2),
        (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s(), 7),
    ):
        callback_id = new_id()
        result = signature.apply_async(link=note.s().set(task_id=callback_id))
        assert result.get(timeout=TIMEOUT) == expected
        assert flows.app.AsyncResult(callback_id).get(timeout=TIMEOUT) == expected


def test_a_callback_may_be_a_workflow(worker: Worker) -> None:
    callback = chain(add.s(1), note.s())
    last = new_id()
    callback.options["task_id"] = last
    add.apply_async((1, 1), link=callback)
    assert flows.app.AsyncResult(last).get(timeout=TIMEOUT) == 3


def test_results_are_linked_to_those_before_them(worker: Worker) -> None:
    # Given a workflow
    result = (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(1)).apply_async()
    # Then its handles tell each step
    assert result.get(timeout=TIMEOUT) == 8
    assert result.parent.get(timeout=TIMEOUT) == 7
    assert result.parent.parent.get(timeout=TIMEOUT) == [3, 4]
    assert result.parent.parent.parent.get(timeout=TIMEOUT) == 2
    assert result.parent.parent.progress()[:2] == (2, 2)


def test_the_graph_of_a_result_is_that_of_celery(worker: Worker) -> None:
    # Given a chain that has ended
    result = (add.s(1, 1) | add.s(2) | add.s(3)).apply_async()
    assert result.get(timeout=TIMEOUT) == 7
    # Then the graph of its first result leads to the last, in Celery's words
    first = result.parent.parent
    graph = first.graph
    assert list(graph) == [first, result.parent, result]
    assert list(graph.items()) == [(first, [result.parent]), (result.parent, [result]), (result, [])]
    assert graph.topsort() == [result, result.parent, first]
    assert [value for _, value in first.collect()] == [2, 4, 7] and first.get_leaf() == 7
    file = io.StringIO()
    graph.to_dot(file)
    assert f'"{first.id}" -> "{result.parent.id}";' in file.getvalue()


def test_a_task_may_send_a_chord(worker: Worker) -> None:
    [chord_id] = flows.fans_out.delay(4).get(timeout=TIMEOUT)
    assert flows.app.AsyncResult(chord_id).get(timeout=TIMEOUT) == 6


def test_what_belongs_to_a_cancelled_root_does_not_start_once_the_call_has_returned(worker: Worker) -> None:
    # Given a workflow of a thousand nodes in all shapes, a few of which have run and two of which run
    header = [chain(flows.work.s(n), flows.work.s()) for n in range(400)]
    result = chain(note.s("go"), chord(header, flows.work.s()), *[flows.work.s() for _ in range(200)]).apply_async()
    root = top_of(result)
    eventually(lambda: _at_least(worker, 10))
    # When its root is revoked
    root.revoke(terminate=True)
    returned = time.time()
    # Then what had passed its check runs (one for each child), nothing else begins,
    with pytest.raises((TaskRevokedError, ChordError)):
        result.get(timeout=TIMEOUT)
    eventually(_nothing_left, 60)
    late = [line for line in worker.trace.lines() if line[0] == "work" and float(line[3]) > returned]
    assert len(late) <= 2, late
    assert sum(worker.trace.count("work").values()) < 400


def test_running_tasks_of_a_cancelled_root_are_told(worker: Worker) -> None:
    # Given a workflow two tasks of which run for long
    result = chain(note.s("go"), group(flows.nap.si(60.0), flows.nap.si(60.0))).apply_async()
    eventually(lambda: [_called(worker, "start", member.id) for member in result.results])
    # When its root is revoked with ``terminate``
    top_of(result).revoke(terminate=True)
    # Then they stop, and their results say so
    with pytest.raises(TaskRevokedError):
        result.get(timeout=TIMEOUT)
    for member in result.results:
        assert isinstance(member.get(propagate=False, timeout=TIMEOUT), TaskRevokedError)


def test_a_worker_that_does_not_answer_is_named_once(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    not_on("amqp", "RabbitMQ tells nobody who else consumes, so nobody is missed")
    # Given a worker whose agent stands still
    [agent] = roles(flows.app, worker)["agent"]
    with stopped([agent], flows.app):
        # When tasks are revoked
        for task_id in ("a", "b", "c"):
            flows.app.AsyncResult(task_id).revoke(timeout=0.3)
    # Then the call returns all the same, and says who has not heard
    [told] = [record for record in caplog.records if "not confirmed" in record.message]
    assert worker.node in told.message
    # and once the agent goes on it has heard
    eventually(_hears)


def _hears() -> None:
    assert flows.app.hearing.tell() == []


def _at_least(worker: Worker, count: int) -> None:
    assert sum(worker.trace.count("work").values()) >= count


def _nothing_left() -> None:
    assert not [q for q in flows.app.store.broker.stats(["celery"]) if q.ready or q.delayed or q.leased]


def test_a_group_is_saved_and_restored(worker: Worker) -> None:
    result = group(add.s(1, 1), add.s(2, 2)).apply_async()
    result.save()
    restored = type(result).restore(result.id, app=flows.app)
    assert restored == result
    assert restored.get(timeout=TIMEOUT) == [2, 4]
    assert sorted(value for _, value in restored.iterate()) == [2, 4]
    restored.delete()
    assert type(result).restore(result.id, app=flows.app) is None


def test_a_task_reports_its_progress_by_the_group(worker: Worker) -> None:
    result = group(add.s(1, 1), fail.s()).apply_async()
    with pytest.raises(ValueError):
        result.get(timeout=TIMEOUT)
    eventually(lambda: _ready(result))
    assert result.progress() == (2, 2, 1)
    assert (result.ready(), result.successful(), result.failed(), result.completed_count()) == (True, False, True, 1)


def _ready(result: Any) -> None:
    assert result.ready()


def test_a_task_that_looks_can_be_asked_to_stop(worker: Worker) -> None:
    result = flows.patient.delay(30)
    eventually(lambda: _called(worker, "start", result.id))
    result.abort()
    assert result.get(timeout=TIMEOUT) == "stopped"


def test_a_workflow_can_be_drawn(worker: Worker) -> None:
    # Given a workflow that has ended
    result = (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()).apply_async()
    assert result.get(timeout=TIMEOUT) == 7
    # Then each form shows its four tasks with their states
    graph = graph_of(result)
    assert [result.parent.parent.id] == graph.roots()
    for form in (graph.as_tree(), graph.as_dot(), graph.as_mermaid()):
        assert form.count("SUCCESS") >= 4
    for task_id in (result.id, result.parent.parent.id, *(member.id for member in result.parent.results)):
        assert task_id in graph.as_tree() and task_id in graph.as_dot()


@pytest.mark.promise("W02")
def test_no_task_polls(worker: Worker) -> None:
    assert value_of(chord([add.s(n, n) for n in range(100)], total.s())) == 9900
    assert "chord_unlock" not in worker.output()


@pytest.mark.parametrize("shape", ["chord", "chain", "nested"])
def test_all_of_a_workflow_knows_its_root(worker: Worker, shape: str) -> None:
    # Given a workflow that ends with a task behind a chord
    last = flows.identity.s()
    signature = {
        "chord": chord([add.s(1, 1), add.s(2, 2)], last),
        "chain": chain(note.s("go"), group(note.si(1), note.si(2)), note.si(3), last),
        "nested": chord([chord([add.s(1, 1)], total.s()), flows.replaced_by_group.s(1)], note.s() | last),
    }[shape]
    result = signature.apply_async()
    # Then that task's root is the first of all handles: who revokes it reaches the end
    assert result.get(timeout=TIMEOUT)["root_id"] == top_of(result).id


def test_a_workflow_cancelled_between_its_members_and_its_body_ends(worker: Worker) -> None:
    # Given a chord with more behind it, the root of which is revoked by its only member
    result = chain(chord([flows.cancels_its_root.s()], note.s()), note.s(), group(note.s(), note.s())).apply_async()
    # Then neither the body nor what follows it runs, and all of it says why
    with pytest.raises((TaskRevokedError, ChordError)):
        result.get(timeout=TIMEOUT)
    for member in result.results:
        member.get(timeout=TIMEOUT, propagate=False)
        assert worker.trace.count("note")[member.id] == 0
