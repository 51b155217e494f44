"""What Celery's packages keep in Django's database lives on: schedules are read in place, results stay readable."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.control.schedules import Periodic, ScheduleControl
from tests.django.site import Site, SiteWorker
from tests.support import eventually

pytest.importorskip("django_celery_beat", reason="django-celery-beat makes the tables of these tests")
pytest.importorskip("django_celery_results", reason="django-celery-results makes the tables of these tests")

#: A project that has the packages, as they are, and edits rows by their models: the admin's way.
APPS = {
    "INSTALLED_APPS": ["django.contrib.contenttypes", "django_celery_beat", "django_celery_results"],
    "ROOT_URLCONF": None,
}
SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
BEGIN = """
import datetime, json, time
from django.utils import timezone
from django_celery_beat.models import *
now = timezone.now()
def ago(**span): return now - datetime.timedelta(**span)
def task(name, **fields):
    return PeriodicTask.objects.create(name=name, task="orders.tasks.add", **fields)
second, _ = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
day, _ = IntervalSchedule.objects.get_or_create(every=1, period="days")
"""
ROWS = """
task("often", interval=second, args="[1, 2]", queue="fast", priority=3, headers='{"x": "y"}', expire_seconds=60)
task("anchored", interval=day, last_run_at=ago(hours=23, minutes=59, seconds=57), total_run_count=7)
task("late", interval=day, last_run_at=ago(days=3))
task("once", interval=second, one_off=True)
task("clocked", clocked=ClockedSchedule.objects.create(clocked_time=ago(seconds=-2)), one_off=True)
task("future", interval=second, start_time=ago(days=-1))
task("over", interval=second, expires=ago(seconds=1))
task("off", interval=second, enabled=False)
task("broken", interval=second, args="[1")
task("nightly", crontab=CrontabSchedule.objects.create(minute="30", hour="4", timezone="Europe/Rome"))
task("sun", solar=SolarSchedule.objects.create(event="sunset", latitude="60.17", longitude="24.94"))
"""


class Tables:
    """The tables, as the package's project and as Talo's sees them."""

    def __init__(self, folder: Path) -> None:
        self.old = Site(folder, settings=APPS)
        self.old.migrate()
        self.site = Site(folder, settings={"TALO_RESULT_BACKEND": None})
        self.app = Talo("shop", broker=self.site.broker, set_as_current=False)
        self.beats: list[SiteWorker] = []

    def edit(self, code: str) -> float:
        """Edit rows by the package's models; return the time just before."""
        moment: float = self.old.python(f"{BEGIN}print(json.dumps(time.time()))\n{code}")
        return moment

    def beat(self) -> SiteWorker:
        made = self.site.worker(name=f"beat{len(self.beats)}")
        made._command = [
            sys.executable, str(self.site.project / "manage.py"), "talo", "beat", "-S", SCHEDULER, "-l", "INFO",
        ]  # fmt: skip
        self.beats.append(made)
        made.start(ready=False)
        eventually(lambda: self._starting(made), timeout=40)
        return made

    @staticmethod
    def _starting(beat: SiteWorker) -> None:
        assert "beat: Starting..." in beat.output(), beat.output()

    def plan(self, name: str) -> Periodic:
        return ScheduleControl(self.app).get(name)

    def dues(self, name: str) -> list[float]:
        """Due times of the runs that were sent, the first one first."""
        assert self.app.schedules is not None
        runs = self.app.schedules.runs("shop", name, 1000)
        return [run.due for run in runs[::-1] if run.task_id is not None]

    def row(self, name: str) -> dict[str, Any]:
        names = ("enabled", "last_run_at", "total_run_count")
        [found] = self.site.query(f"SELECT {', '.join(names)} FROM django_celery_beat_periodictask WHERE name='{name}'")
        return dict(zip(names, found, strict=True))

    def sent(self) -> Counter[str]:
        """How many messages of each periodic task wait."""
        broker = self.app.store.broker
        found = [message for queue in ("fast", "celery") for message in broker.peek(queue, 1000)]
        return Counter(str(message.headers["periodic_task_name"]) for message in found)

    def close(self) -> None:
        for each in self.beats:
            each.destroy()
        self.app.close()


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    with closing(Tables(tmp_path)) as made:
        yield made


