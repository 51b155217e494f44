"""Celery's companions for Django, unmodified: schedules and results in Django's database, in the classic layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ecosystem.venv import CeleryCommand, Environment, worker
from tests.support import eventually

SETTINGS = """
SECRET_KEY = "x"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "site_.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_beat", "django_celery_results", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 20}}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "cache"}}
CELERY_BROKER_URL = URL
CELERY_RESULT_BACKEND = RESULTS
CELERY_CACHE_BACKEND = "default"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_TRACK_STARTED = True
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
CELERY = """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_.settings")
app = Celery("site_")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
TASKS = """
from celery import shared_task

@shared_task
def add(x, y):
    return x + y

@shared_task
def fails():
    raise ValueError("no")

@shared_task
def tick(who):
    with open("ticks", "a") as out:
        out.write(who + "\\n")
"""
SET_UP = "import django; import site_; django.setup()\n"

Site = Callable[[str], Path]


@pytest.fixture
def site(tmp_path: Path, url: str, where: Environment) -> Site:
    """Writes a Django project whose results go to a backend, and makes its database."""

    def write(backend: str) -> Path:
        for folder in ("site_", "shop"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "__init__.py").touch()
        (tmp_path / "site_/__init__.py").write_text("from .celery import app as celery_app\n")
        (tmp_path / "site_/celery.py").write_text(CELERY)
        settings = SETTINGS.replace("= URL", f"= {url!r}").replace("= RESULTS", f"= {backend!r}")
        (tmp_path / "site_/settings.py").write_text(settings)
        (tmp_path / "site_/urls.py").write_text("urlpatterns = []\n")
        (tmp_path / "shop/tasks.py").write_text(TASKS)
        where.script(
            SET_UP + "from django.core.management import call_command; call_command('migrate', verbosity=0)",
            cwd=tmp_path,
        )
        return tmp_path

    return write


def test_django_celery_results_keeps_results_in_the_database(where: Environment, site: Site) -> None:
    # Given results in Django's database,
    folder = site("django-db")
    with worker(where, folder, app="site_") as running:
        # When tasks are run, and a chord,
        code = (
            "from shop.tasks import add, fails\n"
            "from celery import chord\n"
            "from django_celery_results.models import TaskResult\n"
            "import json\n"
            "r = add.delay(2, 3)\n"
            "f = fails.delay()\n"
            "values = [r.get(timeout=30), str(f.get(timeout=30, propagate=False)), f.state]\n"
            "values.append(chord([add.s(n, n) for n in range(4)], add.s([9])).apply_async().get(timeout=30))\n"
            "row = TaskResult.objects.get(task_id=r.id)\n"
            "bad = TaskResult.objects.get(task_id=f.id)\n"
            "print(json.dumps(values + [row.status, row.task_name, json.loads(row.result), row.worker, bad.status, 'ValueError' in bad.traceback]))\n"  # noqa: E501
        )
        # Then their results are rows, and are read from them.
        values = json.loads(where.script(SET_UP + code, cwd=folder).splitlines()[-1])
        assert values == [
            5, "no", "FAILURE", [0, 2, 4, 6, 9], "SUCCESS", "shop.tasks.add", 5, "w@test", "FAILURE", True,
        ], running.output()  # fmt: skip


def test_django_cache_keeps_results_in_the_cache(where: Environment, site: Site) -> None:
    folder = site("django-cache")
    with worker(where, folder, app="site_"):
        code = (
            "from shop.tasks import add; from django.core.cache import cache\n"
            "r = add.delay(2, 3); print(r.get(timeout=30), cache.get('celery-task-meta-' + r.id)['status'])"
        )
        assert where.script(SET_UP + code, cwd=folder).split() == ["5", "SUCCESS"]


def test_django_celery_beat_sends_what_stands_in_the_database(where: Environment, site: Site) -> None:
    # Given a periodic task in the database and another that is added while beat runs,
    folder = site("django-db")
    add = (
        "from django_celery_beat.models import PeriodicTask, IntervalSchedule, PeriodicTasks\n"
        "import json\n"
        "every, _ = IntervalSchedule.objects.get_or_create(every=1, period='seconds')\n"
        "PeriodicTask.objects.create(name={name!r}, task='shop.tasks.tick', interval=every, args=json.dumps([{name!r}]))\n"  # noqa: E501
    )
    where.script(SET_UP + add.format(name="first"), cwd=folder)
    beat = CeleryCommand(where, folder, "-A", "site_", "beat", "-S", "django", "-l", "DEBUG", name="beat")
    with worker(where, folder, app="site_"), beat.start(ready=False):

        def ticks(name: str, count: int) -> None:
            found = (folder / "ticks").read_text().split() if (folder / "ticks").exists() else []
            assert found.count(name) >= count, beat.output()

        eventually(lambda: ticks("first", 2), timeout=40)
        where.script(SET_UP + add.format(name="second"), cwd=folder)
        # Then both are sent, and the database knows their last runs.
        eventually(lambda: ticks("second", 1), timeout=40)
        ask = "from django_celery_beat.models import PeriodicTask; print(PeriodicTask.objects.get(name='first').total_run_count)"  # noqa: E501

        def counted() -> None:
            assert int(where.script(SET_UP + ask, cwd=folder)) >= 1

        beat.stop()
        eventually(counted)
