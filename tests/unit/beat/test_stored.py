"""The default scheduler over a real store: configuration, ticks, outages, edits, and many at once."""

from __future__ import annotations

import itertools
import logging
import time
from typing import Any

import msgspec
import pytest

from talo import signals
from talo.app.app import Talo
from talo.beat import BeatLazyFunc, StoreScheduler
from talo.control.schedules import ScheduleControl
from talo.schedules import crontab
from talo.stores.base import ResultMeta
from talo.wire.results import encode_result
from tests.support import eventually
from tests.unit.beat.conftest import MakeApp, alter, plans, running, runs, sent

ADD = {"task": "proj.add", "schedule": 3600.0, "args": (1, 2)}
FAST = {**ADD, "schedule": 0.2}


def test_configured_entries_are_kept_and_sent(make_app: MakeApp) -> None:
    app = make_app({"a": {**FAST, "kwargs": {}, "options": {"queue": "q", "priority": 5}}})
    with running(app):
        eventually(lambda: check(plans(app)["a"].total >= 2))
    plan = plans(app)["a"]
    assert (plan.source, plan.enabled) == ("config", True)
    messages = sent(app, "q")
    assert len(messages) == plan.total
    first = messages[0]
    assert (first.task, first.priority) == ("proj.add", 5)
    assert msgspec.json.decode(first.body)[:2] == [[1, 2], {}]
    assert first.headers["celery_beat_task"] is True
    assert first.headers["periodic_task_name"] == "a"
    # And the ledger names each of them
    ledger = runs(app, "a")
    assert [run.task_id for run in ledger] == [message.id for message in messages]
    assert {round(b.due - a.due, 6) for a, b in itertools.pairwise(ledger)} == {0.2}


def forget_everything(app: Talo) -> None:
    """What a Redis without persistence does when it is started again."""
    database: Any = app.store.schedules._database  # type: ignore[union-attr]

    def work(session: Any) -> None:
        session.connection.execute("DELETE FROM talo_plan")
        session.connection.execute("DELETE FROM talo_run")

    database.write(work)


def check(fact: bool) -> None:
    assert fact


@pytest.mark.promise("S01")
def test_many_schedulers_send_each_tick_once(make_app: MakeApp) -> None:
    # Given five beats over twenty entries
    entries = {f"e{n}": {**ADD, "schedule": 0.3 + n / 50} for n in range(20)}
    apps = [make_app(entries) for _ in range(5)]
    with running(*apps):
        eventually(lambda: check(all(plan.total >= 5 for plan in plans(apps[0]).values())), timeout=30)
    # Then every due time is there once, with none left out, and one message for each
    total = 0
    for name, plan in plans(apps[0]).items():
        ledger = runs(apps[0], name)
        dues = [run.due for run in ledger]
        assert [run.fate for run in ledger] == ["ran"] * plan.total
        assert dues == sorted(set(dues))
        period = entries[name]["schedule"]
        assert all(abs(b - a - period) < 1e-3 for a, b in itertools.pairwise(dues))
        total += plan.total
    assert len({message.id for message in sent(apps[0])}) == total


@pytest.mark.promise("S03")
def test_restarts_shift_no_interval(make_app: MakeApp) -> None:
    entries = {"a": ADD, "weekly": {**ADD, "schedule": crontab(0, 0, "mon")}}
    app = make_app(entries)
    with running(app):
        eventually(lambda: check(len(plans(app)) == 2))
    before = plans(app)
    for _ in range(5):
        with running(make_app(entries)) as [service]:
            eventually(lambda service=service: check(len(service.scheduler.schedule) == 2))
    after = plans(app)
    assert {name: (plan.since, plan.version) for name, plan in after.items()} == {
        name: (plan.since, plan.version) for name, plan in before.items()
    }


@pytest.mark.promise("S04")
@pytest.mark.parametrize(("misfire", "fates"), [("skip", ["missed"]), ("once", ["missed", "late"]),
                                                ("all", ["missed", "caught-up", "caught-up"])])  # fmt: skip
def test_after_an_outage_the_policy_decides(make_app: MakeApp, misfire: str, fates: list[str]) -> None:
    # Given an hourly entry whose last run is six and a half hours ago
    app = make_app({"a": {**ADD, "misfire": misfire, "window": 2 * 3600}})
    with running(app):
        eventually(lambda: check("a" in plans(app)))
    alter(app, "a", last_due=time.time() - 6.5 * 3600)
    # When a beat starts
    with running(app):
        eventually(lambda: check(bool(runs(app, "a"))))
    # Then
    assert [run.fate for run in runs(app, "a")] == fates
    assert len(sent(app)) == len([fate for fate in fates if fate != "missed"])
    assert time.time() - 3600 < (plans(app)["a"].last_due or 0) <= time.time()


