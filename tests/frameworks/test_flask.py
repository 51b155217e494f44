"""The Flask extension: contexts around tasks, settings from ``app.config``, the command, and what is said when
something is missing."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context

from talo import signals
from talo.app.app import Talo as PlainTalo
from talo.errors import ImproperlyConfigured
from talo.flask import Talo
from talo.testing.local import LocalWorker, memory_app
from tests.frameworks.servers import EXAMPLES, FlaskWorker, environment

RUN = "import sys; from talo.cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture
def flask_app() -> Flask:
    app = Flask("shop")
    app.config["COLOUR"] = "green"
    return app


@pytest.fixture
def talo(flask_app: Flask) -> Iterator[Talo]:
    """An extension tied to ``flask_app``, on a store in memory."""
    talo = Talo(flask_app, set_as_current=False)
    with memory_app(talo):
        yield talo
    talo.close()


def run_all(talo: Talo) -> None:
    LocalWorker(talo).run_all()


def test_a_task_and_its_hooks_share_a_context_that_ends_with_the_run(talo: Talo, flask_app: Flask) -> None:
    # Given a task whose hooks look at what it left in g, and a teardown
    seen: list[Any] = []
    flask_app.teardown_appcontext(lambda exc: seen.append(("teardown", type(exc))))

    @talo.task(bind=True)
    def paint(self: Any) -> str:
        g.brush = "wet"
        return current_app.config["COLOUR"]

    @talo.task
    def fail() -> None:
        g.brush = "broken"
        raise ValueError("no paint")

    for task in (paint, fail):
        task.before_start = lambda *_: seen.append(("before", g.get("brush")))  # type: ignore[method-assign]
        task.after_return = lambda *_: seen.append(("after", g.get("brush")))  # type: ignore[method-assign]

    # When both are run by a worker
    good, bad = paint.delay(), fail.delay()
    run_all(talo)

    # Then each had one context of its own, and the teardown knows how it ended
    assert good.get() == "green"
    assert isinstance(bad.get(propagate=False), ValueError)
    assert seen == [
        ("before", None), ("after", "wet"), ("teardown", type(None)),
        ("before", None), ("after", "broken"), ("teardown", ValueError),
    ]  # fmt: skip
    assert not has_app_context()


def test_a_coroutine_task_has_its_context_across_awaits(talo: Talo) -> None:
    @talo.task
    async def paint(colour: str) -> tuple[str, str]:
        g.colour = colour
        await asyncio.sleep(0.01)
        return g.colour, current_app.config["COLOUR"]

    results = [paint.delay("red"), paint.delay("blue")]
    run_all(talo)
    assert [tuple(result.get()) for result in results] == [("red", "green"), ("blue", "green")]


def test_a_task_called_as_a_function_keeps_the_callers_context(talo: Talo, flask_app: Flask) -> None:
    @talo.task
    def look() -> Any:
        return g.get("user")

    with flask_app.app_context():
        g.user = "ada"
        # A plain call is a plain call; an eager one runs as in a worker, in a context of its own
        assert look() == "ada"
        assert look.apply().get() is None
        assert g.user == "ada"
    with pytest.raises(RuntimeError, match="application context"):
        look()


def test_what_a_run_that_was_cut_short_left_behind_does_not_reach_the_next(talo: Talo, flask_app: Flask) -> None:
    # Given a run that never came to its last step: the step itself was interrupted
    ended: list[str] = []
    flask_app.teardown_appcontext(lambda _: ended.append(g.mark))
    cut = True

    def interrupt(**_: Any) -> None:
        if cut:
            raise SystemExit

    @talo.task
    def leave(mark: str) -> Any:
        before = g.get("mark")
        g.mark = mark
        return before

    def runs() -> None:
        nonlocal cut
        hook = leave.after_return
        leave.after_return = lambda *_: interrupt()  # type: ignore[method-assign]
        with pytest.raises(SystemExit):
            leave.apply(("first",))
        assert has_app_context()
        # When another one begins in the same thread
        cut, leave.after_return = False, hook  # type: ignore[method-assign]
        assert leave.apply(("second",)).get() is None
        # Then the old context has ended, and the new one too
        assert ended == ["first", "second"]
        assert not has_app_context()

    copy_context().run(runs)


def test_tasks_of_other_apps_are_left_alone(talo: Talo) -> None:
    with PlainTalo("other", broker="memory://flask-other", set_as_current=False) as other:

        @other.task
        def look() -> bool:
            return has_app_context()

        assert look.apply().get() is False


def test_the_pattern_of_celerys_documentation_works_as_it_is(tmp_path: Path) -> None:
    # Given the factory, the task class and the shared task that Flask's and Celery's documents show
    (tmp_path / "shop.py").write_text(
        "from celery import Celery, Task, shared_task\n"
        "from flask import Flask, current_app\n\n"
        "def celery_init_app(app):\n"
        "    class FlaskTask(Task):\n"
        "        def __call__(self, *args, **kwargs):\n"
        "            with app.app_context():\n"
        "                return self.run(*args, **kwargs)\n\n"
        "    celery_app = Celery(app.name, task_cls=FlaskTask)\n"
        "    celery_app.config_from_object(app.config['CELERY'])\n"
        "    celery_app.set_default()\n"
        "    app.extensions['celery'] = celery_app\n"
        "    return celery_app\n\n"
        "@shared_task(ignore_result=False)\n"
        "def add(a, b):\n"
        "    return a + b + current_app.config['MORE']\n\n"
        "def create_app():\n"
        "    app = Flask(__name__)\n"
        "    app.config.from_mapping(MORE=100, CELERY=dict(broker_url='memory://doc', task_ignore_result=True))\n"
        "    celery_init_app(app)\n"
        "    return app\n"
    )
    (tmp_path / "make_celery.py").write_text(
        "from shop import create_app\nflask_app = create_app()\ncelery_app = flask_app.extensions['celery']\n"
    )
    source = (tmp_path / "shop.py").read_text().replace("from celery", "from talo")  # the names, without the alias
    (tmp_path / "shop.py").write_text(source)

    # When the app is found as -A make_celery finds it, and its task is run by a worker
    done = python(
        tmp_path,
        "from talo.cli._find import find_app\n"
        "from talo.testing.local import LocalWorker\n"
        "app = find_app('make_celery')\n"
        "from shop import add\n"
        "result = add.delay(1, 2)\n"
        "LocalWorker(app).run_all()\n"
        "print(result.get(timeout=10), app.conf.task_ignore_result)\n",
    )

    # Then it has the context and the settings
    assert done.stdout == "103 True\n", done.stderr


def test_settings_come_from_the_configuration_under_every_name(flask_app: Flask) -> None:
    flask_app.config.update(
        TALO_TASK_TIME_LIMIT=7, CELERY_RESULT_EXPIRES=8, TALO={"broker_url": "memory://conf"},
        CELERY={"task_soft_time_limit": 6}, SECRET_KEY="x", TASKS_PER_PAGE=5,
    )  # fmt: skip
    talo = Talo(flask_app, set_as_current=False, worker_concurrency=3)
    conf = talo.conf
    assert (conf.task_time_limit, conf.result_expires, conf.broker_url) == (7, 8, "memory://conf")
    assert (conf.task_soft_time_limit, conf.worker_concurrency) == (6, 3)
    assert talo.main == "shop"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"TALO_TASK_TIME_LIMTI": 1}, "TALO_TASK_TIME_LIMTI is not a setting; did you mean TALO_TASK_TIME_LIMIT?"),
        ({"TALO": {"timezone": "UTC"}, "CELERY_TIMEZONE": "UTC"}, "say the same: keep one"),
        ({"TALO": "redis://"}, "TALO = str: expected a dictionary of settings"),
        ({"TALO_TASK_TIME_LIMIT": "soon"}, "TALO_TASK_TIME_LIMIT = 'soon': expected"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_line(
    flask_app: Flask, config: dict[str, Any], said: str
) -> None:
    flask_app.config.update(config)
    talo = Talo(flask_app, set_as_current=False)
    with pytest.raises(ImproperlyConfigured) as caught:
        _ = talo.conf.task_time_limit
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_extension_without_application_says_what_to_do() -> None:
    # Given the factory pattern before its factory
    talo = Talo(set_as_current=False)

    @talo.task
    def add(x: int) -> int:
        return x

    # Then every use tells what is missing, and init_app mends it
    for use in (lambda: add.delay(1), lambda: talo.conf.broker_url, lambda: talo.flask):
        with pytest.raises(ImproperlyConfigured, match=r"call init_app\(app\)"):
            use()
    talo.init_app(Flask("late"))
    with memory_app(talo):
        result = add.delay(1)
        run_all(talo)
        assert result.get() == 1


def test_a_later_application_takes_the_place_of_the_one_before(talo: Talo, flask_app: Flask) -> None:
    # Given an extension and a second application, as tests with a factory make them
    other = Flask("shop")
    other.config.update(COLOUR="blue", TALO_TASK_TIME_LIMIT=9)

    @talo.task
    def look() -> str:
        return current_app.config["COLOUR"]

    result = look.delay()
    assert look.apply().get() == "green"
    assert talo.conf.task_time_limit is None
    talo.init_app(other)
    talo.init_app(other)  # a repetition

    # Then the second one counts, settings included
    assert look.apply().get() == "blue"
    assert talo.conf.task_time_limit == 9
    assert other.extensions["talo"] is talo
    # And the store that the test lent is still there
    run_all(talo)
    assert result.get() == "blue"


def test_what_is_no_application_and_a_second_extension_are_refused(talo: Talo, flask_app: Flask) -> None:
    with pytest.raises(TypeError, match="expects a Flask application, not str"):
        Talo("shop", set_as_current=False)  # type: ignore[arg-type]
    with pytest.raises(ImproperlyConfigured, match="has a Talo already"):
        Talo(flask_app, set_as_current=False)


def test_an_extension_that_is_gone_listens_no_longer(flask_app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    # Given an extension that nobody holds any more
    before = len(signals.task_prerun.receivers)
    Talo(Flask("gone"), set_as_current=False).close()

    # Then it is not kept alive by the signals
    def collected() -> None:
        import gc

        gc.collect()
        assert len(signals.task_prerun.receivers) <= before

    with caplog.at_level(logging.ERROR):
        collected()
    assert caplog.records == []


def test_the_command_runs_every_command_of_talo_with_the_application(tmp_path: Path) -> None:
    def flask(*words: str) -> subprocess.CompletedProcess[str]:
        env = environment(EXAMPLES / "flask", f"sqlite:///{tmp_path}/t.sqlite3")
        return run([sys.executable, "-m", "flask", "--app", *words], tmp_path, env)

    # Given the example's factory, when its tasks are asked for
    done = flask("letters", "talo", "check", "--offline")
    assert done.returncode == 0, done.stderr
    assert "letters.write_letters" in done.stdout

    # Then options and errors are talo's own
    assert "Usage: talo worker" in flask("letters", "talo", "worker", "--help").stdout
    wrong = flask("letters", "talo", "wroker")
    assert wrong.returncode == 2
    assert "Did you mean worker?" in wrong.stderr


def test_an_application_without_the_extension_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    env = {**environment(tmp_path, "memory://"), "FLASK_APP": "bare"}
    done = run([sys.executable, "-c", RUN, "-A", "talo.flask.worker_app:app", "check"], tmp_path, env)
    assert done.returncode == 2
    assert "the Flask application 'bare' has no Talo: call Talo(app) or init_app(app)" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_flask_the_extra_is_named(tmp_path: Path) -> None:
    said = without("flask", "talo.flask", tmp_path)
    assert said == "Flask is not installed: pip install 'talo[flask]'\n"


def test_a_worker_of_spawned_processes_makes_the_application_anew(tmp_path: Path) -> None:
    # Given a worker by flask's command whose processes share nothing with it
    folder, broker = EXAMPLES / "flask", f"sqlite:///{tmp_path}/t.sqlite3"
    with FlaskWorker(folder, broker, tmp_path, "letters", "-c", "1", "--start-method", "spawn"):
        client = PlainTalo("client", broker=broker, set_as_current=False)
        # When it runs a task, then that finds the application's configuration
        result = client.send_task("letters.write_letters", (["Ada"],))
        assert result.get(timeout=60) == ["Dear Ada, yours Talo"]
        client.close()


def run(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, timeout=60, check=False)


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder, "memory://doc")
    return run([sys.executable, "-c", code], folder, env)


def without(missing: str, module: str, folder: Path) -> str:
    """What importing ``module`` says where ``missing`` is not installed."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from talo.errors import MissingExtra\n"
        f"try:\n    import {module}\nexcept MissingExtra as error:\n    print(error)\n"
    )
    return python(folder, code).stdout
