"""Django Q's way: its functions, groups, hooks, schedules and settings, over the database or Redis as broker."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tests.django.postgres import Postgres
from tests.django.site import Site
from tests.support import eventually

APPS = ["django.contrib.contenttypes", "django.contrib.auth", "orders", "myapp", "talo.django", "talo.django.q"]
CLUSTER: dict[str, Any] = {"workers": 2, "retry": 1, "max_attempts": 3, "orm": "default", "recycle": 500}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "cache"}}


def q_site(directory: Path, databases: Any = None, **cluster: Any) -> Site:
    """A project that has nothing but Q_CLUSTER."""
    settings = {"INSTALLED_APPS": APPS, "Q_CLUSTER": {**CLUSTER, **cluster}, "CACHES": CACHES}
    site = Site(directory, databases=databases, settings=settings)
    del site.env["TALO_BROKER_URL"]
    site.migrate()
    return site


@pytest.fixture(params=["orm, sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "redis":
        return q_site(tmp_path, redis=request.getfixturevalue("redis_url"), orm=None)
    server: Postgres | None = request.getfixturevalue("postgres") if "postgresql" in request.param else None
    return q_site(tmp_path, {"default": server.database()} if server else None)


FUNCTIONS = """
import datetime
from talo.django.q import *
from talo.django.q.models import Task, Success, Failure
from myapp.tasks import minha_funcao
told = {}
first = async_task('myapp.tasks.minha_funcao', 1, 2)
told["acceptance"] = result(first, wait=60000)
told["by name"] = result(fetch(first).name)
told["unknown"] = result("nobody")
when = datetime.date(2027, 1, 30)
told["any value"] = str(result(async_task("myapp.tasks.days", when, more={1, 2}), wait=60000))
for n in range(3):
    async_task(minha_funcao, n, 10, group="sums", hook="myapp.tasks.hook", task_name=f"sum{n}")
found = fetch_group("sums", count=3, wait=60000)
told["group"] = [sorted(result_group("sums")), count_group("sums"), count_group("sums", failures=True),
                 sorted(found[0].group_result()), [type(each).__name__ for each in found][:1]]
told["iter"] = result(async_iter(minha_funcao, [(1, 1), (2, 2), (3, 3)]), wait=60000)
sums = [("myapp.tasks.minha_funcao", (n, n)) for n in (1, 2)]
chain = async_chain([*sums, ("math.copysign", (3, -1))])
told["chain"] = result_group(chain, count=3, wait=60000)
broken = async_chain([("myapp.tasks.fail", (), {"name": "first"}), ("myapp.tasks.note", ("never",))])
failed = async_task("myapp.tasks.fail", ack_failure=True, name="once", hook="myapp.tasks.hook", task_name="failing")
mended = async_task("myapp.tasks.fail", 2, name="mended")
gone = async_task("myapp.tasks.not_there", ack_failure=True)
row = fetch(failed, wait=60000)
told["failed"] = [row.success, "not this time" in row.result, row.attempt_count, row.kwargs]
told["gone"] = "not_there" in result(gone, wait=60000)
until = datetime.datetime.now() + datetime.timedelta(seconds=60)
while datetime.datetime.now() < until and not Success.objects.filter(pk=mended): pass
told["mended"] = [result(mended), fetch(mended).attempt_count]
while datetime.datetime.now() < until and count_group(broken) and fetch_group(broken)[0].attempt_count < 3: pass
told["broken"] = [each.func for each in fetch_group(broken, count=1, wait=60000)]
slow = async_task("myapp.tasks.endless", timeout=1, ack_failure=True)
told["timeout"] = "SoftTimeLimitExceeded" in result(slow, wait=60000)
task = AsyncTask("myapp.tasks.minha_funcao", 5, 6, group="objects")
task.cached = True
told["before"] = task.result()
task.run()
told["cached"] = [task.result(wait=60000), task.result_group(), fetch(task.id, cached=False), delete_cached(task.id),
                  task.result(), delete_group("objects", cached=True)]
