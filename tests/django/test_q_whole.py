"""The rest of Django Q's way: its signals, ``qcluster --run-once``, and its own tables."""

from __future__ import annotations

import base64
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tests.django.site import Site
from tests.django.test_q import APPS, CLUSTER, q_site

SEND = """
from talo.django.q import async_task, schedule
from talo.django.q.tasks import app
first = async_task("myapp.tasks.minha_funcao", 1, 2)
schedule("myapp.tasks.note", "due")
async_task("myapp.tasks.minha_funcao", 1, 2, cluster="elsewhere")
print(json.dumps(first))
"""
ASK = """
from talo.django.q.models import Success
from talo.django.q.tasks import app
print(json.dumps([sorted(each.func for each in Success.objects.all()),
                  {each.name: each.ready for each in app().store.broker.stats()}]))
"""


def test_a_cluster_that_runs_once_ends_when_nothing_waits_any_more(tmp_path: Path) -> None:
    # Given a task, a schedule that is due, and a task of another cluster
    site = q_site(tmp_path)
    site.python(SEND)
    # When the cluster runs once
    done = site.manage("qcluster", "--run-once")
    # Then it has ended by itself, and all that was its own is done
    assert done.returncode == 0
    functions, ready = site.python(ASK)
    assert functions == ["myapp.tasks.minha_funcao", "myapp.tasks.note"]
    assert [ready["elsewhere"], sum(ready.values())] == [1, 1]


SIGNALS = """
from talo.django.q import async_task, fetch, signals
from talo.django.worker_app import app
from talo.testing.local import LocalWorker
told = []
def tell(name):
    def receiver(sender, signal, task, func=None, **more):
        told.append([name, sender, task["name"], list(task["args"]), func and func.__name__, task.get("result"),
                     task.get("success")])
    receivers.append(receiver)
    return receiver
receivers = []
for name in ("pre_enqueue", "pre_execute", "post_execute_in_worker", "post_execute"):
    getattr(signals, name).connect(tell(name))
def change(task, **more): task["args"] = (5, 6)
def refuse(task, **more):
    if task["name"] == "refused": raise PermissionError("not by night")
def fail(**more): raise RuntimeError("a receiver's")
signals.pre_enqueue.connect(change); signals.pre_execute.connect(refuse); signals.post_execute.connect(fail)
done = async_task("myapp.tasks.minha_funcao", 1, 2, task_name="sum")
refused = async_task("myapp.tasks.minha_funcao", 1, 2, task_name="refused", ack_failure=True)
LocalWorker(app).run_all()
said = [told, fetch(done).result, fetch(refused).result.split(" :")[0]]
signals.pre_enqueue.connect(fail)
try: async_task("myapp.tasks.minha_funcao", 1, 2)
except RuntimeError as error: said.append(str(error))
print(json.dumps(said))
"""


def test_receivers_see_each_step_of_a_task_may_change_it_and_cannot_undo_what_has_happened(tmp_path: Path) -> None:
    told, done, refused, error = q_site(tmp_path).python(SIGNALS)
    q, args, func = "django_q", [5, 6], "minha_funcao"
    assert [each for each in told if each[2] == "sum"] == [
        ["pre_enqueue", q, "sum", [1, 2], None, None, None],
        ["pre_execute", q, "sum", args, func, None, None],
        ["post_execute_in_worker", q, "sum", args, func, 11, True],
        ["post_execute", q, "sum", args, None, 11, True],
    ]
    assert (done, refused, error) == (11, "not by night", "a receiver's")
    assert [(each[0], each[6]) for each in told if each[2] == "refused"][-1] == ("post_execute", False)


SPAWNED = """
from pathlib import Path
from django.dispatch import receiver
from talo.django.q.signals import post_spawn
@receiver(post_spawn)
def spawned(proc_name, **more): Path("spawned").open("a").write(proc_name + "\\n")
"""


def test_a_process_of_a_worker_tells_that_it_begins(tmp_path: Path) -> None:
    (tmp_path / "spawning").mkdir()
    (tmp_path / "spawning/__init__.py").write_text("")
    (tmp_path / "spawning/models.py").write_text(SPAWNED)
    site = q_site(tmp_path)
    site.env["PYTHONPATH"] += f":{tmp_path}"
    settings = json.loads(site.env["SHOP_SETTINGS"])
    site.env["SHOP_SETTINGS"] = json.dumps({**settings, "INSTALLED_APPS": [*APPS, "spawning"]})
    site.manage("qcluster", "--run-once")
    assert len(set((tmp_path / "spawned").read_text().splitlines())) == CLUSTER["workers"]


