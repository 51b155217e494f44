"""What somebody gets who makes a mistake: one clear line that names the cause and the mend, and nothing is lost.

Every case goes through the real command or the public API; a canary stands for the password and must never be seen.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Talo, errors
from tests.servers.redis import RedisServer, database_of
from tests.support import eventually
from tests.workers import ROOT, Worker, client

CANARY = "Canary-7f3a-pass"
ADD = "tests.apps.traced.add"
LONG = 30.0


class Talked(subprocess.CompletedProcess[str]):
    """A command that has ended."""

    @property
    def said(self) -> str:
        return self.stdout + self.stderr

    def refuses(self, *texts: str, code: int = 1) -> None:
        """It ended with this code and one line of error that holds these texts, and showed no password."""
        assert CANARY not in self.said
        assert "Traceback" not in self.said
        assert self.returncode == code, self.said
        wrong = [line for line in self.stderr.splitlines() if line.startswith("Error: ")]
        assert len(wrong) == 1, self.said
        for text in texts:
            assert text in wrong[0]


def talo(*words: str, cwd: Path, broker: str | None = None, limit: int | None = None, **env: str) -> Talked:
    """Run the command to its end; ``limit`` is the size in bytes that no file may exceed."""

    def small_files() -> None:
        assert limit is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "talo", *words],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "TALO_BROKER_URL": broker or f"sqlite:///{cwd}/talo.sqlite3",
            **env,
        },
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        preexec_fn=small_files if limit is not None else None,
    )
    return Talked(done.args, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def proj(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the source of a project's module ``proj``; returns the folder."""

    def write(source: str) -> Path:
        (tmp_path / "proj.py").write_text(source)
        return tmp_path

    return write


# -- an app that cannot be imported


@pytest.mark.parametrize("command", [("worker",), ("status",), ("call", "x"), ("purge", "-f"), ("check",)])
def test_a_module_that_is_not_there_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    talo("-A", "nowhere", *command, cwd=tmp_path).refuses("no module 'nowhere'", "--workdir", code=2)


def test_a_module_that_imports_what_is_missing_is_named_with_its_line(proj: Callable[[str], Path]) -> None:
    folder = proj("import json\nimport nothing_of_this_name\n")
    talo("-A", "proj", "worker", cwd=folder).refuses(
        "proj.py line 2", "nothing_of_this_name", "install what provides", code=2
    )


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("def f(:\n", ("proj.py line 1", "SyntaxError")),
        ("x = 1\nraise ValueError('boom')\n", ("proj.py line 2", "ValueError: boom")),
        ("x = 1\n", ("proj holds no Talo app", "create one there")),
    ],
)
def test_a_module_that_is_no_project_is_told_what_it_lacks(
    proj: Callable[[str], Path], source: str, texts: tuple[str, ...]
) -> None:
    talo("-A", "proj", "worker", cwd=proj(source)).refuses(*texts, code=2)


def test_an_attribute_that_is_not_there_is_answered_with_the_one_that_is(proj: Callable[[str], Path]) -> None:
    folder = proj("from talo import Talo\napp = Talo('proj')\n")
    talo("-A", "proj:celery_app", "worker", cwd=folder).refuses("no attribute 'celery_app'", "proj:app", code=2)


# -- unknown settings, wrong option types


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        ("broker_ulr='memory://'", ("broker_ulr is not a setting", "did you mean broker_url")),
        ("worker_concurrency='many'", ("worker_concurrency", "'many'", "whole number")),
        ("task_serializer='morse'", ("task_serializer: no serializer 'morse'", "known are json")),
        ("result_compression='squash'", ("result_compression: no compression 'squash'", "known are")),
        ("result_expires='soon'", ("result_expires", "'soon'")),
    ],
)
@pytest.mark.promise("C02")
def test_a_wrong_setting_is_said_at_start(proj: Callable[[str], Path], arguments: str, texts: tuple[str, ...]) -> None:
    folder = proj(f"from talo import Talo\napp = Talo('proj', {arguments})\n")
    done = talo("-A", "proj", "worker", cwd=folder)
    done.refuses(*texts, code=done.returncode or 1)


