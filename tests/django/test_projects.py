"""Which app a project has, how commands find it, and where its settings come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.django.site import PROJECT, Site

WHO = "from talo import current_app as app; from orders.tasks import add; print(json.dumps([app.main, add.app.main, "
ROUND_TRIP = """
from orders.tasks import note
from orders.models import Order
from django.db import transaction
with transaction.atomic():
    result = note.delay(Order.objects.create(what="x").pk)
print(json.dumps(result.get(timeout=30)))
"""


def classic(directory: Path, *, installed: bool, exported: bool) -> Path:
    """The layout of Celery's documentation, with the apps of the test project."""
    project = directory / "classic"
    (project / "proj").mkdir(parents=True)
    (project / "orders").symlink_to(PROJECT / "orders")
    (project / "shop").symlink_to(PROJECT / "shop")
    (project / "proj/__init__.py").write_text("from .celery import app as celery_app\n" if exported else "")
    (project / "proj/celery.py").write_text(
        "import os\n"
        "from talo import Celery\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'proj.settings')\n"
        "app = Celery('proj')\n"
        "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        "app.autodiscover_tasks()\n"
    )
    (project / "proj/settings.py").write_text(
        "from shop.settings import *\n"
        f"INSTALLED_APPS = ['orders'{', ' + repr('talo.django') if installed else ''}]\n"
        "CELERY_TASK_DEFAULT_QUEUE = 'classic'\n"
    )
    (project / "manage.py").write_text((PROJECT / "manage.py").read_text().replace("shop.", "proj."))
    return project


def test_two_lines_of_settings_make_an_app_that_finds_the_tasks(tmp_path: Path) -> None:
    site = Site(tmp_path, settings={"TALO_TASK_DEFAULT_QUEUE": "errands"})
    assert site.python(WHO + "app.conf.task_default_queue, str(app.timezone)]))") == [
        "shop", "shop", "errands", "Europe/Rome",
    ]  # fmt: skip
    shown = site.manage("talo", "check").stdout
    assert "orders.tasks.note" in shown and "orders.tasks.anote" in shown


def test_the_three_ways_to_write_settings_may_be_mixed(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "TALO_TASK_DEFAULT_QUEUE": "a",
        "CELERY_RESULT_EXPIRES": 60,
        "TALO": {"worker_lease": 11, "TASK_TIME_LIMIT": 5},
    }
    got = Site(tmp_path, settings=settings).python(
        WHO + "app.conf.task_default_queue, app.conf.result_expires, app.conf.worker_lease, app.conf.task_time_limit]))"
    )
    assert got[2:] == ["a", 60, 11, 5]


#: Settings, and what is said of them.
FAULTY: list[tuple[dict[str, Any], str]] = [
    (
        {"TALO_RESULT_EXPIRES": 1, "CELERY_RESULT_EXPIRES": 2},
        "CELERY_RESULT_EXPIRES and TALO_RESULT_EXPIRES say the same: keep one",
    ),
    ({"TALO_RESULT_EXPIRES": 1, "TALO": {"result_expires": 2}}, "TALO_RESULT_EXPIRES and TALO['result_expires'] say"),
    ({"CELERY_RESULT_EXPIRES": 1, "TALO": {"result_expires": 2}}, "CELERY_RESULT_EXPIRES and TALO['result_expires'] "),
    ({"TALO_RESULT_EXPIRED": 1}, "TALO_RESULT_EXPIRED is not a setting; did you mean TALO_RESULT_EXPIRES?"),
    ({"TALO": {"result_expired": 1}}, "did you mean TALO_RESULT_EXPIRES?"),
    ({"TALO": ["x"]}, "TALO = list: expected a dictionary"),
    ({"TALO_DJANGO_ON_COMMIT": ["defualt"]}, "'defualt', which DATABASES does not have: did you mean 'default'?"),
    ({"TALO_BROKER_URL": "django://nope"}, "broker_url names database 'nope'"),
]