@pytest.mark.promise("J04")
def test_rows_of_django_celery_beat_run_in_place_and_edits_take_effect_within_five_seconds(tables: Tables) -> None:
    # Given rows of every kind, and two beats that are told to use that package's scheduler
    tables.edit(ROWS)
    beats = [tables.beat(), tables.beat()]

    # Then what is due is sent,
    def due() -> None:
        sent = tables.sent()
        assert sent["often"] >= 5 and min(sent[name] for name in ("anchored", "late", "once", "clocked")) == 1, sent

    eventually(due, timeout=40)
    # as the rows say, in the order of the last run that they knew
    [message] = tables.app.store.broker.peek("fast", 1)
    assert (json.loads(message.body)[0], message.headers["x"], message.priority) == ([1, 2], "y", 3)
    assert tables.plan("anchored").total == 8
    nightly = tables.plan("nightly")
    assert nightly.definition.schedule == {"cron": "30 4 * * *", "tz": "Europe/Rome"} and nightly.enabled
    assert tables.plan("future").next_run is not None and tables.plan("over").next_run is None
    assert tables.plan("sun").definition.shown and not tables.plan("off").enabled
    assert any("'broken' is left out" in beat.output() for beat in beats)

    # And the rows know of it: the package's own pages show it
    def noted() -> None:
        assert tables.row("anchored")["total_run_count"] == 8 and tables.row("often")["total_run_count"] >= 5
        assert [(tables.row(name)["enabled"], tables.row(name)["last_run_at"] is None) for name in
                ("once", "clocked", "off", "future")] == [(0, False), (0, False), (0, True), (1, True)]  # fmt: skip

    eventually(noted)

    # When rows are edited: added, switched off, switched on, changed behind the models' back, deleted
    edited = tables.edit(
        'task("new", interval=second)\n'
        'PeriodicTask.objects.get(name="late").delete()\n'
        'row = PeriodicTask.objects.get(name="often"); row.enabled = False; row.save()\n'
        'PeriodicTask.objects.filter(name="off").update(enabled=True)\n'
        'CrontabSchedule.objects.update(hour="5")\n'
    )

    # Then every beat follows within five seconds
    def followed() -> None:
        assert tables.dues("new") and tables.dues("off") and not tables.plan("often").enabled
        assert tables.plan("nightly").definition.schedule == {"cron": "30 5 * * *", "tz": "Europe/Rome"}
        assert "late" not in {each.name for each in ScheduleControl(tables.app).list()}

    eventually(followed)
    assert max(tables.dues("new")[0], tables.dues("off")[0], tables.dues("often")[-1]) < edited + 5
    # And a pause by Talo's own means is the row's, too
    ScheduleControl(tables.app).pause("off")
    eventually(lambda: _is(tables.row("off")["enabled"], 0))
    # And one of the beats may die: each tick was sent once, by whichever it was
    beats[0].destroy()
    before = len(tables.dues("new"))
    eventually(lambda: _is(len(tables.dues("new")) > before + 1, True))
    beats[1].stop()
    sent = tables.sent()
    for name in ("often", "new", "off"):
        dues = tables.dues(name)
        assert len(set(dues)) == len(dues) == sent[name] == tables.plan(name).total
    assert [sent[name] for name in ("once", "clocked", "anchored", "late", "future", "over")] == [1, 1, 1, 1, 0, 0]


def _is(found: object, expected: object) -> None:
    assert found == expected


def test_an_entry_of_the_configuration_counts_more_than_the_row_that_the_package_wrote_of_it(tables: Tables) -> None:
    tables.edit('task("tidy", interval=day, args="[0, 0]", enabled=False)\ntask("other", interval=day)')
    entry = {"task": "orders.tasks.add", "schedule": 1.0, "args": [1, 1]}
    tables.site.env["SHOP_SETTINGS"] = json.dumps({"TALO_BEAT_SCHEDULE": {"tidy": entry, "more": entry}})
    tables.beat()
    eventually(lambda: _is(tables.dues("more") != [], True), timeout=40)
    assert (tables.plan("tidy").definition.args, tables.plan("tidy").enabled) == ([1, 1], False)
    tables.edit('PeriodicTask.objects.filter(name="tidy").update(enabled=True)')
    eventually(lambda: _is(tables.dues("tidy") != [] and tables.row("tidy")["total_run_count"] > 0, True))


def test_a_beat_goes_on_by_what_it_knows_while_the_tables_are_away(tables: Tables) -> None:
    tables.edit('task("often", interval=second)')
    beat = tables.beat()
    eventually(lambda: _is(tables.dues("often") != [], True), timeout=40)
    # When the tables cannot be read
    tables.site.query("ALTER TABLE django_celery_beat_periodictasks RENAME TO away")
    eventually(lambda: _is("cannot be read; what was read before counts" in beat.output(), True))
    before = len(tables.dues("often"))
    # Then what is due is sent all the same, and edits count when they are back
    eventually(lambda: _is(len(tables.dues("often")) > before + 1, True))
    tables.site.query("ALTER TABLE away RENAME TO django_celery_beat_periodictasks")
    tables.edit('task("new", interval=second)')
    eventually(lambda: _is(tables.dues("new") != [], True))