@pytest.mark.promise("C02")
def test_a_misspelt_variable_of_the_environment_is_said_at_start(proj: Callable[[str], Path]) -> None:
    folder = proj("from talo import Talo\napp = Talo('proj')\n")
    talo("-A", "proj", "worker", cwd=folder, TALO_WORKER_CONCURENCY="3").refuses(
        "TALO_WORKER_CONCURENCY is not a setting", "did you mean TALO_WORKER_CONCURRENCY"
    )


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ("max_retries='three'", ("task proj.f", "max_retries must be a whole number", "'three'")),
        ("max_retires=3", ("task proj.f", "unknown option 'max_retires'", "did you mean 'max_retries'")),
        ("autoretry_for='ValueError'", ("task proj.f", "autoretry_for", "'ValueError'")),
        ("time_limit=1, soft_time_limit=2", ("soft_time_limit (2)", "time_limit (1)")),
        ("acks_late='yes'", ("task proj.f", "acks_late must be True or False")),
    ],
)
@pytest.mark.promise("C02")
def test_a_wrong_option_of_a_task_is_said_with_its_line(
    proj: Callable[[str], Path], options: str, texts: tuple[str, ...]
) -> None:
    folder = proj(f"from talo import Talo\napp = Talo('proj')\n\n@app.task({options})\ndef f(): pass\n")
    talo("-A", "proj", "worker", cwd=folder).refuses("proj.py line 4", *texts, code=2)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("-c", "many"), ("--concurrency", "'many'", "auto")),
        (("--time-limit", "soon"), ("--time-limit", "'soon'")),
        (("-P", "bogus"), ("--pool", "'bogus'", "prefork")),
        (("--no-such-option",), ("--no-such-option",)),
        (("-l", "LOUD"), ("LOUD", "INFO")),
    ],
)
def test_a_wrong_option_of_the_command_is_a_usage_error(
    proj: Callable[[str], Path], words: tuple[str, ...], texts: tuple[str, ...]
) -> None:
    folder = proj("from talo import Talo\napp = Talo('proj')\n")
    talo("-A", "proj", "worker", *words, cwd=folder).refuses(*texts, code=2)


@pytest.fixture
def app() -> Iterator[Talo]:
    with Talo("calls", broker="memory://", set_as_current=False) as app:
        yield app


@pytest.fixture
def task(app: Talo) -> Any:
    @app.task(name="calls.one")
    def one(x: object, y: int = 1) -> None:
        return None

    return one


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"countdown": "soon"}, TypeError, "countdown must be a number of seconds, not 'soon'"),
        ({"eta": "tomorrow"}, ValueError, "eta 'tomorrow' is no ISO 8601 time"),
        ({"expires": []}, TypeError, "expires must be a number of seconds, not []"),
        ({"priority": "high"}, TypeError, "priority must be a whole number, not 'high'"),
        ({"time_limit": "x"}, TypeError, "time_limit must be a number of seconds, not 'x'"),
        ({"time_limit": 1, "soft_time_limit": 2}, ValueError, "soft_time_limit (2) must be less than"),
        ({"headers": 5}, TypeError, "headers must be a dict, not 5"),
        ({"link": "later"}, TypeError, "link must be a signature or several, not 'later'"),
        ({"task_id": 5}, TypeError, "task_id must be a text, not 5"),
        ({"retry_policy": 5}, TypeError, "retry_policy must be a dict, not 5"),
        ({"ignore_result": "no"}, TypeError, "ignore_result must be True or False, not 'no'"),
        ({"delivery_mode": "fast"}, ValueError, "delivery_mode must be 1 (transient) or 2 (persistent), not 'fast'"),
        ({"serializer": "morse"}, errors.ImproperlyConfigured, "no serializer 'morse'; known are json"),
        ({"compression": "squash"}, errors.ImproperlyConfigured, "no compression 'squash'; known are"),
        ({"queue": 5}, TypeError, "not a queue: 5"),
        ({"kwargs": [1]}, TypeError, "kwargs must be a dict, not list"),
    ],
)
def test_a_wrong_option_of_a_call_is_named_and_nothing_is_sent(
    app: Talo, task: Any, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        task.apply_async((1,), **options)
    assert text in str(caught.value)
    assert _ready(app) == 0


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"z": 1}, "unexpected keyword argument 'z'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(
    app: Talo, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        task.delay(*args, **kwargs)
    assert _ready(app) == 0