def test_settings_that_cannot_be_meant_are_told_by_check(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.env.pop("TALO_BROKER_URL")
    told = site.python(
        "from django.test import override_settings\nfrom django.core.checks import run_checks\ntold = []\n"
        f"for settings in {[settings for settings, _ in FAULTY]!r}:\n"
        "    with override_settings(**settings):\n"
        "        told.append([each.msg for each in run_checks(tags=['talo'])])\n"
        "print(json.dumps(told))"
    )
    for (settings, said), messages in zip(FAULTY, told, strict=True):
        assert len(messages) == 1 and said in messages[0], (settings, messages)


def test_a_worker_does_not_start_over_an_error_of_the_checks(tmp_path: Path) -> None:
    done = Site(tmp_path, settings={"TALO_DJANGO_ON_COMMIT": ["nope"]}).manage("talo", "worker", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "database 'nope'" in done.stderr


@pytest.mark.parametrize(("installed", "exported"), [(True, False), (False, True)])
def test_the_classic_layout_works_as_it_is_and_has_one_app(tmp_path: Path, installed: bool, exported: bool) -> None:
    # Given proj/celery.py as in Celery's documentation
    site = Site(tmp_path, project=classic(tmp_path, installed=installed, exported=exported), module="proj.settings")
    site.migrate()
    # When Django has started, then the app is that one, and the only one
    count = "from talo.app.current import apps; "
    got = site.python(count + WHO + "app.conf.task_default_queue, len(apps()), str(app.timezone)]))")
    assert got == ["proj", "proj", "classic", 1, "Europe/Rome"]
    # And a worker of it runs what was sent
    with named(site, "-A", "proj") as worker:
        assert site.python(ROUND_TRIP) is True
        assert worker.stop() == 0


def named(site: Site, *words: str) -> Any:
    worker = site.worker(managed=False)
    worker._command[3:3] = words
    return worker


@pytest.mark.parametrize("way", ["manage.py, spawn", "-A shop", "DJANGO_SETTINGS_MODULE"])
def test_every_way_to_start_a_worker_runs_the_projects_tasks(site: Site, way: str) -> None:
    if way == "manage.py, spawn":
        worker = site.worker("--start-method", "spawn")
    elif way == "DJANGO_SETTINGS_MODULE":
        worker = named(site)
    else:
        site.env.pop("DJANGO_SETTINGS_MODULE")
        worker = named(site, "-A", "shop")
        site.env = {**site.env}
    with worker.start():
        site.env["DJANGO_SETTINGS_MODULE"] = "shop.settings"
        assert site.python(ROUND_TRIP) is True
        assert worker.stop() == 0


def test_every_command_is_there_and_talks_to_the_projects_app(site: Site) -> None:
    assert "worker" in site.manage("talo", "--help").stdout
    task_id = site.manage("talo", "call", "orders.tasks.add", "--args", "[1, 2]").stdout.strip()
    assert len(task_id) == 36
    assert "1" in site.manage("talo", "queues").stdout
    assert site.manage("talo", "nonsense", check=False).returncode == 2
    called = site.python(
        "from django.core.management import call_command, CommandError\n"
        "call_command('talo', 'queues')\n"
        "try: call_command('talo', 'nonsense')\n"
        "except CommandError as e: print(json.dumps([e.returncode, str(e)]))"
    )
    assert called == [2, "talo nonsense ended with exit code 2"]
    assert site.manage("talo", "check", "--settings").returncode == 0


def test_the_namespace_that_nobody_reads_is_told(tmp_path: Path) -> None:
    project = classic(tmp_path, installed=True, exported=True)
    site = Site(tmp_path, project=project, module="proj.settings", settings={"TALO_OUTBOX": True})
    assert "talo.W001) TALO_OUTBOX has no effect" in site.manage("check").stderr


def test_hazards_are_warned_of(tmp_path: Path) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "x.sqlite3"}
    site = Site(
        tmp_path,
        databases={"default": {**sqlite, "ATOMIC_REQUESTS": True, "CONN_MAX_AGE": None}},
        settings={
            "DEBUG": False,
            "TALO_DJANGO_ON_COMMIT": False,
            "TALO_TASK_ALWAYS_EAGER": True,
            "TALO_WORKER_POOL": "threads",
        },
    )
    said = site.manage("check").stderr
    assert "talo.W002) Requests are transactions on default" in said
    assert "talo.W003) task_always_eager" in said
    assert "W004" not in said
    deploy = site.manage("check", "--deploy").stderr
    assert "talo.W004) No time limit holds for orders.tasks.abackend, " in deploy and " more: one that hangs" in deploy
    assert "talo.W005) Database 'default' has CONN_MAX_AGE" in deploy


def test_a_missing_table_of_the_outbox_is_told_by_check_and_at_the_send(tmp_path: Path) -> None:
    site = Site(tmp_path, settings={"TALO_OUTBOX": True})
    done = site.manage("check", "--database", "default")
    assert "talo.W007" in done.stderr and "migrate --database default" in done.stderr
    assert "migrate --database default" in site.python(
        "from django.db import transaction\nfrom orders.tasks import add\n"
        "try:\n"
        "    with transaction.atomic(): add.delay(1, 2)\n"
        "except Exception as e: print(json.dumps(str(e)))"
    )


def test_the_migrations_are_complete(site: Site) -> None:
    assert "No changes" in site.manage("makemigrations", "talo_django", "--check", "--dry-run").stdout