#: As Django Q 1 writes them (SQLite).
TABLES = """
from django.core import signing
from django.db import connection
import datetime, pickle
class Pickles:
    @staticmethod
    def dumps(value): return pickle.dumps(value)
def signed(cluster, name, **more):
    task = {"id": "id-" + name, "name": name, "func": "myapp.tasks.minha_funcao", "args": (1, 2), "kwargs": {},
            "started": datetime.datetime.now(datetime.timezone.utc), **more}
    return signing.TimestampSigner(salt=cluster).sign_object(task, serializer=Pickles)
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE django_q_schedule (id integer PRIMARY KEY, name varchar, func varchar, hook varchar, "
                   "args text, kwargs text, schedule_type varchar, minutes integer, repeats integer, "
                   "next_run datetime, cron varchar, task varchar, cluster varchar, intended_date_kwarg varchar)")
    cursor.execute("CREATE TABLE django_q_task (id varchar PRIMARY KEY, name varchar, func varchar, hook varchar, "
                   "args text, kwargs text, result text, started datetime, stopped datetime, success bool, "
                   'cluster varchar, "group" varchar, attempt_count integer)')
    cursor.execute("CREATE TABLE django_q_ormq (id integer PRIMARY KEY, key varchar, payload text, lock datetime)")
    cursor.execute("INSERT INTO django_q_schedule VALUES (1, 'nightly', 'myapp.tasks.note', NULL, '''x''', NULL, 'C', "
                   "NULL, -1, '2040-01-01 03:00:00', '0 3 * * *', 'old', NULL, NULL)")
    row = ["myapp.tasks.minha_funcao", None]
    times = ["2026-01-01 10:00:00", "2026-01-01 10:00:02", ]
    for name, result, success in GIVEN:
        cursor.execute("INSERT INTO django_q_task VALUES (%s)" % ", ".join(["%s"] * 13),
                       ["id-" + name, name, *row, ARGS, KWARGS, result, *times, success, None, "g", 1])
    for number, (key, payload) in enumerate([("DEFAULT", signed("DEFAULT", "waits", group="w")),
            ("other", signed("other", "waits there")), ("DEFAULT", signed("forged", "forged")),
            ("DEFAULT", signed("DEFAULT", "linked", chain=[("a.b", ())]))]):
        cursor.execute("INSERT INTO django_q_ormq VALUES (%s, %s, %s, NULL)", [number, key, payload])
"""
IMPORTED = """
from talo.django.q import fetch
from talo.django.q.models import Failure, Schedule, Success
from talo.django.worker_app import app
from django.db import connection
from talo.testing.local import LocalWorker
[row] = Schedule.objects.all()
told = {"schedule": [row.name, row.func, row.args, row.cron, row.next_run.isoformat()]}
told["tasks"] = {each.name: [each.id, each.args, each.kwargs, str(each.result), each.group, each.time_taken()]
                 for each in Success.objects.all()}
told["failed"] = [each.result for each in Failure.objects.all()]
told["queues"] = {each.name: each.ready for each in app.store.broker.stats()}
LocalWorker(app).run_all()
told["ran"] = [fetch("id-waits").result, fetch("waits").group]
with connection.cursor() as cursor:
    cursor.execute("SELECT COUNT(*) FROM django_q_ormq")
    told["left"] = cursor.fetchone()[0]
print(json.dumps(told))
"""


class Dangerous:
    """Would be called if a pickle from a table were opened like any other."""

    def __reduce__(self) -> Any:
        return open, ("opened", "w")


def _kept(value: Any) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


def test_the_tables_of_django_q_are_taken_over(tmp_path: Path) -> None:
    # Given the tables of a project that used Django Q
    site = q_site(tmp_path, ALT_CLUSTERS={"other": {}}, name="DEFAULT")
    given = [
        ("plain", _kept(OrderedDict(a={1, 2})), True),
        ("failed", _kept("no : Traceback"), False),
        ("dangerous", _kept(Dangerous()), True),
    ]
    site.python(f"GIVEN, ARGS, KWARGS = {given!r}, {_kept((1, 2))!r}, {_kept({'x': 1})!r}\n{TABLES}")
    # When they are imported, twice
    done = site.manage("talo_import", "q")
    assert "imported: 5" in done.stdout
    assert "imported: 0" in site.manage("talo_import", "q").stdout
    # Then everything is Talo's but what was told: a pickle that is more than data, forged and linked tasks
    told = site.python(IMPORTED)
    assert told["schedule"] == ["nightly", "myapp.tasks.note", "'x'", "0 3 * * *", "2040-01-01T03:00:00+00:00"]
    assert told["tasks"] == {
        "plain": ["id-plain", [1, 2], {"x": 1}, repr(OrderedDict(a={1, 2})), "g", 2.0],
    }
    assert told["failed"] == ["no : Traceback"]
    assert (told["queues"], told["left"]) == ({"DEFAULT": 1, "other": 1}, 2)
    assert told["ran"] == [3, "w"]
    refused = done.stderr
    assert "dangerous (id-dangerous): its value cannot be read: it holds a" in refused
    assert "not signed with this project's SECRET_KEY" in refused and "linked (id-linked): it belongs to" in refused
    assert not (tmp_path / "opened").exists()


def test_without_the_tables_the_import_says_so(tmp_path: Path) -> None:
    done = q_site(tmp_path).manage("talo_import", "q", check=False)
    assert done.returncode == 1 and "has no such tables" in done.stderr
    assert "add it to INSTALLED_APPS" in Site(tmp_path).manage("talo_import", "q", check=False).stderr
