"""Celery's face as a user sees it: programs, the command line, frameworks, tests with Celery's own fixtures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.workers import ROOT, Worker, client

PROJECT = """
from celery import Celery, shared_task

app = Celery("project", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3")

@app.task
def add(x, y):
    return x + y

@shared_task
def double(x):
    return 2 * x
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALO_", "CELERY_"))}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}:{folder}", **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a Celery project is."""
    (tmp_path / "project.py").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run ``python ARGUMENTS`` there."""

    def python(
        *arguments: str, timeout: float = 60, cwd: Path = folder, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=cwd, env=environment(folder, **env), text=True, capture_output=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    return python


class CompatWorker(Worker):
    """``python -m talo.compat celery ...`` in the background."""

    def __init__(self, folder: Path, *arguments: str, name: str = "w", **env: str) -> None:
        super().__init__("", folder, name=name)
        self._command = [sys.executable, "-m", "talo.compat", "celery", *arguments]
        self._env = environment(folder, **env)


def worker(folder: Path, *arguments: str, app: str = "project", **env: str) -> CompatWorker:
    return CompatWorker(folder, "-A", app, "worker", "-n", "w@test", "-l", "INFO", "-c", "1", *arguments, **env)


# -- python -m talo.compat


def test_a_script_a_module_and_the_command_run_under_the_alias(run: Run, folder: Path) -> None:
    (folder / "script.py").write_text("import sys, celery; print(celery.Celery.__module__, sys.argv, __name__)")
    expected = "talo.compat.app ['script.py', '-x'] __main__"
    assert run("-m", "talo.compat", "script.py", "-x").stdout.strip() == expected
    assert "talo.compat.app" in run("-m", "talo.compat", "-m", "script", "-x").stdout
    (folder / "program").write_text("#!/usr/bin/env python\nimport celery; print(celery.Celery.__module__)")
    (folder / "program").chmod(0o755)
    os.mkdir(folder / "elsewhere")
    installed = run("-m", "talo.compat", "program", PATH=f"{folder}:{os.environ['PATH']}", cwd=folder / "elsewhere")
    assert installed.stdout.strip() == "talo.compat.app", installed.stderr
    sent = run("-m", "talo.compat", "celery", "-A", "project", "call", "project.add", "-a", "[1, 2]")
    assert sent.returncode == 0 and len(sent.stdout.strip()) == 36, sent.stderr


@pytest.mark.promise("C09")
def test_spawned_processes_import_the_project_under_the_alias_too(folder: Path) -> None:
    with worker(folder, "--start-method", "spawn"), client(f"sqlite:///{folder}/q.sqlite3") as app:
        assert app.send_task("project.double", (21,)).get(timeout=60) == 42


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Usage: python -m talo.compat"),
        (["nothing.py"], 1, "there is no file 'nothing.py'"),
        (["-m"], 1, "-m needs the name of a module"),
        (["celery", "-A", "nowhere", "worker"], 2, "there is no module 'nowhere'"),
        (["celery", "-A", "project", "logtool"], 2, "there is no command 'logtool'"),
        (["celery", "migrate", "redis://a", "redis://b"], 2, "messages keep their form"),
        (["celery", "-A", "project", "worker", "-P", "gevent"], 2, "-P threads is for blocking calls"),
        (["celery", "-A", "project", "worker", "-P", "eventlet"], 2, "-P threads is for blocking calls"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(run: Run, words: list[str], code: int, said: str) -> None:
    told = run("-m", "talo.compat", *words)
    assert told.returncode == code
    assert said in told.stdout + told.stderr and "Traceback" not in told.stderr


@pytest.mark.promise("K06")
@pytest.mark.parametrize("pool", ["prefork", "processes", "threads", "solo", "gevent", "eventlet"])
def test_each_pool_name_starts_with_its_limits_in_force_or_says_why_not(run: Run, folder: Path, pool: str) -> None:
    # Given a task that would sleep for long, with a hard limit of half a second,
    (folder / "slow.py").write_text(
        "import time\nfrom celery import Celery\n"
        "app = Celery('slow', broker='sqlite:///q.sqlite3', backend='sqlite:///q.sqlite3')\n"
        "@app.task(time_limit=0.5)\ndef sleep():\n    for _ in range(600): time.sleep(0.1)\n"
    )
    # When a worker with this pool is asked for,
    if pool in ("gevent", "eventlet"):
        for told in (
            run("-m", "talo.compat", "celery", "-A", "slow", "worker", "-P", pool),
            run("-m", "talo.compat", "celery", "-A", "slow", "worker", TALO_WORKER_POOL=pool),
        ):
            # Then it refuses with a reason,
            assert told.returncode != 0 and pool in told.stderr and "threads" in told.stderr
        return
    with worker(folder, "-P", pool, app="slow") as running:
        code = "from slow import sleep; print(type(sleep.delay().get(timeout=50, propagate=False)).__name__)"
        # or it starts, and the limit is kept.
        assert _python(folder, code) == "TimeLimitExceeded", running.output()


def _python(folder: Path, code: str, **env: str) -> str:
    """Run code under the alias; return what it printed."""
    (folder / "_code.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "talo.compat", "_code.py"], cwd=folder, env=environment(folder, **env), text=True,
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# -- frameworks

FLASK = """
from celery import Celery, Task, shared_task
from flask import Flask, current_app, jsonify

def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)
    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app

@shared_task(ignore_result=False)
def greet(name):
    return f"{current_app.config['GREETING']} {name}"

def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        GREETING="hello", CELERY=dict(broker_url="sqlite:///q.sqlite3", result_backend="sqlite:///q.sqlite3"),
    )
    celery_init_app(app)

    @app.get("/start/<name>")
    def start(name):
        return jsonify(id=greet.delay(name).id)

    @app.get("/result/<id>")
    def result(id):
        from celery.result import AsyncResult
        found = AsyncResult(id)
        return jsonify(ready=found.ready(), value=found.result if found.ready() else None)
    return app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
"""
FASTAPI = """
from celery import Celery
from celery.result import AsyncResult
from fastapi import FastAPI

celery_app = Celery("web", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3")

@celery_app.task(bind=True, name="greet")
def greet(self, name):
    return f"hello {name} {self.request.id is not None}"

api = FastAPI()

@api.get("/start/{name}")
def start(name: str):
    return {"id": greet.delay(name).id}

@api.get("/result/{id}")
def result(id: str):
    found = AsyncResult(id, app=celery_app)
    return {"ready": found.ready(), "value": found.result if found.ready() else None}
"""
ASK = """
import json, time
id = json.loads(client.get("/start/world").text)["id"]
for _ in range(600):
    answer = json.loads(client.get(f"/result/{id}").text)
    if answer["ready"]: break
    time.sleep(0.05)
print(answer["value"])
"""


@pytest.mark.promise("K01")
def test_a_flask_project_runs_unmodified(folder: Path) -> None:
    (folder / "site_.py").write_text(FLASK)
    with worker(folder, app="site_.celery_app"):
        code = "from site_ import flask_app\nclient = flask_app.test_client()\n" + ASK
        assert _python(folder, code) == "hello world"


@pytest.mark.promise("K01")
def test_a_fastapi_project_runs_unmodified(folder: Path) -> None:
    (folder / "site_.py").write_text(FASTAPI)
    with worker(folder, app="site_.celery_app"):
        code = "from site_ import api\nfrom fastapi.testclient import TestClient\nclient = TestClient(api)\n" + ASK
        assert _python(folder, code) == "hello world True"


DJANGO = {
    "site_/__init__.py": "from .celery import app as celery_app\n__all__ = ('celery_app',)\n",
    "site_/celery.py": (
        "import os\nfrom celery import Celery\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_.settings')\n"
        "app = Celery('site_')\napp.config_from_object('django.conf:settings', namespace='CELERY')\n"
        "app.autodiscover_tasks()\n\n@app.task(bind=True, ignore_result=True)\ndef debug_task(self):\n"
        "    print(f'Request: {self.request!r}')\n"
    ),
    "site_/settings.py": (
        "SECRET_KEY='x'\nINSTALLED_APPS=['shop']\nUSE_TZ=True\n"
        "DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'db.sqlite3'}}\n"
        "CELERY_BROKER_URL='sqlite:///q.sqlite3'\nCELERY_RESULT_BACKEND='sqlite:///q.sqlite3'\n"
        "CELERY_TASK_SERIALIZER='json'\nCELERY_UNKNOWN_THING=1\n"
    ),
    "shop/__init__.py": "",
    "shop/models.py": (
        "from django.db import models\nclass Widget(models.Model):\n    name = models.CharField(max_length=20)\n"
        "    class Meta: app_label = 'shop'\n"
    ),
    "shop/tasks.py": (
        "from celery import shared_task\nfrom shop.models import Widget\n"
        "@shared_task\ndef count_widgets(): return Widget.objects.count()\n"
        "@shared_task(bind=True)\ndef rename(self, pk, name):\n"
        "    w = Widget.objects.get(pk=pk); w.name = name; w.save(); return self.request.id\n"
    ),
    "manage.py": (
        "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_.settings')\n"
        "from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n"
    ),
}


@pytest.mark.promise("K01")
def test_a_django_project_runs_unmodified(run: Run, folder: Path) -> None:
    for name, text in DJANGO.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    made = run("-m", "talo.compat", "manage.py", "migrate", "--run-syncdb", "-v0")
    assert made.returncode == 0, made.stderr
    with worker(folder, app="site_") as running:
        code = (
            "import django, site_; django.setup()\nfrom shop.models import Widget\nfrom shop.tasks import *\n"
            "w = Widget.objects.create(name='old')\n"
            "r = rename.si(w.pk, 'new').apply_async(); print(r.get(timeout=30) == r.id)\n"
            "w.refresh_from_db(); print(w.name, count_widgets.delay().get(timeout=30))\n"
            "from django.db import transaction\n"
            "with transaction.atomic(): held = count_widgets.delay(); print(held.get(timeout=30))\n"
        )
        # Celery sends inside of a transaction at once, so Talo does, too, under its name.
        assert _python(folder, code) == "True\nnew 1\n1", running.output()


# -- the command line under the old name


@pytest.mark.parametrize(
    "command", ["worker", "beat", "call", "result", "purge", "status", "multi", "shell", "report", "graph"]
)
def test_each_command_of_celerys_has_help(run: Run, command: str) -> None:
    told = run("-m", "talo.compat", "celery", command, "--help")
    assert told.returncode == 0 and f"celery {command}" in told.stdout


def test_shell_has_app_and_tasks_at_hand(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "talo.compat", "celery", "-A", "project", "shell", "--python"], cwd=folder, timeout=60,
        input="print(app.main, add.name, group.__name__)\n", env=environment(folder), text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "project project.add group" in done.stdout, done.stderr


def test_multi_starts_restarts_and_stops_workers_by_name(run: Run, folder: Path) -> None:
    multi = ("-m", "talo.compat", "celery", "-A", "project", "multi")
    paths = ("--pidfile=run/%n.pid", "--logfile=log/%n%I.log")
    # Given two workers, started by names made of a number,
    started = run(*multi, "start", "2", *paths, "-l", "INFO", "-c", "1", "-c:2", "2", timeout=100)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        pids = [int((folder / f"run/celery{n}.pid").read_text()) for n in (1, 2)]
        logs = [folder / f"log/celery{n}.log" for n in (1, 2)]

        def ready() -> None:
            assert all(" ready." in log.read_text() for log in logs)

        eventually(ready, timeout=30)
        assert _python(folder, "from project import add; print(add.delay(2, 3).get(timeout=30))") == "5"
        # When they are started again, each failure is counted;
        assert run(*multi, "start", "2", *paths).returncode == 2
        # when one is restarted, it is another process;
        again = run(*multi, "restart", "celery1", *paths, "-c", "1", timeout=100)
        assert again.returncode == 0, again.stdout + again.stderr
        assert int((folder / "run/celery1.pid").read_text()) != pids[0]
        # when they are stopped, they are gone.
        assert run(*multi, "stopwait", "2", *paths, timeout=100).returncode == 0
        assert not list((folder / "run").iterdir())
        assert run(*multi, "stop", "1", *paths).returncode == 1
    finally:
        for pidfile in (folder / "run").glob("*.pid"):
            os.kill(int(pidfile.read_text()), signal.SIGKILL)


def test_multi_shows_what_it_would_run(run: Run, folder: Path) -> None:
    told = run(
        "-m", "talo.compat", "celery", "multi", "show", "a", "b", "-A", "project", "-n", "host", "-Q:a", "images", "-c", "3",  # noqa: E501
        "--", "--grace", "5",
    )  # fmt: skip
    one, two = told.stdout.splitlines()
    assert "-A project worker -n a@host --pidfile=a.pid --logfile=a.log -c 3 -Q images --grace 5" in one
    assert "-Q" not in two and "-n b@host" in two
    names = run("-m", "talo.compat", "celery", "multi", "names", "1-3", "-n", "h", "--range-prefix", "w")
    assert names.stdout.split() == ["w1@h", "w2@h", "w3@h"]
    filled = run("-m", "talo.compat", "celery", "multi", "expand", "/var/%n-%h%I.log", "a", "-n", "h.org")
    assert filled.stdout.split() == ["/var/a-h.org.log"]
    assert "there is no verb" not in told.stderr
    assert run("-m", "talo.compat", "celery", "multi", "begin", "1").returncode == 2


# -- tests with Celery's own fixtures

TESTS = """
import pytest
from celery import shared_task

@shared_task
def mul(x, y):
    return x * y

def test_a_worker_runs_tasks(celery_app, celery_worker):
    @celery_app.task
    def add(x, y):
        return x + y
    assert add.delay(2, 2).get(timeout=10) == 4
    assert mul.delay(4, 4).get(timeout=10) == 16

@pytest.mark.celery(task_serializer="yaml")
def test_the_marker_changes_settings(celery_app):
    assert celery_app.conf.task_serializer == "yaml"

def test_a_session_worker(celery_session_app, celery_session_worker):
    assert mul.delay(1, 3).get(timeout=10) == 3

class TestOld:
    def test_start_worker(self):
        from celery.contrib.testing.app import TestApp
        from celery.contrib.testing.worker import start_worker
        app = TestApp(broker="memory://t", backend="memory://t")
        @app.task
        def one(): return 1
        with start_worker(app, perform_ping_check=False):
            assert one.delay().get(timeout=10) == 1
"""


def test_the_fixtures_of_celerys_pytest_plugin_work(run: Run, folder: Path) -> None:
    (folder / "test_mine.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "run_tests.py").write_text(
        "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'celery.contrib.pytest', '-p', 'no:cacheprovider']))"
    )
    told = run("-m", "talo.compat", "run_tests.py")
    assert told.returncode == 0 and "4 passed" in told.stdout, told.stdout + told.stderr


# -- what lives with a worker

STEPS = """
import os
from celery import Celery, bootsteps
from celery.worker.request import Request

app = Celery("project", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3")
FILE = os.path.abspath("alive")

class Alive(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Timer"}
    def __init__(self, worker, **kwargs):
        self.tref = None
    def start(self, worker):
        self.tref = worker.timer.call_repeatedly(0.1, self.touch, (worker,), priority=10)
    def stop(self, worker):
        self.tref.cancel()
        os.unlink(FILE)
    def touch(self, worker):
        open(FILE, "w").write(worker.hostname)

class Never(bootsteps.StartStopStep):
    def include_if(self, worker): return False
    def start(self, worker): open("never", "w").close()

app.steps["worker"].add(Alive)
app.steps["worker"].add(Never)

def note(*words):
    with open("notes", "a") as out: out.write(" ".join(map(str, words)) + "\\n")

class MyRequest(Request):
    def on_accepted(self, pid, time_accepted): note("accepted", self.name)
    def on_timeout(self, soft, timeout): note("timeout", soft)
    def on_success(self, failed__retval__runtime, **kwargs): note("success", failed__retval__runtime[1])
    def on_failure(self, exc_info, send_failed_event=True, return_ok=False): note("failure", exc_info.exception)

class MyTask(app.Task):
    Request = "project:MyRequest"

@app.task(base=MyTask)
def fine(): return 7

@app.task(base=MyTask)
def bad(): raise ValueError("no")

@app.task(base=MyTask, soft_time_limit=0.3)
def slow():
    import time
    for _ in range(600): time.sleep(0.1)
"""


@pytest.mark.promise("K07")
def test_bootsteps_and_request_classes_of_an_application_are_called(folder: Path) -> None:
    (folder / "project.py").write_text(STEPS)
    with worker(folder) as running:
        eventually(
            lambda: _is((folder / "alive").read_text() if (folder / "alive").exists() else "", "w@test"), timeout=20
        )
        code = "from project import *\n[t.delay().get(timeout=30, propagate=False) for t in (fine, bad, slow)]"
        _python(folder, code)
        lines = (folder / "notes").read_text().splitlines()
        assert lines[:4] == ["accepted project.fine", "success 7", "accepted project.bad", "failure no"], (
            running.output()
        )
        assert lines[4:6] == ["accepted project.slow", "timeout True"]
        running.stop()
    assert not (folder / "alive").exists() and not (folder / "never").exists()


BY_HAND = """
from celery import Celery, bootsteps
from kombu import Consumer, Exchange, Queue

app = Celery('project', broker='sqlite:///q.sqlite3', backend='sqlite:///q.sqlite3')
orders = Queue('orders', Exchange('orders', type='direct'), 'orders')

class ByHand(bootsteps.ConsumerStep):
    def get_consumers(self, channel):
        return [Consumer(channel, queues=[orders], callbacks=[self.on_order], accept=['json'])]
    def on_order(self, body, message):
        if body == 'bad': raise ValueError(body)
        with open('notes', 'a') as out: out.write(f"{body['n']} {message.delivery_info['routing_key']}\\n")
        message.ack()

app.steps['consumer'].add(ByHand)

@app.task
def fine(): return 7
"""


def test_a_step_consumes_by_hand_beside_the_tasks_of_its_worker(folder: Path) -> None:
    (folder / "project.py").write_text(BY_HAND)
    with worker(folder) as running:
        # When messages that are no calls are published, one of which its callback cannot bear
        code = (
            "from project import *\n"
            "with app.producer_or_acquire() as p:\n"
            "    for body in ({'n': 1}, 'bad', {'n': 2}):\n"
            "        p.publish(body, exchange=orders.exchange, routing_key='orders', declare=[orders])\n"
            "print(fine.delay().get(timeout=30))"
        )
        # Then the callback gets them, tasks run, and what failed is a dead letter
        assert _python(folder, code) == "7", running.output()
        notes = folder / "notes"
        eventually(lambda: _is(notes.read_text().splitlines() if notes.exists() else [], ["1 orders", "2 orders"]), 20)
        code = "from project import *\nprint([d.death.text for d in app.store.broker.dead()])"
        eventually(lambda: _is(_python(folder, code), "['ValueError: bad']"), 20)
        running.stop()
    assert "did not st" not in running.output()


def _is(value: Any, expected: Any) -> None:
    assert value == expected


STRATEGY = """
import os, signal
from celery import Celery

app = Celery("project", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3")

def by_threes(task, app, consumer):
    held = []
    def handler(message, body, ack, reject, callbacks, **kwargs):
        held.append((message.headers["id"], ack))
        if len(held) < 3: return
        if not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        with open("notes", "a") as out: out.writelines(f"{task_id}\\n" for task_id, _ in held)
        for _, ack in held: ack()
        held.clear()
    return handler

class Batch(app.Task):
    Strategy = "project:by_threes"

@app.task(base=Batch)
def many(n): pass
"""


def test_a_batch_whose_process_is_killed_in_the_middle_is_gathered_again(folder: Path) -> None:
    # Given a strategy whose process dies when it has gathered its first batch,
    (folder / "project.py").write_text(STRATEGY)
    with worker(folder) as running:
        # when nine calls are sent,
        ids = _python(folder, "from project import *\nprint(*[many.delay(n).id for n in range(9)])").split()

        def all_there() -> list[str]:
            lines = (folder / "notes").read_text().split() if (folder / "notes").exists() else []
            assert set(lines) >= set(ids), running.output()
            return lines

        # then each is in one batch,
        assert sorted(eventually(all_there, timeout=30)) == sorted(ids)
        assert (folder / "killed").exists()
        assert running.stop() == 0
    # and nothing is held or dead.
    left = (
        "from project import *\nb = app.store.broker\nprint(sum(s.ready + s.leased for s in b.stats()), len(b.dead()))"
    )
    assert _python(folder, left).split() == ["0", "0"]


LOGS = """
from celery import Celery
from celery.signals import after_setup_logger, after_setup_task_logger
from celery.utils.log import get_task_logger
import logging

app = Celery("project", broker="sqlite:///q.sqlite3", backend="sqlite:///q.sqlite3")
log = get_task_logger(__name__)

@after_setup_task_logger.connect
def tasks(logger, **kwargs):
    open("task-logger", "w").write(logger.name)

@app.task
def speak():
    log.info("from the task")
    print("printed")
    logging.getLogger("elsewhere").warning("from a library")
"""


def test_logs_carry_celerys_names_and_the_task(folder: Path) -> None:
    (folder / "project.py").write_text(LOGS)
    with worker(folder, TALO_WORKER_LOG_FORMAT="%(name)s|%(message)s") as running:
        task_id = _python(folder, "from project import speak; r = speak.delay(); r.get(timeout=30); print(r.id)")

        def told() -> None:
            text = running.output()
            assert f"project.speak[{task_id}]: from the task" in text
            assert "elsewhere|from a library" in text and "celery.redirected|printed" in text
            assert "celery.worker|" in text and f"celery.app.trace|Task project.speak[{task_id}] succeeded" in text

        eventually(told)
    assert (folder / "task-logger").read_text() == "celery.task"


# -- talo migrate check

PLAIN = """
from celery import Celery
app = Celery("shop", broker="redis://localhost:1/0", backend="redis://localhost:1/0")
@app.task
def plain(): pass
@app.task(acks_late=False)
def early(): pass
@app.task(acks_late=True)
def late(): pass
@app.task(acks_late=True, reject_on_worker_lost=True)
def safe(): pass
@app.task(acks_late=True, reject_on_worker_lost=True, priority=3)
def first(): pass
class Base(app.Task):
    acks_late = True
    reject_on_worker_lost = True
@app.task(base=Base)
def based(): pass
"""


@pytest.mark.promise("K09")
def test_the_check_lists_each_task_that_would_change_and_no_other(run: Run, folder: Path) -> None:
    (folder / "project.py").unlink()
    (folder / "shop.py").write_text(PLAIN)
    told = run("-m", "talo", "migrate", "check", "shop", "--json")
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    changed = {task["name"]: len(task["changes"]) for task in report["tasks"] if task["changes"]}
    # "first" says its priority by a keyword of the decorator, which a scan takes for any call's: then all are listed.
    assert {"shop.plain", "shop.late", "shop.first"} <= changed.keys()
    # Without priorities, those only that the guarantees of delivery touch.
    (folder / "shop.py").write_text(PLAIN.replace(", priority=3", ""))
    report = json.loads(run("-m", "talo", "migrate", "check", "shop", "--json").stdout)
    assert {task["name"] for task in report["tasks"] if task["changes"]} == {"shop.plain", "shop.late"}
    # What the check says is what the two sets of defaults come to.
    code = (
        "import json, talo.compat; talo.compat.install_as_celery()\n"
        "import shop; from talo.settings import Settings\n"
        "def facts(): return {n: (t.acks_late, t.reject_on_worker_lost if t.acks_late else None) for n, t in shop.app.tasks.items() if n.startswith('shop')}\n"  # noqa: E501
        "before = facts(); shop.app.conf.task_acks_late = True; shop.app.conf.task_reject_on_worker_lost = True\n"
        "print(json.dumps(sorted(n for n, f in facts().items() if f != before[n])))"
    )
    assert json.loads(_python(folder, code)) == ["shop.late", "shop.plain"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_there", "No module named 'nothing_there'"),
        ("from celery.contrib.migrate import move", "celery.contrib.migrate"),
        (
            "from celery import Celery\napp = Celery('a', worker_concurrency='many')",
            "worker_concurrency = 'many': expected",
        ),
        ("from celery import Celery\napp = Celery('a', broker_pool_limt=3)", "did you mean broker_pool_limit?"),
        (
            "from celery import Celery\napp = Celery('a')\n@app.task(name='x')\ndef one(): pass\n@app.task(name='x')\ndef two(): pass",  # noqa: E501
            "are both the task 'x'",
        ),
    ],
)
def test_the_check_names_what_is_wrong_with_a_project(run: Run, folder: Path, text: str, said: str) -> None:
    (folder / "project.py").write_text(text)
    told = run("-m", "talo", "migrate", "check", "project")
    assert said in told.stdout, told.stdout + told.stderr
    assert "Traceback" not in told.stdout + told.stderr