# -- arguments and results that cannot be written


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (object(), "args[0]: object of type object cannot be written as JSON"),
        ({"a": [1, {"b": {1, 2}}]}, "args[0].a[1].b: object of type set cannot be written as JSON"),
        (print, "args[0]: object of type builtin_function_or_method cannot be written as JSON"),
    ],
)
def test_an_argument_that_cannot_be_written_is_named_by_its_place(
    app: Talo, task: Any, value: object, place: str
) -> None:
    with pytest.raises(errors.EncodeError) as caught:
        task.delay(value)
    assert str(caught.value).startswith(place)
    assert "pass plain data" in str(caught.value)
    assert _ready(app) == 0


def test_an_argument_that_cannot_be_written_stops_a_bulk_send_and_says_where(app: Talo, task: Any) -> None:
    calls = [(task, (n,)) for n in range(5)] + [(task, (object(),))]
    with pytest.raises(errors.EncodeError) as caught:
        app.send_many(calls, batch=2)
    assert "send_many: 4 calls had been sent before this" in caught.value.__notes__
    assert _ready(app) == 4


# -- what a worker meets


@pytest.fixture
def broker(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/talo.sqlite3"


def test_what_a_task_returns_and_nobody_can_write_is_its_failure(broker: str, tmp_path: Path) -> None:
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1"):
        with pytest.raises(errors.EncodeError, match="object of type object cannot be written as JSON"):
            app.send_task("tests.apps.traced.unwritable").get(timeout=LONG)
        assert app.send_task(ADD, (1, 2)).get(timeout=LONG) == 3


def test_arguments_that_a_result_cannot_carry_stand_in_it_as_text(broker: str, tmp_path: Path) -> None:
    env = {"TALO_RESULT_EXTENDED": "1", "TALO_ACCEPT_CONTENT": "json,pickle"}
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1", env=env) as worker:
        children = worker.children()
        result = app.send_task("tests.apps.traced.fails", ({1, 2},), serializer="pickle")
        with pytest.raises(ValueError, match="1, 2"):
            result.get(timeout=LONG)
        assert result.args == "[{1, 2}]"
        assert worker.children() == children


def test_a_task_that_nobody_has_is_kept_with_the_reason_and_runs_once_somebody_has_it(
    broker: str, tmp_path: Path, proj: Callable[[str], Path]
) -> None:
    folder = proj("from talo import Talo\napp = Talo('proj')\n\n@app.task\ndef late(x): return x\n")
    # Given a call of a task that the worker does not have,
    with client(broker) as app:
        result = app.send_task("proj.late", (7,))
        with Worker(broker, tmp_path, "-c", "1", env={"TALO_TASK_UNKNOWN_PATIENCE": "0"}) as worker:
            with pytest.raises(errors.NotRegistered, match=r"proj\.late"):
                result.get(timeout=LONG)
            assert "Received unregistered task of type 'proj.late'" in worker.output()
            assert "autodiscover_tasks" in worker.output()
        # When it is replayed for a worker that has it,
        [letter] = app.store.broker.dead()
        assert (letter.death.reason, letter.death.task) == ("unregistered", "proj.late")
        assert talo("-A", "proj", "dead", "replay", "--all", cwd=folder, broker=broker).returncode == 0
        with Worker(broker, tmp_path, "-c", "1", app="proj", name="second") as second:
            # Then it runs.
            eventually(lambda: _holds("succeeded in", second.output()), timeout=LONG)


def test_a_task_that_the_app_does_not_have_is_not_called_but_the_nearest_name_told(tmp_path: Path) -> None:
    talo("-A", "tests.apps.traced", "call", "tests.apps.traced.ad", cwd=tmp_path).refuses(
        "no task 'tests.apps.traced.ad'", f"did you mean '{ADD}'"
    )


def test_a_callback_that_cannot_be_sent_fails_its_task_and_harms_nobody(broker: str, tmp_path: Path) -> None:
    after = {"task": ADD, "args": [1], "kwargs": {}, "options": {"serializer": "morse"}, "immutable": False}
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1") as worker:
        children = worker.children()
        with pytest.raises(errors.ImproperlyConfigured, match="no serializer 'morse'"):
            app.send_task(ADD, (1, 2), link=after).get(timeout=LONG)
        with pytest.raises(ValueError, match="first"):
            app.send_task("tests.apps.traced.fails", ("first",), link_error={**after, "task": "elsewhere"}).get(
                timeout=LONG
            )
        assert app.send_task(ADD, (1, 2)).get(timeout=LONG) == 3
        assert worker.children() == children
        assert "Error callback elsewhere cannot be sent" in worker.output()


def test_a_lost_task_whose_error_callback_cannot_be_sent_is_buried_all_the_same(broker: str, tmp_path: Path) -> None:
    after = {"task": "elsewhere", "args": [], "kwargs": {}, "options": {"serializer": "morse"}, "immutable": False}
    with client(broker) as app, Worker(broker, tmp_path, "-c", "1") as worker:
        agent = worker.agent()
        with pytest.raises(errors.WorkerLostError):
            app.send_task("tests.apps.traced.poison", link_error=after).get(timeout=LONG)
        assert app.send_task(ADD, (1, 2)).get(timeout=LONG) == 3
        assert worker.agent() == agent


@pytest.mark.promise("X02")
@pytest.mark.parametrize(
    "raw",
    [
        b"not JSON at all",
        b"[]",
        b'{"body": "bm90IEpTT04=", "headers": {"task": "t", "id": "i"}, "content-type": "application/json",'
        b' "content-encoding": "utf-8", "properties": {"body_encoding": "base64", "delivery_tag": "d"}}',
    ],
)
def test_a_message_that_is_no_json_is_kept_and_those_behind_it_run(
    raw: bytes,
    redis_server: RedisServer,
    redis_url: str,
    tmp_path: Path,
) -> None:
    db = database_of(redis_url)
    redis_server.command("LPUSH", "celery", raw, db=db)
    with client(redis_url) as app, Worker(redis_url, tmp_path, "-c", "1"):
        assert app.send_task(ADD, (2, 2)).get(timeout=LONG) == 4
    listed = talo("-A", "tests.apps.traced", "dead", "list", "--json", cwd=tmp_path, broker=redis_url)
    [letter] = json.loads(listed.stdout)
    assert letter["reason"]
    assert letter["queue"] == "celery"


# -- stores that are no stores


@pytest.mark.parametrize("command", [("worker",), ("status",), ("call", ADD, "-a", "[1, 2]"), ("purge", "-f")])
def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "photo.sqlite3"
    file.write_bytes(b"\xff\xd8\xff\xe0 not a database " * 400)
    before = file.read_bytes()
    talo("-A", "tests.apps.traced", *command, cwd=tmp_path, broker=f"sqlite:///{file}").refuses(
        f"{file} is not an SQLite database", "name another file"
    )
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "texts"),
    [
        ("missing/talo.sqlite3", ("the directory of", "does not exist", "create it")),
        (".", ("is a directory", "name a file in it")),
    ],
)
def test_a_place_where_no_database_can_be_is_named(tmp_path: Path, place: str, texts: tuple[str, ...]) -> None:
    url = f"sqlite:///{tmp_path / place}"
    talo("-A", "tests.apps.traced", "worker", cwd=tmp_path, broker=url).refuses(*texts)


