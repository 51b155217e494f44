"""What follows a task, on each store: links, error callbacks, the steps of a chain, signatures as calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from talo import Talo, signature
from tests.support import eventually
from tests.workers import Worker

LONG = 30.0


@pytest.fixture(scope="module")
def worker(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with Worker(place, tmp_path_factory.mktemp("worker"), "-c", "2") as worker:
        yield worker


@pytest.fixture
def app(place: str, worker: Worker) -> Iterator[Talo]:
    with Talo("client", broker=place, set_as_current=False) as app:
        yield app


def call(app: Talo, name: str, *args: Any, immutable: bool = False, **options: Any) -> Any:
    """The signature of a traced task."""
    return signature(f"tests.apps.traced.{name}", args, app=app, immutable=immutable, **options)


def send(app: Talo, name: str, *args: Any, **options: Any) -> Any:
    return app.send_task(f"tests.apps.traced.{name}", args, **options)


def test_a_signature_is_a_call_that_takes_more_arguments_later(app: Talo) -> None:
    partial = call(app, "add", 2)
    assert partial.delay(1).get(timeout=LONG) == 3
    assert partial.apply_async((5,)).get(timeout=LONG) == 7
    assert partial.clone((10,)).delay().get(timeout=LONG) == 12


def test_an_immutable_signature_ignores_what_comes_later(app: Talo) -> None:
    assert call(app, "add", 2, 2, immutable=True).delay(100).get(timeout=LONG) == 4


def test_a_frozen_signature_has_the_id_that_its_run_will_have(app: Talo) -> None:
    frozen = call(app, "add", 1, 1)
    promised = frozen.freeze()
    assert frozen.apply_async().id == promised.id
    assert promised.get(timeout=LONG) == 2


def test_links_run_with_the_value_under_ids_that_are_known_before(app: Talo) -> None:
    first, second = call(app, "add", 10), call(app, "add", 0, 7, immutable=True)
    ids = [first.freeze().id, second.freeze().id]
    sent = send(app, "add", 1, 2, link=[first, second])
    assert sent.get(timeout=LONG) == 3
    assert [app.AsyncResult(task_id).get(timeout=LONG) for task_id in ids] == [13, 7]


def test_a_link_of_a_link_runs_too(app: Talo) -> None:
    last = call(app, "add", 100)
    task_id = last.freeze().id
    middle = call(app, "add", 10)
    middle.link(last)
    send(app, "add", 1, 2, link=middle)
    assert app.AsyncResult(task_id).get(timeout=LONG) == 113


def test_a_link_does_not_run_after_a_failure(app: Talo) -> None:
    link = call(app, "add", 1)
    task_id = link.freeze().id
    with pytest.raises(ValueError, match="no"):
        send(app, "fails", link=link).get(timeout=LONG)
    assert app.AsyncResult(task_id).state == "PENDING"


def test_a_link_waits_for_the_last_try(app: Talo) -> None:
    link = call(app, "add", 40)
    task_id = link.freeze().id
    assert send(app, "flaky", 2, link=link).get(timeout=LONG) == 2
    assert app.AsyncResult(task_id).get(timeout=LONG) == 42


@pytest.mark.parametrize(("form", "word"), [("on_error", "errback"), ("on_error_new", "errback_new")])
@pytest.mark.parametrize("task", ["fails", "stubborn"])
def test_an_error_callback_runs_once_in_either_form(app: Talo, worker: Worker, task: str, form: str, word: str) -> None:
    failing = send(app, task, link_error=call(app, form))
    failing.get(timeout=LONG, propagate=False)
    eventually(lambda: _is(worker.trace.count(word)[failing.id], 1))


def test_the_steps_of_a_chain_run_in_order_and_pass_their_values_on(app: Talo) -> None:
    steps = [call(app, "add", n) for n in (10, 100, 1000)]
    ids = [step.freeze().id for step in steps]
    assert send(app, "add", 1, 2, chain=steps[::-1]).get(timeout=LONG) == 3
    assert [app.AsyncResult(task_id).get(timeout=LONG) for task_id in ids] == [13, 113, 1113]


def test_every_step_behind_a_failure_ends_with_it(app: Talo) -> None:
    steps = [call(app, "fails", "half-way", immutable=True), call(app, "add", 1), call(app, "add", 2)]
    ids = [step.freeze().id for step in steps]
    send(app, "add", 1, 2, chain=steps[::-1])
    for task_id in ids:
        with pytest.raises(ValueError, match="half-way"):
            app.AsyncResult(task_id).get(timeout=LONG)


def test_two_hundred_chains_all_end(app: Talo) -> None:
    ends = []
    for n in range(200):
        steps = [call(app, "add", 1) for _ in range(4)]
        ends.append([step.freeze().id for step in steps][-1])
        send(app, "add", n, 1, chain=steps[::-1])
    assert [app.AsyncResult(task_id).get(timeout=LONG) for task_id in ends] == [n + 5 for n in range(200)]


def _is(actual: object, expected: object) -> None:
    assert actual == expected
