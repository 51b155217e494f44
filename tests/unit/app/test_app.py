"""The app itself: current and default, configuration, discovery, its end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

import talo
from talo import Celery, Talo, current_app
from talo.app import app_or_default
from talo.errors import ImproperlyConfigured
from tests.unit.app.conftest import FarSide


def test_the_last_app_is_the_current_one_in_every_form(app: Talo) -> None:
    # Given an app, then the proxy stands for it
    assert current_app._get_current_object() is app
    assert current_app == app
    assert isinstance(current_app, Talo)
    assert current_app.main == "t"
    assert app_or_default() is app
    assert Celery is Talo

    # And another one takes its place only if it wants to
    with Talo("quiet", set_as_current=False) as quiet:
        assert current_app == app
        assert app_or_default(quiet) is quiet
        with Talo("loud") as loud:
            assert current_app == loud


def test_settings_come_from_keywords_objects_environment_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given every source
    monkeypatch.setenv("TALO_RESULT_EXPIRES", "77")
    source = types.SimpleNamespace(CELERY_TASK_SERIALIZER="msgpack", CELERY_TIMEZONE="Europe/Rome", OTHER=1)
    with Talo("t", broker="memory://conf", set_as_current=False, task_default_queue="main") as app:
        app.add_defaults({"worker_concurrency": 3})
        app.config_from_object(source, namespace="CELERY")
        app.config_from_cmdline(["worker.prefetch_multiplier=2"])
        app.conf.task_track_started = True

        # Then each had its say
        conf = app.conf
        assert (conf.broker_url, conf.task_default_queue, conf.task_serializer) == ("memory://conf", "main", "msgpack")
        assert (conf.worker_concurrency, conf.worker_prefetch_multiplier, conf.result_expires) == (3, 2, 77)
        assert conf.task_track_started is True
        assert str(app.timezone) == "Europe/Rome"
        assert app.now().tzinfo is app.timezone
        assert not app.uses_utc_timezone()
        assert app.either("task_default_queue", None, "given") == "given"


def test_a_source_is_read_when_it_is_needed(app: Talo) -> None:
    # Given a module that does not exist
    app.config_from_object("no.such.module")

    # Then naming it is no error, using it is, and silence was an option
    with pytest.raises(ImportError):
        assert app.conf.task_serializer
    with Talo("t", set_as_current=False) as quiet:
        quiet.config_from_object("no.such.module", silent=True)
        assert quiet.conf.task_serializer == "json"


def test_a_variable_that_is_not_set_is_named(app: Talo) -> None:
    with pytest.raises(ImproperlyConfigured, match="NO_SUCH_VARIABLE"):
        app.config_from_envvar("NO_SUCH_VARIABLE")
    assert app.config_from_envvar("NO_SUCH_VARIABLE", silent=True) is False


def test_a_wrong_time_zone_is_one_clear_line(app: Talo) -> None:
    with pytest.raises(ImproperlyConfigured, match="Mars/Olympus"):
        app.conf.timezone = "Mars/Olympus"


def test_the_signals_of_the_app_come_in_order_even_if_it_was_configured_before(app: Talo) -> None:
    # Given receivers that connect after a setting was made, as in every tutorial
    told: list[str] = []
    app.conf.timezone = "UTC"
    app.on_after_configure.connect(lambda sender, **kw: told.append(f"configured {sender.main}"), weak=False)
    app.on_after_finalize.connect(lambda sender, **kw: told.append("finalized"), weak=False)

    # When the app is used, and used again
    app.finalize()
    app.finalize()

    # Then each was told once
    assert told == ["configured t", "finalized"]


def test_tasks_are_discovered_when_modules_are_loaded(
    app: Talo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a package with tasks, one without, and one whose tasks are broken
    for name, text in {
        "disc_with": "import disc_probe\n",
        "disc_without": None,
        "disc_broken": "import no_such\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        if text is not None:
            (tmp_path / name / "tasks.py").write_text(text)
    (tmp_path / "disc_probe.py").write_text("")
    (tmp_path / "disc_extra.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    app.conf.imports = ["disc_extra"]
    app.autodiscover_tasks(["disc_with", "disc_without"])
    assert "disc_probe" not in sys.modules

    # When the app loads its modules
    app.import_default_modules()

    # Then what is there was imported, and what is broken says so
    assert {"disc_probe", "disc_extra", "disc_with.tasks"} <= sys.modules.keys()
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        app.autodiscover_tasks(["disc_broken"], force=True)
    with pytest.raises(ModuleNotFoundError, match="no_package"):
        app.autodiscover_tasks(lambda: ["no_package"], force=True)


def test_results_live_where_tasks_do_unless_told_otherwise(app: Talo) -> None:
    # Given one place and two
    assert app.result_store is app.store
    with Talo("t", broker="memory://here", backend="memory://there", set_as_current=False) as other:
        assert other.result_store is not other.store


def test_a_closed_app_lets_go_and_may_be_used_again(app: Talo) -> None:
    # Given an app with an open store, when it is closed twice
    store = app.store
    app.close()
    app.close()

    # Then it is not current, and a new use opens a new store
    assert current_app != app
    assert app.closed
    assert app.store is not store


def test_a_child_process_opens_its_own_store(app: Talo, tmp_path: Path) -> None:
    # Given an open store on a file
    app.conf.broker_url = f"sqlite:///{tmp_path}/fork.sqlite3"
    app.close_stores()
    forks: list[Any] = []
    app.on_after_fork.connect(lambda **kw: forks.append(1), weak=False)
    before, oid = app.store, app.oid

    # When a child sends
    pid = os.fork()
    if pid == 0:
        ok = app.store is not before and app.oid != oid and forks == [1]
        app.send_task("from.child")
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    # Then the parent finds the message through its own
    assert app.store is before
    assert [m.task for m in FarSide(app).messages()] == ["from.child"]


def test_importing_talo_loads_no_client_library_or_framework() -> None:
    # Given a fresh interpreter, when it imports talo
    unwanted = "redis rich click django sqlite3 pydantic yaml".split()
    code = f"import sys, talo; print([m for m in {unwanted} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # Then none of them came with it
    assert out.stdout.strip() == "[]"
    assert talo.__all__ == sorted(talo.__all__)


def test_a_thread_that_comes_while_another_finalises_waits_for_the_whole_registry() -> None:
    # Given an app that takes its time to complete its registry
    begun, go_on = threading.Event(), threading.Event()
    with Talo("threads", set_as_current=False) as app:

        def slowly(**_: Any) -> None:
            begun.set()
            assert go_on.wait(60)

        app.on_after_configure.connect(slowly, weak=False)
        first = threading.Thread(target=lambda: app.tasks)
        first.start()
        assert begun.wait(60)
        # When a second thread asks for a task that is added at the end
        found: list[bool] = []
        second = threading.Thread(target=lambda: found.append("celery.map" in app.tasks))
        second.start()
        second.join(0.2)
        # Then it waits, and finds it
        assert second.is_alive()
        go_on.set()
        first.join(60)
        second.join(60)
        assert found == [True]