def test_a_store_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    url = f"carrier-pigeon://me:{CANARY}@loft"
    talo("-A", "tests.apps.traced", "worker", cwd=tmp_path, broker=url).refuses("'carrier-pigeon'", "redis://")


def test_a_full_disk_is_said_and_what_was_sent_before_runs(broker: str, tmp_path: Path) -> None:
    # Given three tasks on a disk that is nearly full,
    with client(broker) as app:
        results = [app.send_task(ADD, (n, n)) for n in range(3)]
    # When somebody sends what it has no room for,
    big = json.dumps([1, "x" * 60_000])
    # Then it is told why not,
    talo("-A", "tests.apps.traced", "call", ADD, "-a", big, cwd=tmp_path, limit=40_000).refuses(
        "no room for", "free some space"
    )
    # and what was sent before runs.
    with Worker(broker, tmp_path, "-c", "1"), client(broker) as app:
        assert [app.AsyncResult(result.id).get(timeout=LONG) for result in results] == [0, 2, 4]


# -- a Redis that wants a password


@pytest.fixture
def locked() -> Iterator[RedisServer]:
    """A Redis that wants the canary as its password."""
    with RedisServer(requirepass=CANARY) as server:
        yield server


COMMANDS = [("worker",), ("status",), ("call", ADD, "-a", "[1, 2]"), ("queues",), ("dead", "list"), ("purge", "-f")]


