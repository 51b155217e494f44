"""Plug-ins of Celery's, unmodified, each in its main job on Talo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.ecosystem.venv import CeleryCommand, Environment, worker
from tests.support import eventually

Project = Callable[[str], Path]

ONCE = """
from celery import Celery
from celery_once import QueueOnce

app = Celery("project", broker=URL, backend=URL)
app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"url": URL, "default_timeout": 600}}

@app.task(base=QueueOnce, once={"graceful": True})
def slow(n):
    return n
"""


def test_celery_once_queues_a_call_once_until_it_has_run(where: Environment, project: Project) -> None:
    # Given a task that may be queued once,
    folder = project(ONCE)
    # When it is sent twice while nobody works,
    code = (
        "from project import slow; a, b = slow.delay(1), slow.delay(1); print(a.id, b.id, slow.delay(2).id is not None)"
    )
    first, second, other = where.script(code, cwd=folder).split()
    # Then the second call was dropped, and one with other arguments was not;
    assert second == "None" and other == "True"
    # and when it has run, it may be sent again.
    with worker(where, folder):
        again = (
            "import time; from project import slow, app\n"
            f"print(app.AsyncResult({first!r}).get(timeout=30))\n"
            "for _ in range(100):\n"
            "    r = slow.delay(1)\n"
            "    if r.id: break\n"
            "    time.sleep(0.1)\n"
            "print(r.get(timeout=30))\n"
        )
        assert where.script(again, cwd=folder).split() == ["1", "1"]


SINGLETON = """
from celery import Celery
from celery_singleton import Singleton

app = Celery("project", broker=URL, backend=URL)

@app.task(base=Singleton)
def only(n):
    return n
"""


def test_celery_singleton_answers_with_the_call_that_waits(where: Environment, project: Project) -> None:
    folder = project(SINGLETON)
    # When a task is sent twice while nobody works, both handles are of one call,
    code = "from project import only; a, b, c = only.delay(1), only.delay(1), only.delay(2); print(a.id, b.id, c.id)"
    a, b, c = where.script(code, cwd=folder).split()
    assert a == b != c
    # and after it has run, a new one is made.
    with worker(where, folder):
        again = f"from project import only; print(only.AsyncResult({a!r}).get(timeout=30)); print(only.delay(1).id != {a!r})"  # noqa: E501
        assert where.script(again, cwd=folder).split() == ["1", "True"]


BATCHES = """
from celery import Celery
from celery_batches import Batches

app = Celery("project", broker=URL, backend=URL)

@app.task(base=Batches, flush_every=10, flush_interval=1)
def total(requests):
    with open("batches", "a") as out:
        out.write(f"{len(requests)} {sum(r.args[0] for r in requests)}\\n")
    for request in requests:
        app.backend.mark_as_done(request.id, request.args[0] * 2, request=request)

@app.task
def plain(n):
    return n
"""


def test_celery_batches_gets_many_messages_in_one_call(where: Environment, project: Project) -> None:
    folder = project(BATCHES)
    # Given 25 calls of a task that takes ten at a time,
    code = "from project import total; print(*[total.delay(n).id for n in range(25)])"
    ids = where.script(code, cwd=folder).split()
    # When a worker runs,
    with worker(where, folder) as running:

        def all_there() -> list[tuple[int, int]]:
            lines = (folder / "batches").read_text().splitlines() if (folder / "batches").exists() else []
            found = [(int(line.split()[0]), int(line.split()[1])) for line in lines]
            assert sum(count for count, _ in found) >= 25, running.output()
            return found

        batches = eventually(all_there, timeout=30)
        # Then it is called for ten, ten and the rest, each call has its result, and other tasks run beside it.
        assert [count for count, _ in batches] == [10, 10, 5]
        assert sum(total for _, total in batches) == sum(range(25))
        read = f"from project import app, plain; print([app.AsyncResult(i).get(timeout=30) for i in {ids}], plain.delay(7).get(timeout=30))"  # noqa: E501
        assert where.script(read, cwd=folder).strip() == f"{[2 * n for n in range(25)]} 7"
        # And nothing is held any more.
        assert running.stop() == 0
    left = "from project import app; print([(s.ready, s.leased) for s in app.store.broker.stats(['celery'])])"
    assert where.script(left, cwd=folder).strip() in ("[(0, 0)]", "[]")


PROGRESS = """
from celery import Celery
from celery_progress.backend import ProgressRecorder

app = Celery("project", broker=URL, backend=URL)

@app.task(bind=True)
def work(self, gate):
    import os, time
    ProgressRecorder(self).set_progress(3, 12, "on my way")
    while not os.path.exists(gate):
        time.sleep(0.05)
    return "done"
"""


def test_celery_progress_shows_how_far_a_task_is(where: Environment, project: Project) -> None:
    folder = project(PROGRESS)
    with worker(where, folder):
        task_id = where.script("from project import work; print(work.delay('gate').id)", cwd=folder).strip()
        ask = (
            "import json; from project import app; from celery_progress.backend import Progress\n"
            f"print(json.dumps(Progress(app.AsyncResult({task_id!r})).get_info(), default=str))"
        )

        def half_way() -> None:
            info = json.loads(where.script(ask, cwd=folder))
            assert info["state"] == "PROGRESS" and info["progress"]["percent"] == 25

        eventually(half_way, timeout=30, interval=0.3)
        (folder / "gate").touch()

        def done() -> None:
            info = json.loads(where.script(ask, cwd=folder))
            assert (info["state"], info["complete"], info["result"]) == ("SUCCESS", True, "done")

        eventually(done, timeout=30, interval=0.3)


REDBEAT = """
from celery import Celery
from celery.schedules import schedule