def test_without_the_tables_beat_says_so_and_ends(tmp_path: Path) -> None:
    done = Site(tmp_path).manage("talo", "beat", "-S", SCHEDULER, check=False)
    assert done.returncode != 0
    assert "no tables of django-celery-beat" in done.stderr and "Traceback" not in done.stderr


RESULTS = """
import json as j
from django_celery_results.models import GroupResult, TaskResult
json_ = {"content_type": "application/json", "content_encoding": "utf-8"}
TaskResult.objects.create(task_id="good", task_name="orders.tasks.add", status="SUCCESS", result="3", worker="w1",
                          meta='{"children": []}', **json_)
error = {"exc_type": "LookupError", "exc_message": ["nobody"], "exc_module": "builtins"}
TaskResult.objects.create(task_id="bad", status="FAILURE", result=j.dumps(error), traceback="T: nobody", **json_)
TaskResult.objects.create(task_id="odd", status="SUCCESS", result="x", content_type="application/x-python-serialize",
                          content_encoding="binary")
members = [[["good", None], None], [["bad", None], None]]
GroupResult.objects.create(group_id="both", result=j.dumps([["both", None], members]), **json_)
"""
READ = """
import asyncio
from orders.tasks import add
from talo.app.groups import GroupResult
from talo.django.worker_app import app
from talo.testing.local import LocalWorker
good, bad = app.AsyncResult("good"), app.AsyncResult("bad")
told = [good.get(timeout=1), good.name, good.worker, good.date_done is not None, bad.state, repr(bad.result),
        bad.traceback, app.AsyncResult("odd").state, app.AsyncResult("unknown").state]
group = GroupResult.restore("both", app=app)
told += [[each.id for each in group], group.failed(), group.join(timeout=1, propagate=False)[0]]
async def later(): return await app.AsyncResult("good").aget(timeout=1)
told.append(asyncio.run(later()))
new = add.delay(1, 1); LocalWorker(app).run_all()
told.append(new.get(timeout=1))
print(json.dumps(told))
"""


@pytest.mark.promise("J04")
def test_rows_of_django_celery_results_stay_readable_by_their_ids(tmp_path: Path) -> None:
    # Given results and a group that the package kept
    old = Site(tmp_path, settings=APPS)
    old.migrate()
    old.python(RESULTS)
    # When a project that keeps new results elsewhere asks for them, then they are there, beside the new ones
    site = Site(tmp_path, settings={"TALO_DJANGO_RESULT_TABLES": True})
    assert site.python(READ) == [
        3, "orders.tasks.add", "w1", True, "FAILURE", "LookupError('nobody')", "T: nobody", "PENDING", "PENDING",
        ["good", "bad"], True, 3, 3, 2,
    ]  # fmt: skip
    # And without the setting they are not asked for
    assert Site(tmp_path).python(READ.split("good, bad")[0] + "print(json.dumps(app.AsyncResult('good').state))") == (
        "PENDING"
    )


MANY = """
import json
from django.db import connection
from talo.django.celery_results import Archive
from orders.tasks import add
asked = []
def note(execute, sql, params, many, context):
    asked.append(len(params or ()))
    return execute(sql, params, many, context)
with connection.execute_wrapper(note):
    found = Archive(add.app).results([f"id{n}" for n in range(1300)])
    none = Archive(add.app).results([])
print(json.dumps([len(found), none, sum(asked), max(asked)]))
"""


def test_a_statement_asks_for_a_bounded_number_of_results(tmp_path: Path) -> None:
    old = Site(tmp_path, settings=APPS)
    old.migrate()
    old.python(
        "from django_celery_results.models import TaskResult\n"
        "TaskResult.objects.bulk_create([TaskResult(task_id=f'id{n}', status='SUCCESS', result='3',"
        " content_type='application/json') for n in range(1200)])\nprint('null')"
    )
    site = Site(tmp_path, settings={"TALO_DJANGO_RESULT_TABLES": True})
    assert site.python(MANY) == [1200, {}, 1300, 500]


def test_missing_tables_of_results_are_told_by_check(tmp_path: Path) -> None:
    # Given a project that wants results from tables, and a database without them
    site = Site(tmp_path, settings={"TALO_DJANGO_RESULT_TABLES": True})
    # When its database is checked, then it is told what to do
    said = site.manage("check", "--database", "default").stderr
    assert "talo.W009" in said and "no django_celery_results_taskresult" in said
    assert "'django_celery_results' in INSTALLED_APPS run manage.py migrate --database default" in said
    # And once they are there, or nobody looks for them, nothing is said
    Site(tmp_path, settings=APPS).migrate()
    assert "W009" not in site.manage("check", "--database", "default").stderr
    other = tmp_path / "other"
    other.mkdir()
    assert "W009" not in Site(other).manage("check", "--database", "default").stderr