@pytest.mark.promise("X03")
def test_a_wrong_or_missing_password_is_one_line_and_never_shown(locked: RedisServer, tmp_path: Path) -> None:
    # Given a task in the queue of a Redis with a password,
    with client(locked.url) as app:
        app.send_task(ADD, (1, 2))
    for command in COMMANDS:
        # When a command comes without or with a wrong one, Then it says so in one line,
        missing = f"redis://127.0.0.1:{locked.port}/0"
        talo("-A", "tests.apps.traced", *command, cwd=tmp_path, broker=missing).refuses("wants a password", "URL")
        wrong = f"redis://:not-{CANARY}@127.0.0.1:{locked.port}/0"
        talo("-A", "tests.apps.traced", *command, cwd=tmp_path, broker=wrong).refuses(
            "does not accept this user name and password", "correct"
        )
    # and the task is still there.
    with client(locked.url) as app:
        assert _ready(app) == 1


@pytest.mark.promise("X03")
def test_a_send_without_the_password_raises_what_is_wrong(locked: RedisServer) -> None:
    for login, text in (("", "wants a password"), (f":not-{CANARY}@", "does not accept this user name and password")):
        with client(f"redis://{login}127.0.0.1:{locked.port}/0", publish_timeout=5) as app:
            with pytest.raises(errors.TaloError) as caught:
                app.send_task(ADD, (1, 2))
        assert text in str(caught.value)
        chain: BaseException | None = caught.value
        while chain is not None:
            assert CANARY not in f"{chain!r} {chain}"
            chain = chain.__cause__ or chain.__context__


@pytest.mark.promise("X03")
def test_the_right_password_is_shown_nowhere(locked: RedisServer, tmp_path: Path) -> None:
    # Given a worker that tells all it can, tasks that fail, and a Redis that goes away and comes back,
    with client(locked.url) as app, Worker(locked.url, tmp_path, "-c", "1", loglevel="DEBUG") as worker:
        with pytest.raises(ValueError):
            app.send_task("tests.apps.traced.fails").get(timeout=LONG)
        locked.restart()
        assert eventually(lambda: _sent(app), timeout=LONG).get(timeout=LONG) == 3
        shown = [repr(app.conf), str(dict(app.conf)["broker_url"].__class__), repr(app), repr(app.store)]
        # When everything that prints settings is called,
        for command in (("report",), ("check", "--settings"), ("status",), ("queues",), ("dead", "list", "--json")):
            shown.append(talo("-A", "tests.apps.traced", *command, cwd=tmp_path, broker=locked.url).said)
        locked.stop()
        shown.append(talo("-A", "tests.apps.traced", "status", cwd=tmp_path, broker=locked.url).said)
        worker.stop()
    # Then the password is in none of it.
    assert "127.0.0.1" in worker.output()
    assert [text for text in (*shown, worker.output()) if CANARY in text] == []


def _sent(app: Talo) -> Any:
    try:
        return app.send_task(ADD, (1, 2))
    except errors.OperationalError as exc:
        raise AssertionError from exc


def _ready(app: Talo) -> int:
    return sum(queue.ready for queue in app.store.broker.stats())


def _holds(part: str, text: str) -> None:
    assert part in text, text