def test_entries_that_leave_the_configuration_go_and_dynamic_ones_stay(make_app: MakeApp) -> None:
    app = make_app({"a": ADD, "b": ADD})
    with running(app):
        eventually(lambda: check(len(plans(app)) == 2))
    ScheduleControl(app).add("c", "proj.add", "every 1h")
    with running(make_app({"b": ADD})):
        eventually(lambda: check(set(plans(app)) == {"b", "c"}))


def test_a_changed_configuration_counts_from_now_and_an_edit_lasts_until_then(make_app: MakeApp) -> None:
    app = make_app({"a": ADD})
    with running(app):
        eventually(lambda: check("a" in plans(app)))
    # Given an edit of what is configured
    ScheduleControl(app).edit("a", schedule="every 2h")
    edited = plans(app)["a"]
    # When a beat starts with the same configuration, the edit stays
    with running(make_app({"a": ADD})) as [service]:
        eventually(lambda: check("a" in service.scheduler.schedule))
    assert plans(app)["a"].definition == edited.definition
    # When the configuration says something else, that counts
    with running(make_app({"a": {**ADD, "schedule": 900.0}})):
        eventually(lambda: check(b"900" in plans(app)["a"].definition))
    assert plans(app)["a"].since > edited.since


@pytest.mark.promise("S06")
def test_edits_act_on_every_scheduler_without_a_restart(make_app: MakeApp) -> None:
    apps = [make_app({}), make_app({})]
    control = ScheduleControl(apps[0])
    with running(*apps):
        # Added
        control.add("a", "proj.add", "every 0.2s")
        eventually(lambda: check(plans(apps[0])["a"].total >= 2), timeout=5)
        # Paused
        control.pause("a")
        count = plans(apps[0])["a"].total
        control.add("witness", "proj.add", "every 0.2s")
        eventually(lambda: check(plans(apps[0])["witness"].total >= 2), timeout=5)
        assert plans(apps[0])["a"].total == count
        # Resumed
        control.resume("a")
        eventually(lambda: check(plans(apps[0])["a"].total > count), timeout=5)
        # Edited
        control.edit("a", args=[9], queue="q")
        eventually(lambda: check(bool(sent(apps[0], "q"))), timeout=5)
        # Removed
        control.remove("a")
        eventually(lambda: check(plans(apps[0])["witness"].total >= 10), timeout=10)
    assert set(plans(apps[0])) == {"witness"}
    assert {run.fate for run in runs(apps[0], "witness")} == {"ran"}


@pytest.mark.promise("S05")
def test_a_run_is_skipped_while_one_goes_on(make_app: MakeApp) -> None:
    app = make_app({"a": {**FAST, "overlap": "skip"}})
    with running(app):
        # Given a run that nobody has finished: the next ones are skipped, each on record
        eventually(lambda: check([run.fate for run in runs(app, "a")][:4] == ["ran", "skipped", "skipped", "skipped"]))
        [message] = sent(app)
        assert message.headers["ignore_result"] is False
        # When it ends
        payload = encode_result(message.id, "SUCCESS", 3)
        app.backend.store([ResultMeta(task_id=message.id, status="SUCCESS", payload=payload)])
        # Then it runs again
        eventually(lambda: check([run.fate for run in runs(app, "a")].count("ran") == 2))


@pytest.mark.promise("S03")
def test_a_one_off_runs_once_and_is_off(make_app: MakeApp) -> None:
    app = make_app({})
    control = ScheduleControl(app)
    with running(app):
        when = f"at {time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime(time.time() + 2))}"
        control.add("once", "proj.add", when)
        eventually(lambda: check(not plans(app)["once"].enabled))
    with running(make_app({})):
        assert len(runs(app, "once")) == len(sent(app)) == 1


