"""The classic protocol: what third-party schedulers subclass, and the lone beat with its file."""

from __future__ import annotations

import datetime as dt
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from talo.app.app import Talo
from talo.beat import PersistentScheduler, ScheduleEntry, Scheduler, SchedulingError, Service, StoreScheduler
from talo.beat.service import scheduler_class
from talo.errors import ImproperlyConfigured, OperationalError
from talo.schedules import crontab, schedule
from tests.support import eventually
from tests.unit.beat.conftest import MakeApp, running, sent
from tests.unit.beat.test_stored import check

ENTRY = {"task": "proj.add", "schedule": 3600.0, "args": (1, 2)}
FAST = {**ENTRY, "schedule": 0.1}
UTC = dt.UTC


@pytest.fixture
def app(make_app: MakeApp) -> Talo:
    return make_app({"a": FAST, "b": ENTRY})


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "beat-schedule")


# -- entries


def test_an_entry_has_celerys_face(app: Talo) -> None:
    entry = ScheduleEntry(name="n", task="t", schedule=crontab(), args=(1,), kwargs={"k": 2}, app=app)
    assert repr(entry) == "<ScheduleEntry: n t(1, k=2) <crontab: * * * * * (m/h/dM/MY/d)>"
    assert entry.total_run_count == 0
    assert abs((dt.datetime.now(UTC) - entry.last_run_at).total_seconds()) < 5
    following = next(entry)
    assert (following.total_run_count, following.name, following.args) == (1, "n", (1,))
    assert following == entry
    assert dict(entry)["kwargs"] == {"k": 2}
    copy = pickle.loads(pickle.dumps(ScheduleEntry(name="n", task="t", schedule=schedule(5))))
    assert (copy.name, copy.schedule) == ("n", schedule(5))
    assert sorted([entry, following])


def test_an_entry_is_due_by_its_schedule(app: Talo) -> None:
    past = dt.datetime.now(UTC) - dt.timedelta(hours=1)
    assert ScheduleEntry(name="n", task="t", schedule=5, last_run_at=past, app=app).is_due().is_due
    assert not ScheduleEntry(name="n", task="t", schedule=5, app=app).is_due().is_due


# -- the scheduler


class Recorder(Scheduler):
    """Like those of other packages: another entry class, other sending, nothing else."""

    class Entry(ScheduleEntry):  # type: ignore[misc]
        pass

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.applied: list[Any] = []
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.applied.append(entry.name)


def test_a_subclass_decides_how_entries_are_sent(app: Talo) -> None:
    with running(app, scheduler_cls=Recorder) as [service]:
        scheduler: Any = service.scheduler
        eventually(lambda: check(scheduler.applied.count("a") >= 3))
    assert set(scheduler.applied) == {"a"}
    assert isinstance(scheduler.schedule["a"], Recorder.Entry)
    assert scheduler.schedule["a"].total_run_count >= 3


class Source(Scheduler):
    """One whose entries come from elsewhere, and change."""

    table: dict[str, Any]

    def setup_schedule(self) -> None:
        self.table = {}

    @property
    def schedule(self) -> Any:  # type: ignore[override]
        return self.table


def test_a_change_of_the_schedule_is_noticed(app: Talo) -> None:
    scheduler = Source(app)
    assert scheduler.tick() == scheduler.max_interval == 300
    past = dt.datetime.now(UTC) - dt.timedelta(hours=1)
    scheduler.table["x"] = ScheduleEntry(name="x", task="proj.add", schedule=60, last_run_at=past, app=app)
    assert scheduler.tick() == 0
    assert 50 < scheduler.tick() <= 60
    [message] = sent(app)
    assert message.headers["celery_beat_task"] is True


def test_trouble_with_one_entry_stops_no_other(app: Talo, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ScheduleEntry):
        def is_due(self) -> Any:
            raise RuntimeError("no idea")

    scheduler = Scheduler(app)
    scheduler.schedule["broken"] = Broken(name="broken", task="proj.add", schedule=1, app=app)
    scheduler.schedule["unsendable"] = ScheduleEntry(
        name="unsendable", task="proj.add", schedule=0.1, args=(object(),), app=app
    )
    with caplog.at_level(logging.ERROR, "talo.beat"):
        eventually(lambda: check((scheduler.tick(), scheduler.schedule["a"].total_run_count >= 2)[1]))
    assert "no idea" in caplog.text
    assert "'unsendable' was not sent" in caplog.text
    with pytest.raises(SchedulingError, match="unsendable"):
        scheduler.apply_async(scheduler.schedule["unsendable"], advance=False)


def test_an_entry_stays_due_while_the_broker_is_away() -> None:
    # Given a broker that is not there
    past = dt.datetime.now(UTC) - dt.timedelta(hours=1)
    with Talo("away", broker="redis://127.0.0.1:1/0", publish_timeout=0.2, set_as_current=False) as app:
        scheduler = Scheduler(app)
        scheduler.add(name="a", task="t", schedule=5, last_run_at=past)
        # When it is due, then it is tried at each pass, and counts as run at none
        for _ in range(2):
            with pytest.raises(OperationalError):
                scheduler.tick()
        assert (scheduler.schedule["a"].total_run_count, scheduler.schedule["a"].last_run_at) == (0, past)


