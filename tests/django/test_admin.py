"""Django's admin shows what the project's store holds, and does what its user may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.django.site import Site
from tests.django.test_q import APPS

SETTINGS: dict[str, Any] = {
    "INSTALLED_APPS": [
        "django.contrib.admin", "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
        "django.contrib.messages", "django.contrib.staticfiles", *APPS[2:],
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.locale.LocaleMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    "STATIC_URL": "/static/",
    "ROOT_URLCONF": "shop.admin_urls",
    "TALO_TASK_PUBLISH_RETRY": False,
}  # fmt: skip

BEGIN = """
import html, re
from django.contrib.auth.models import Permission, User
from django.test import Client
from orders.tasks import add, note
from talo import shared_task
from talo.control.schedules import ScheduleControl
from talo.django.worker_app import app
from talo.testing.local import LocalWorker
@shared_task
def broken(): raise LookupError("nobody")
root = User.objects.create_superuser("root", "", "x")
client = Client(enforce_csrf_checks=True)
client.force_login(root)
def page(name, who=client, **query):
    return html.unescape(who.get(f"/admin/talo_django/{name}/", query).content.decode())
def act(name, action, *keys, who=client):
    token = re.search(r'name="csrfmiddlewaretoken" value="(\\w+)"', page(name, who))
    data = {"action": action, "key": keys, "csrfmiddlewaretoken": token[1] if token else ""}
    answer = who.post(f"/admin/talo_django/{name}/", data, follow=True)
    found = re.findall(r'<li class="(?:success|error|warning)">(.*?)</li>', answer.content.decode())
    return [answer.status_code, *map(html.unescape, found)]
told = {}
"""
PAGES = """
index = client.get("/admin/").content.decode()
told["index"] = [each in index for each in ("Runs", "Dead letters", "Queues", "Workers", "Periodic tasks", "Schedules")]
add.delay(1, 2); broken.delay()
LocalWorker(app).run_all()
told["runs"] = ["orders.tasks.add" in page("runpage"), "LookupError: nobody" in page("runpage"),
                "orders.tasks.add" in page("runpage", q="broken"), "nobody" in page("runpage", q="nobody")]
[letter] = app.store.broker.dead()
told["dead"] = ["nobody" in page("deadletter"), act("deadletter", "replay", letter.id)]
waiting = add.apply_async((3, 4), countdown=600)
told["waiting"] = [waiting.id in page("waitingtask"), "(3, 4)" in page("waitingtask")]
told["revoked"] = act("waitingtask", "revoke", waiting.id)
told["marked"] = sorted(app.state_store.locks.marked("revoked", [waiting.id])) == [waiting.id]
queue = app.conf.task_default_queue
told["queues"] = [queue in page("queuepage"), act("queuepage", "pause", queue), app.control.paused()[0] == [queue],
                  act("queuepage", "resume", queue), act("queuepage", "purge", queue)]
told["empty"] = [each.ready + each.delayed for each in app.store.broker.stats([queue])]
ScheduleControl(app).add("tidy", "orders.tasks.add", 3600, args=[1, 1])
told["periodic"] = ["tidy" in page("periodictask"), act("periodictask", "run", "tidy"),
                    act("periodictask", "pause", "tidy"),
                    [each.enabled for each in ScheduleControl(app).list()], act("periodictask", "remove", "tidy"),
                    act("periodictask", "run", "tidy"), act("periodictask", "pause")]
told["ran now"] = app.store.broker.stats([queue])[0].ready
app.store.broker.open("o", worker="w1@host", slots=4, lease=30)
told["workers"] = "w1@host" in page("workerpage")
reader = User.objects.create_user("reader", password="x", is_staff=True)
reader.user_permissions.set(Permission.objects.filter(codename__in=["view_queuepage", "change_deadletter"]))
other = Client(); other.force_login(reader)
told["reader"] = [queue in page("queuepage", other), "Purge" in page("queuepage", other),
                  act("queuepage", "purge", queue, who=other)[0], other.get("/admin/talo_django/runpage/").status_code,
                  "Replay" in page("deadletter", other), 'value="drop"' in page("deadletter", other)]