app = Celery("project", broker=URL, backend=URL)
app.conf.redbeat_redis_url = URL
app.conf.beat_max_loop_interval = 1
app.conf.beat_schedule = {"often": {"task": "project.tick", "schedule": 0.5}}

@app.task
def tick(who="static"):
    with open("ticks", "a") as out:
        out.write(who + "\\n")
"""


def test_celery_redbeat_sends_static_and_dynamic_entries(where: Environment, project: Project) -> None:
    folder = project(REDBEAT)
    # Given an entry in the settings and one that is added at run time,
    add = (
        "from project import app; from redbeat import RedBeatSchedulerEntry; from celery.schedules import schedule\n"
        "RedBeatSchedulerEntry('mine', 'project.tick', schedule(0.5), args=['dynamic'], app=app).save()"
    )
    where.script(add, cwd=folder)
    # When redbeat's scheduler runs in `celery beat`,
    beat = CeleryCommand(
        where, folder, "-A", "project", "beat", "-S", "redbeat.RedBeatScheduler", "-l", "INFO", name="beat"
    )
    with worker(where, folder), beat.start(ready=False):

        def both() -> None:
            ticks = (folder / "ticks").read_text().split() if (folder / "ticks").exists() else []
            assert ticks.count("static") >= 2 and ticks.count("dynamic") >= 2, beat.output()

        # Then both are sent again and again.
        eventually(both, timeout=40)


SENTRY = """
import json, os
import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

class ToFile(Transport):
    def capture_envelope(self, envelope):
        with open("events", "a") as out:
            for item in envelope.items:
                if item.type in ("event", "transaction"):
                    out.write(json.dumps(item.payload.json) + "\\n")

sentry_sdk.init(
    dsn="http://key@localhost/1", transport=ToFile, traces_sample_rate=1.0, integrations=[CeleryIntegration()],
)

from celery import Celery
app = Celery("project", broker=URL, backend=URL)

@app.task
def fails():
    raise ValueError("for sentry")

@app.task
def fine():
    return 1
"""


def test_sentry_reports_errors_of_tasks_in_the_trace_of_their_sender(where: Environment, project: Project) -> None:
    folder = project(SENTRY)
    with worker(where, folder) as running:
        code = (
            "import sentry_sdk; from project import fails, fine\n"
            "with sentry_sdk.start_transaction(name='sender') as t:\n"
            "    fine.delay().get(timeout=30)\n"
            "    fails.delay().get(timeout=30, propagate=False)\n"
            "print(t.trace_id)"
        )
        trace = where.script(code, cwd=folder).strip()

        def reported() -> None:
            events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
            errors = [e for e in events if e.get("exception")]
            assert [e["exception"]["values"][-1]["value"] for e in errors] == ["for sentry"], running.output()
            assert errors[0]["transaction"] == "project.fails"
            assert errors[0]["contexts"]["trace"]["trace_id"] == trace
            assert "celery-job" in errors[0]["extra"]
            transactions = {e["transaction"]: e for e in events if e.get("type") == "transaction"}
            assert {"sender", "project.fine", "project.fails"} <= transactions.keys()
            assert transactions["project.fine"]["contexts"]["trace"]["trace_id"] == trace

        eventually(reported, timeout=30)


OTEL = """
import json
from celery import Celery
from celery.signals import worker_process_init
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

class ToFile(SpanExporter):
    def export(self, spans):
        with open("spans", "a") as out:
            for span in spans:
                out.write(json.dumps({
                    "name": span.name, "trace": span.context.trace_id, "parent": span.parent and span.parent.span_id,
                    "id": span.context.span_id, "status": span.status.status_code.name,
                    "attributes": dict(span.attributes), "events": [e.name for e in span.events],
                }) + "\\n")
        return SpanExportResult.SUCCESS

def instrument(**_):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ToFile()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()

worker_process_init.connect(instrument, weak=False)
app = Celery("project", broker=URL, backend=URL)

@app.task
def fails():
    raise ValueError("for otel")

@app.task
def fine():
    return 1
"""


def test_opentelemetry_joins_the_spans_of_sender_and_worker(where: Environment, project: Project) -> None:
    folder = project(OTEL)
    with worker(where, folder) as running:
        code = (
            "from project import instrument, fine, fails; instrument()\n"
            "fine.delay().get(timeout=30); fails.delay().get(timeout=30, propagate=False)"
        )
        where.script(code, cwd=folder)

        def joined() -> None:
            spans = [json.loads(line) for line in (folder / "spans").read_text().splitlines()]
            named = {span["name"]: span for span in spans}
            assert {"apply_async/project.fine", "run/project.fine", "run/project.fails"} <= named.keys(), (
                running.output()
            )
            sent, ran = named["apply_async/project.fine"], named["run/project.fine"]
            assert (ran["trace"], ran["parent"]) == (sent["trace"], sent["id"])
            assert ran["attributes"]["celery.state"] == "SUCCESS"
            assert named["run/project.fails"]["status"] == "ERROR"
            assert "exception" in named["run/project.fails"]["events"]

        eventually(joined, timeout=30)