def test_bad_entries_are_lines_and_the_others_go_on(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    entries: dict[str, Any] = {
        "good": FAST,
        "impossible": {**ADD, "schedule": "30 2 31 2 *"},
        "nowhere": {**ADD, "timezone": "Mars/Olympus"},
        "stranger": {**ADD, "task": "nobody.knows"},
        "typo": {**ADD, "shedule": 5},
        "unsendable": {**FAST, "args": (BeatLazyFunc(lambda: 1 // 0),)},
        "no form": {**FAST, "args": (BeatLazyFunc(object),)},
    }
    app = make_app(entries)
    with caplog.at_level(logging.WARNING, "talo.beat"), running(app):
        eventually(lambda: check(plans(app)["good"].total >= 2))
        eventually(lambda: check([run.fate for run in runs(app, "unsendable")][:2] == ["failed", "failed"]))
        eventually(lambda: check([run.fate for run in runs(app, "no form")][:2] == ["failed", "failed"]))
    assert set(plans(app)) == {"good", "stranger", "unsendable", "no form"}
    for text in ("never occurs", "Mars/Olympus", "nobody.knows", "did you mean schedule", "ZeroDivisionError"):
        assert text in caplog.text


def test_lazy_arguments_are_computed_for_each_run(make_app: MakeApp) -> None:
    count = itertools.count()
    app = make_app({"a": {**FAST, "args": (BeatLazyFunc(lambda: next(count)),)}})
    with running(app):
        eventually(lambda: check(plans(app)["a"].total >= 3))
    assert [msgspec.json.decode(message.body)[0] for message in sent(app)][:3] == [[0], [1], [2]]


def test_a_clock_that_was_put_back_a_day_stops_nothing(make_app: MakeApp, caplog: pytest.LogCaptureFixture) -> None:
    # Given entries that ran when the clock was a day ahead
    app = make_app({"fast": FAST, "slow": ADD})
    with running(app):
        eventually(lambda: check(len(plans(app)) == 2))
    for name in ("fast", "slow"):
        alter(app, name, last_due=time.time() + 86400)
    # When the clock is right again
    with caplog.at_level(logging.WARNING, "talo.beat"), running(app):
        eventually(lambda: check((plans(app)["fast"].last_due or 0) < time.time()))
        eventually(lambda: check(len(runs(app, "fast")) >= 3))
    # Then it counts from now, nothing fires in a storm, and a line says so
    assert runs(app, "slow") == []
    assert len(runs(app, "fast")) < 50
    assert "The clock was put back" in caplog.text


def test_a_store_that_has_forgotten_everything_is_told_again(make_app: MakeApp) -> None:
    app = make_app({"a": FAST})
    with running(app):
        eventually(lambda: check(plans(app)["a"].total >= 2))
        # When the plans are gone behind the beat's back, their versions too
        forget_everything(app)
        # Then those of the configuration come back
        eventually(lambda: check(plans(app)["a"].total >= 2), timeout=15)


def test_receivers_see_what_is_sent(make_app: MakeApp) -> None:
    seen: list[tuple[str, Any]] = []

    def before(sender: Any = None, headers: Any = None, **_: Any) -> None:
        headers["tenant"] = "t1"
        seen.append(("before", sender))

    def after(sender: Any = None, **_: Any) -> None:
        seen.append(("after", sender))

    signals.before_task_publish.connect(before, weak=False)
    signals.after_task_publish.connect(after, weak=False)
    app = make_app({"a": FAST})
    try:
        with running(app):
            eventually(lambda: check(len(seen) >= 2))
    finally:
        signals.before_task_publish.disconnect(before)
        signals.after_task_publish.disconnect(after)
    assert seen[:2] == [("before", "proj.add"), ("after", "proj.add")]
    assert sent(app)[0].headers["tenant"] == "t1"


def test_it_is_a_scheduler_with_the_protocol(make_app: MakeApp) -> None:
    app = make_app({"a": ADD})
    seen: list[Any] = []

    def started(sender: Any = None, **_: Any) -> None:
        seen.append(type(sender.scheduler))

    signals.beat_init.connect(started, weak=False)
    try:
        with running(app) as [service]:
            eventually(lambda: check("a" in service.scheduler.schedule))
    finally:
        signals.beat_init.disconnect(started)
    assert seen == [StoreScheduler]
    service.stop(wait=True)
    service.stop()


def test_an_app_of_its_own_name_has_its_own_plans(make_app: MakeApp) -> None:
    app = make_app({"a": ADD})
    with running(app):
        eventually(lambda: check("a" in plans(app)))
    stranger = Talo("stranger", broker=app.conf.broker_url, set_as_current=False)
    with stranger, running(stranger):
        assert ScheduleControl(stranger).list() == []
    assert set(plans(app)) == {"a"}