told["anonymous"] = Client().get("/admin/talo_django/queuepage/").status_code
told["csrf"] = client.post("/admin/talo_django/queuepage/", {"action": "purge", "key": queue}).status_code
told["adding"] = client.get("/admin/talo_django/queuepage/add/").status_code
print(json.dumps(told))
"""


def test_pages_show_the_store_and_their_actions_need_permissions(tmp_path: Path) -> None:
    site = Site(tmp_path, broker="django://default", settings=SETTINGS)
    site.migrate()
    assert (
        "No changes detected"
        in site.manage("makemigrations", "--check", "--dry-run", "-v1", "talo_django", "talo_django_q").stdout
    )
    told = site.python(BEGIN + PAGES)
    assert told["index"] == [True] * 6
    assert told["runs"] == [True, True, False, True]
    assert told["dead"] == [True, [200, "1 dead letter replayed"]]
    assert told["waiting"] == [True, True]
    assert told["revoked"] == [200, "1 task revoked"]
    assert told["marked"] is True
    assert told["queues"] == [
        True, [200, "1 queue changed"], True, [200, "1 queue changed"], [200, "2 messages deleted"],
    ]  # fmt: skip
    assert told["empty"] == [0]
    assert told["periodic"] == [
        True, [200, "1 periodic task changed"], [200, "1 periodic task changed"], [False],
        [200, "1 periodic task changed"], [200, "There is no periodic task 'tidy'"], [200, "Nothing was selected."],
    ]  # fmt: skip
    assert told["ran now"] == 1
    assert told["workers"] is True
    # And who may only look sees no action and can do none; who may change cannot delete
    assert told["reader"] == [True, False, 403, 403, True, False]
    assert (told["anonymous"], told["csrf"], told["adding"]) == (302, 403, 404)


Q_PAGES = """
from talo.django.q import async_task, schedule
from talo.django.q.models import Failure, Schedule
schedule("myapp.tasks.minha_funcao", 1, 2, schedule_type="D", name="daily")
async_task("myapp.tasks.minha_funcao", 1, sync=True)
def act(name, action, key):
    data = {"action": action, "_selected_action": [key]}
    return client.post(f"/admin/talo_django_q/{name}/", data, follow=True).content.decode()
client = Client(); client.force_login(root)
told["run"] = ["1 schedule run" in act("schedule", "run_now", Schedule.objects.get().pk),
               bool(Schedule.objects.get().task)]
row = Failure.objects.get()
told["shown"] = "TypeError" in client.get(f"/admin/talo_django_q/failure/{row.pk}/change/").content.decode()
told["again"] = ["1 task submitted" in act("failure", "submit_again", row.pk), Failure.objects.count()]
told["waits"] = app.store.broker.stats([app.conf.task_default_queue])[0].ready
print(json.dumps(told))
"""


def test_django_qs_models_are_in_the_admin_with_their_actions(tmp_path: Path) -> None:
    site = Site(tmp_path, broker="django://default", settings=SETTINGS)
    site.migrate()
    told = site.python(BEGIN + Q_PAGES)
    assert told == {"run": [True, True], "shown": True, "again": [True, 0], "waits": 2}


OLD = """
import datetime, json as j
from django.utils import timezone
from django_celery_beat.models import *
from django_celery_results.models import TaskResult
every = IntervalSchedule.objects.create(every=10, period="minutes")
cron = CrontabSchedule.objects.create(minute="30", hour="4", timezone="Europe/Rome")
PeriodicTask.objects.create(name="often", task="orders.tasks.add", interval=every, args="[1, 2]", queue="fast",
                            priority=3)