many = Iter("myapp.tasks.minha_funcao", hook="myapp.tasks.hook", task_name="many")
many.append(1, 2); many.append(3, 4); many.run()
steps = Chain(cached=True)
steps.append("myapp.tasks.minha_funcao", 1, 2); steps.append("myapp.tasks.minha_funcao", 3, 4); steps.run()
told["objects"] = [many.result(wait=60000), many.length(), steps.result(wait=60000), steps.current(), steps.length()]
told["deleted"] = [delete_group("sums"), count_group("sums"), delete_group("sums", tasks=True)]
told["sync"] = result(async_task(minha_funcao, 7, 7, sync=True))
told["refused"] = []
for wish in (lambda: async_task(lambda: 1), lambda: async_task(minha_funcao, q_options={"grup": 1}),
             lambda: async_task(minha_funcao, object.__new__, x=(n for n in ()))):
    try: wish()
    except Exception as error: told["refused"].append(str(error))
print(json.dumps(told))
"""


def test_a_project_of_django_q_changes_one_import(place: Site) -> None:
    # When a project's calls go through Talo, and ``manage.py talo worker`` (which is qcluster) runs
    with place.worker() as worker:
        told = place.python(FUNCTIONS)
        assert worker.stop() == 0
    # Then each says what Django Q's documentation says of it
    assert told["acceptance"] == told["by name"] == 3
    assert told["unknown"] is None
    assert told["any value"] == "2027-02-01"
    assert told["group"] == [[10, 11, 12], 3, 0, [10, 11, 12], ["Task"]]
    assert told["iter"] == [2, 4, 6]
    assert told["chain"] == [2, 4, -3.0]
    assert told["failed"] == [False, True, 1, {"name": "once"}]
    assert told["gone"] is True
    # And what failed is tried again, as often as Q_CLUSTER says
    assert told["mended"] == ["at last", 3]
    assert told["broken"] == ["myapp.tasks.fail"]
    assert (place.directory / "first").read_text() == "!!!"
    assert not (place.directory / "notes").exists()
    assert told["timeout"] is True
    assert told["before"] is None
    assert told["cached"] == [11, [11], None, True, None, 0]
    assert told["objects"] == [[3, 7], 2, [3, 7], 2, 2]
    assert told["deleted"] == [3, 0, 0]
    assert told["sync"] == 14
    hooks = sorted((place.directory / "hooks").read_text().splitlines())
    assert [line.split()[:3] for line in hooks] == [
        ["failing", "False", "None"], ["many", "True", "None"],
        ["sum0", "True", "sums"], ["sum1", "True", "sums"], ["sum2", "True", "sums"],
    ]  # fmt: skip
    refused = told["refused"]
    assert "cannot be imported by a worker" in refused[0]
    assert "did you mean 'group'?" in refused[1]
    assert "neither as JSON nor as a pickle" in refused[2]


SCHEDULES = """
import datetime
from django.utils import timezone
from django.core.exceptions import ValidationError
from talo.django.q import schedule
from talo.django.q.models import Schedule
now = timezone.now()
schedule("myapp.tasks.note", "once", hook="myapp.tasks.hook", name="one")
Schedule.objects.create(func="myapp.tasks.note", args="'twice'", schedule_type=Schedule.MINUTES, minutes=1, repeats=2,
                        next_run=now - datetime.timedelta(minutes=5), name="two")
Schedule.objects.create(func="myapp.tasks.note", args="'hourly'", schedule_type=Schedule.HOURLY, name="three",
                        intended_date_kwarg="when")
Schedule.objects.create(func="myapp.tasks.note", args="never", schedule_type=Schedule.DAILY, name="broken")
schedule("myapp.tasks.note", "future", schedule_type="C", cron="0 3 * * *", name="four")
told = []
for wish in (lambda: schedule("a.b", schedule_type="C", cron="nonsense"), lambda: schedule("a.b", name="one"),
             lambda: schedule("a.b", datetime.date(2027, 1, 1))):
    try: wish()
    except (ValidationError, ValueError) as error: told.append(str(error))