def test_bad_entries_are_left_out(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    bad = {
        "typo": {**ENTRY, "shedule": 1},
        "text": {**ENTRY, "schedule": "often"},
        "none": {"task": "proj.add"},
        "nowhere": {**ENTRY, "timezone": "Mars/Olympus"},
        "policy": {**ENTRY, "overlap": "skip"},
        "no dict": 5,
    }
    good = {"good": ENTRY, "line": {**ENTRY, "schedule": "0 3 * * *", "timezone": "Europe/Berlin"}}
    with caplog.at_level(logging.ERROR, "talo.beat"):
        assert set(Scheduler(make_app({**good, **bad})).schedule) == set(good)
    assert caplog.text.count("is left out") == len(bad)
    assert "overlap needs a store that keeps schedules" in caplog.text


def test_merging_keeps_last_runs_and_drops_what_is_gone(app: Talo) -> None:
    scheduler = Scheduler(app)
    last = scheduler.schedule["a"].last_run_at
    scheduler.merge_inplace({"a": {**FAST, "args": (5, 6)}, "c": ENTRY})
    assert set(scheduler.schedule) == {"a", "c"}
    assert (scheduler.schedule["a"].args, scheduler.schedule["a"].last_run_at) == ((5, 6), last)
    scheduler.add(name="d", task="proj.add", schedule=5)
    scheduler.update_from_dict({"e": ENTRY})
    assert set(scheduler.schedule) == {"a", "c", "d", "e"}


# -- which scheduler


def test_schedulers_are_found_by_path_and_under_celerys_names(app: Talo) -> None:
    assert scheduler_class(app) is StoreScheduler
    for name in ("celery.beat:PersistentScheduler", "celery.beat.PersistentScheduler", "talo.beat:PersistentScheduler"):
        assert scheduler_class(app, name) is PersistentScheduler
    assert scheduler_class(app, f"{__name__}:Recorder") is Recorder
    for wrong in ("no.such:Scheduler", "talo.beat:Nothing", "talo.beat:DEFAULT_MAX_INTERVAL"):
        with pytest.raises(ImproperlyConfigured, match="scheduler"):
            scheduler_class(app, wrong)


def test_a_failing_scheduler_is_called_again(app: Talo, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Scheduler):
        count = 0

        def tick(self, *args: Any, **kwargs: Any) -> float:
            self.count += 1
            if self.count == 1:
                raise RuntimeError("the database is away")
            return 0.01

    with running(app, scheduler_cls=Failing) as [service]:
        eventually(lambda: check(getattr(service.scheduler, "count", 0) > 2))
    assert "the database is away" in caplog.text


def test_stopping_is_legal_at_any_time(app: Talo) -> None:
    service = Service(app)
    service.stop()
    service.start()
    service.stop(wait=True)


# -- the file


def lone(app: Talo, file: str) -> PersistentScheduler:
    return PersistentScheduler(app, schedule_filename=file)


@pytest.mark.promise("S03")
def test_last_runs_survive_in_the_file(app: Talo, file: str) -> None:
    scheduler = lone(app, file)
    eventually(lambda: check((scheduler.tick(), scheduler.schedule["a"].total_run_count >= 3)[1]))
    entry = scheduler.schedule["a"]
    # Given a crash: nothing is written at the end
    scheduler._drop_lock()
    again = lone(app, file)
    assert again.schedule["a"].total_run_count == entry.total_run_count
    assert again.schedule["a"].last_run_at == entry.last_run_at
    assert again.schedule["b"].last_run_at == scheduler.schedule["b"].last_run_at
    again.close()
    assert [path.name for path in sorted(Path(file).parent.iterdir())] == ["beat-schedule", "beat-schedule.lock"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01garbage", b"{", b"[]", b'{"version": 99, "entries": {}}', b'{"version": 1, "entries": 5}'],
)
def test_a_file_that_cannot_be_read_is_put_aside(
    app: Talo, file: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    Path(file).write_bytes(content)
    with caplog.at_level(logging.ERROR, "talo.beat"):
        scheduler = lone(app, file)
    assert "cannot be read" in caplog.text
    assert Path(f"{file}.unreadable").read_bytes() == content
    assert set(scheduler.schedule) == {"a", "b"}
    scheduler.close()
    assert json.loads(Path(file).read_bytes())["version"] == 1


def test_a_half_written_file_is_never_seen(app: Talo, file: str) -> None:
    # Given a crash in the middle of writing
    scheduler = lone(app, file)
    scheduler.close()
    before = Path(file).read_bytes()
    Path(f"{file}.new").write_bytes(before[:20])
    # Then the next beat knows what the last whole file said
    again = lone(app, file)
    assert again.schedule["b"].last_run_at == scheduler.schedule["b"].last_run_at
    again.close()


def test_a_changed_schedule_counts_from_now(make_app: MakeApp, file: str) -> None:
    scheduler = lone(make_app({"a": ENTRY}), file)
    scheduler.schedule["a"].last_run_at -= dt.timedelta(days=3)
    scheduler.close()
    same = lone(make_app({"a": ENTRY}), file)
    assert same.schedule["a"].last_run_at < dt.datetime.now(UTC) - dt.timedelta(days=2)
    same.close()
    other = lone(make_app({"a": {**ENTRY, "schedule": 7200.0}}), file)
    assert other.schedule["a"].last_run_at > dt.datetime.now(UTC) - dt.timedelta(minutes=5)
    other.close()


def test_a_last_run_in_the_future_is_not_believed(app: Talo, file: str, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = lone(app, file)
    scheduler.schedule["b"].last_run_at += dt.timedelta(days=1)
    scheduler.close()
    again = lone(app, file)
    assert again.schedule["b"].last_run_at < dt.datetime.now(UTC) + dt.timedelta(minutes=1)
    assert "lies in the future" in caplog.text
    again.close()


def test_only_one_may_use_the_file(app: Talo, file: str) -> None:
    first = lone(app, file)
    program = (
        "import sys; from talo import Talo; from talo.beat import PersistentScheduler\n"
        f"PersistentScheduler(Talo('x', broker='memory://'), schedule_filename={file!r})"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert other.returncode == 1
    assert "another beat uses" in other.stderr
    first.close()
    # ... and after its end another may
    lone(app, file).close()