PeriodicTask.objects.create(name="nightly", task="orders.tasks.note", crontab=cron, kwargs='{"pk": 1}', enabled=False)
PeriodicTask.objects.create(name="broken", task="orders.tasks.note", interval=every, args="[1")
PeriodicTask.objects.create(name="once", task="orders.tasks.note", interval=every, one_off=True)
PeriodicTask.objects.create(name="next year", task="orders.tasks.note", interval=every,
                            start_time=timezone.now() + datetime.timedelta(days=365))
PeriodicTask.objects.create(name="cleanup", task="celery.backend_cleanup", crontab=cron)
TaskResult.objects.create(task_id="good", task_name="orders.tasks.add", status="SUCCESS", result="3", worker="w1",
                          content_type="application/json", content_encoding="utf-8", meta='{"children": []}')
error = {"exc_type": "LookupError", "exc_message": ["nobody"], "exc_module": "builtins"}
TaskResult.objects.create(task_id="bad", status="FAILURE", result=j.dumps(error), traceback="Traceback: nobody",
                          content_type="application/json", content_encoding="utf-8")
TaskResult.objects.create(task_id="odd", status="SUCCESS", result="x", content_type="application/x-python-serialize",
                          content_encoding="binary")
"""
NEW = """
from talo.control.schedules import ScheduleControl
from talo.django.worker_app import app
told = {each.name: [each.definition.task, each.enabled, each.definition.schedule, each.definition.args,
                    each.definition.kwargs, each.definition.options] for each in ScheduleControl(app).list()}
told["one_off"] = [each.name for each in ScheduleControl(app).list() if each.definition.one_off]
good, bad = app.AsyncResult("good"), app.AsyncResult("bad")
told["results"] = [good.get(timeout=1), good.name, good.worker, bad.state, repr(bad.result), bad.traceback,
                   app.AsyncResult("odd").state]
print(json.dumps(told))
"""


def test_the_tables_of_celerys_packages_are_imported(tmp_path: Path) -> None:
    pytest.importorskip("django_celery_beat", reason="django-celery-beat makes the tables of this test")
    pytest.importorskip("django_celery_results", reason="django-celery-results makes the tables of this test")
    # Given tables that those packages made, in a project that does not have them any more
    apps = {
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django_celery_beat", "django_celery_results"],
        "ROOT_URLCONF": None,
    }
    old = Site(tmp_path, settings=apps)
    old.migrate()
    old.python(OLD)
    site = Site(tmp_path, broker="django://default")
    site.migrate()
    # When they are imported, twice
    beat, results = site.manage("talo_import", "beat"), site.manage("talo_import", "results")
    assert "imported: 4" in beat.stdout
    assert "broken" in {line.partition(":")[0] for line in beat.stderr.splitlines()}
    assert ("imported: 2" in results.stdout, "x-python-serialize" in results.stderr) == (True, True)
    assert "imported: 0" in site.manage("talo_import", "beat").stdout
    assert "imported: 0" in site.manage("talo_import", "results").stdout
    # Then they are Talo's, and what could not be read was said
    told = site.python(NEW)
    assert told["often"] == [
        "orders.tasks.add", True, {"every": 600.0}, [1, 2], {}, {"queue": "fast", "priority": 3},
    ]  # fmt: skip
    assert told["nightly"][1:3] == [False, {"cron": "30 4 * * *", "tz": "Europe/Rome"}]
    assert told["once"][1:3] == [True, {"every": 600.0}] and told.pop("one_off") == ["once"]
    assert told["next year"][2].keys() == {"every", "from"}
    assert told.keys() == {"often", "nightly", "once", "next year", "results"}
    assert told["results"] == [
        3, "orders.tasks.add", "w1", "FAILURE", "LookupError('nobody')", "Traceback: nobody", "PENDING",
    ]  # fmt: skip
    # And without the tables it says so
    missing = site.manage("talo_import", "beat", "--database", "other", check=False)
    assert missing.returncode == 1 and "no such tables" in missing.stderr