print(json.dumps(told))
"""
LEFT = """
from talo.django.q.models import Schedule
print(json.dumps({each.name: [each.repeats, each.next_run.isoformat(), bool(each.success())]
                  for each in Schedule.objects.all()}))
"""


@pytest.mark.parametrize("place", ["orm, postgresql"], indirect=True)
def test_schedules_are_kept_by_the_workers_each_run_by_one_of_them(place: Site) -> None:
    refused = place.python(SCHEDULES)
    assert "no cron expression" in refused[0] and "already" in refused[1] and "literals" not in refused[0]
    assert "use numbers, texts, lists and dictionaries" in refused[2]
    # Given two workers, each of which looks at schedules
    with place.worker(name="a") as one, place.worker(name="b") as two:

        def all_there() -> None:
            assert sorted(line.split()[0] for line in _notes(place)) == ["hourly", "once", "twice", "twice"]

        eventually(all_there, timeout=60, interval=0.1)
        assert (one.stop(), two.stop()) == (0, 0)
    all_there()
    left = place.python(LEFT)
    # Then the one-off is gone, the counted one is used up, the others have their next time
    assert left.keys() == {"two", "three", "four", "broken"}
    assert (left["two"][0], left["broken"][0]) == (0, 0)
    assert left["three"][2] is True
    sent = next(line.split()[1] for line in _notes(place) if line.startswith("hourly"))
    gap = dt.datetime.fromisoformat(left["three"][1]) - dt.datetime.fromisoformat(sent)
    assert gap == dt.timedelta(hours=1)
    assert " True one 'once'" in (place.directory / "hooks").read_text()


def _notes(place: Site) -> list[str]:
    path = place.directory / "notes"
    return path.read_text().splitlines() if path.exists() else []


def test_the_commands_and_settings_have_django_qs_names(tmp_path: Path) -> None:
    site = q_site(tmp_path, queue_limit=50)
    told = site.manage("qinfo").stdout
    assert "queued: 0" in told and "schedules: 0" in told
    assert "broker: django://default" in site.manage("qinfo", "--config").stdout
    assert "workers 0" in site.manage("qmonitor", "--run-once").stdout
    assert "--name" in site.manage("qcluster", "--help").stdout
    assert "queue_limit has no effect" in site.manage("check").stderr
    for wrong, said in (({"sqs": {"x": 1}}, "no sqs as broker"), ({"worker": 2}, "did you mean 'workers'?")):
        other = Site(tmp_path, settings={"INSTALLED_APPS": APPS, "Q_CLUSTER": {**CLUSTER, **wrong}})
        refused = other.manage("check", check=False)
        assert refused.returncode != 0 and said in refused.stderr


def test_successes_are_kept_up_to_a_limit_and_a_stranger_s_pickle_is_not_opened(tmp_path: Path) -> None:
    site = q_site(tmp_path, save_limit=2, sync=True)
    told = site.python(
        """
from talo.django.q import async_task
from talo.django.q.models import Success
from talo.django.q.packing import pack, unpack
ids = [async_task("myapp.tasks.minha_funcao", n, 0) for n in range(5)]
async_task("myapp.tasks.minha_funcao", 9, 0, save=False)
from talo.django.q import async_chain, count_group
broken = async_chain([("myapp.tasks.fail", ()), ("myapp.tasks.note", ("never",))], sync=True)
steps = count_group(broken)
kept = [each.result for each in Success.objects.all()]
from django.conf import settings
foreign = pack({1, 2})
settings.SECRET_KEY = "another"
try: unpack(foreign)
except Exception as error: print(json.dumps([kept, type(error).__name__, steps]))
"""
    )
    assert told == [[4, 3], "DecodeError", 1]
    assert not (tmp_path / "notes").exists()
