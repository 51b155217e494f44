"""Running, as users see it, on each store: states, progress, extended results, hooks, signals, revoking, discovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo, errors
from tests.support import eventually
from tests.workers import Worker

LONG = 30.0


@pytest.fixture(scope="module")
def worker(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with two children that tracks starts and stores all it knows of a task."""
    env = {"TALO_TASK_TRACK_STARTED": "1", "TALO_RESULT_EXTENDED": "1"}
    folder = tmp_path_factory.mktemp("worker")
    with Worker(place, folder, "-c", "2", app="tests.apps.featured", env=env) as worker:
        yield worker


@pytest.fixture
def app(place: str, worker: Worker) -> Iterator[Talo]:
    with Talo("client", broker=place, set_as_current=False) as app:
        yield app


# -- states


def test_a_running_task_is_started_and_says_where(app: Talo, worker: Worker, tmp_path: Path) -> None:
    result = app.send_task("featured.hold", (str(tmp_path / "open"),))
    eventually(lambda: _is(result.state, "STARTED"))
    assert result.info["hostname"] == "w@test"
    assert result.info["pid"] in worker.children()
    (tmp_path / "open").touch()
    assert result.get(timeout=LONG) == "let go"
    assert result.state == "SUCCESS"


def test_progress_is_seen_while_the_task_runs(app: Talo, tmp_path: Path) -> None:
    result = app.send_task("featured.progress", (str(tmp_path / "open"),))
    eventually(lambda: _is((result.state, result.info), ("PROGRESS", {"done": 1, "of": 2})))
    (tmp_path / "open").touch()
    assert result.get(timeout=LONG) == "done"


def test_an_extended_result_tells_of_its_call(app: Talo) -> None:
    app.send_task("featured.flaky", (1,), task_id="told").get(timeout=LONG)
    result = app.AsyncResult("told")
    assert (result.name, result.args, result.kwargs) == ("featured.flaky", [1], {})
    assert (result.worker, result.retries, result.queue) == ("w@test", 1, "celery")
    assert result.date_done is not None


def test_an_id_that_nobody_knows_is_pending(app: Talo) -> None:
    assert app.AsyncResult("nobody-knows").state == "PENDING"
    with pytest.raises(errors.TimeoutError):
        app.AsyncResult("nobody-knows").get(timeout=0.05)


# -- classes and signals


def test_a_call_that_is_overridden_wraps_the_function_within_its_request(app: Talo) -> None:
    count, text = app.send_task("featured.counted", ("x",)).get(timeout=LONG)
    assert count >= 1
    assert text == "x:False"


@pytest.mark.promise("K07")
@pytest.mark.parametrize(
    ("task", "name", "keywords"),
    [
        ("add", "task_prerun", "args,kwargs,task,task_id"),
        ("fails", "task_failure", "args,einfo,exception,kwargs,task_id,traceback"),
    ],
)
def test_receivers_in_the_worker_get_the_documented_keywords(
    app: Talo, worker: Worker, task: str, name: str, keywords: str
) -> None:
    result = app.send_task(f"featured.{task}", (1, 1) if task == "add" else ())
    result.get(timeout=LONG, propagate=False)
    eventually(lambda: _is([line[3] for line in worker.trace.lines() if line[1:3] == [name, result.id]], [keywords]))


@pytest.mark.promise("K07")
def test_every_child_tells_of_its_start(worker: Worker) -> None:
    def told() -> None:
        assert sum(line[:2] == ["signal", "worker_process_init"] for line in worker.trace.lines()) >= 2
        assert sum(line[:2] == ["signal", "worker_ready"] for line in worker.trace.lines()) == 1

    eventually(told)


def test_a_shared_task_is_the_apps_own(app: Talo) -> None:
    assert app.send_task("featured.shared", (3,)).get(timeout=LONG) == -3


# -- revoking


@pytest.mark.promise("L03")
def test_what_was_revoked_before_a_worker_starts_never_runs(place: str, tmp_path: Path) -> None:
    # Given queued, delayed and good tasks, while nobody consumes from their queue,
    with Talo("client", broker=place, set_as_current=False) as app:
        queued = app.send_many((("featured.begun", (n,)) for n in range(50)), queue="later")
        delayed = app.send_many((("featured.begun", (n,)) for n in range(50)), queue="later", countdown=0.2)
        good = app.send_many((("featured.begun", (n,)) for n in range(10)), queue="later")
        # When all but the good ones are revoked and a worker starts that was not there,
        for result in (*queued, *delayed):
            result.revoke()
        with Worker(place, tmp_path, "-c", "2", "-Q", "later", app="tests.apps.featured") as worker:
            # Then the good ones run, and of the others none, which are all REVOKED.
            assert [result.get(timeout=LONG) for result in good] == list(range(10))
            for result in (*queued, *delayed):
                with pytest.raises(errors.TaskRevokedError, match="revoked"):
                    result.get(timeout=LONG)
                assert result.state == "REVOKED"
            begun = {line[1] for line in worker.trace.lines() if line[0] == "begun"}
            told = {line[2] for line in worker.trace.lines() if line[:2] == ["signal", "task_revoked"]}
    assert begun == {result.id for result in good}
    assert told == {result.id for result in (*queued, *delayed)}


@pytest.mark.promise("L03")
def test_what_is_revoked_while_the_worker_runs_never_starts(app: Talo, worker: Worker) -> None:
    delayed = app.send_many((("featured.begun", ()) for _ in range(20)), countdown=1.0)
    app.ResultSet(delayed).revoke()
    for result in delayed:
        with pytest.raises(errors.TaskRevokedError):
            result.get(timeout=LONG)
    begun = {line[1] for line in worker.trace.lines() if line[0] == "begun"}
    assert begun.isdisjoint(result.id for result in delayed)


# -- a project's layout


def test_tasks_of_packages_are_discovered_and_settings_read_by_their_prefix(place: str, tmp_path: Path) -> None:
    # Given a project whose settings stand among others with a prefix, and whose tasks stand in two packages,
    (tmp_path / "shop.py").write_text(
        "from talo import Celery\n"
        "app = Celery('shop')\n"
        "app.config_from_object('settings', namespace='CELERY')\n"
        "app.autodiscover_tasks(['orders', 'mails', 'empty'])\n"
    )
    (tmp_path / "settings.py").write_text(
        "DEBUG = True\nCELERY_TASK_DEFAULT_QUEUE = 'shop'\nCELERY_TASK_TRACK_STARTED = True\n"
    )
    for package in ("orders", "mails", "empty"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for package in ("orders", "mails"):
        (tmp_path / package / "tasks.py").write_text(
            "from talo import shared_task\n\n@shared_task\ndef where(x):\n    return [__name__, x]\n"
        )
    # When its worker runs, Then it knows the tasks and consumes from the configured queue.
    with Talo("client", broker=place, set_as_current=False) as app:
        with Worker(place, tmp_path, "-c", "1", app="shop", env={"PYTHONPATH": _path(tmp_path)}) as worker:
            for package in ("orders", "mails"):
                sent: Any = app.send_task(f"{package}.tasks.where", (1,), queue="shop")
                assert sent.get(timeout=LONG) == [f"{package}.tasks", 1]
            assert "exchange=shop" in worker.output()
            assert "orders.tasks.where" in worker.output()


def _path(folder: Path) -> str:
    root = Path(__file__).parents[2]
    return f"{root / 'src'}:{root}:{folder}"


def _is(actual: object, expected: object) -> None:
    assert actual == expected
