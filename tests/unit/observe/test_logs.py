"""Log lines as JSON, and logging that is the application's own."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talo import Talo
from talo.worker.jsonlog import JsonFormatter
from tests.support import eventually
from tests.workers import Worker, client


def line(**fields: Any) -> dict[str, Any]:
    """What becomes of one record."""
    args = fields.pop("args", ())
    exc_info = fields.pop("exc_info", None)
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, fields.pop("msg", "hello"), args, exc_info)
    vars(record).update(fields)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_its_facts_and_its_fields() -> None:
    found = line(msg="paid %s", args=("ann",), task_id="t1", runtime=0.5)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found.pop("time"))
    assert found.pop("pid") > 0
    assert found == {
        "level": "INFO", "logger": "shop", "process": "MainProcess", "message": "paid ann", "task_id": "t1",
        "runtime": 0.5,
    }  # fmt: skip


def test_a_field_does_not_take_the_place_of_a_fact() -> None:
    assert line(time="yesterday", level="none")["level"] == "INFO"


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise KeyError("two\nlines")
    except KeyError as exc:
        found = line(exc_info=(type(exc), exc, exc.__traceback__))
    assert found["exception"].startswith("Traceback") and "KeyError" in found["exception"]


@pytest.mark.parametrize("value", [float("nan"), {1: {2, 3}}, {(1, 2): 3}, b"\xff", object(), "\ud800", "a\u2028b"])
def test_whatever_is_logged_stays_one_line_of_json(value: object) -> None:
    assert "odd" in line(odd=value)


def test_what_refers_to_itself_is_written_as_text() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert line(odd=circle)["odd"] == "[[...]]"


def test_lines_of_the_user_s_own_loggers_know_their_task(talo_app: Talo, run_all: Callable[[], int]) -> None:
    # Given
    told: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(self.format(record))

    handler = Keep()
    handler.setFormatter(JsonFormatter())
    mine = logging.getLogger("shop.inside")
    mine.addHandler(handler)

    @talo_app.task(name="shop.pay")
    def pay() -> None:
        mine.warning("charging")

    # When
    result = pay.delay()
    run_all()
    mine.warning("outside")
    mine.removeHandler(handler)
    # Then
    inside, outside = map(json.loads, told)
    assert (inside["task_id"], inside["task_name"], inside["message"]) == (result.id, "shop.pay", "charging")
    assert "task_id" not in outside


#: What happens to tasks, by the task that makes it happen.
FATES: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("add", (1, 2), {}),
    ("fails", (), {}),
    ("flaky", (1,), {}),
    ("rejects", (), {}),
    ("ignores", (), {}),
    ("add", (1, 2), {"expires": -1}),
    ("nap", (30.0,), {"time_limit": 0.3}),
    ("anap", (30.0,), {"soft_time_limit": 0.2, "time_limit": 20}),
    ("poison", (), {}),
    ("unheard_of", (), {}),
)


@pytest.mark.promise("C08")
def test_with_json_chosen_every_line_about_a_task_is_json_with_its_id(tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    options = ("-c", "1", "--log-format", "json", "task_unknown_patience=0", "--grace", "5")
    with client(broker) as app, Worker(broker, tmp_path, *options) as worker:
        # When tasks meet every fate
        sent = [
            app.send_task(f"tests.apps.traced.{name}", args, task_id=f"task-{number}-{name}", **more)
            for number, (name, args, more) in enumerate(FATES)
        ]
        revoked = app.send_task("tests.apps.traced.add", (1, 1), task_id="task-revoked", countdown=1)
        revoked.revoke()
        ids = {result.id for result in (*sent, revoked)}
        eventually(lambda: _all_in(ids, worker.output()), timeout=60)
        eventually(lambda: _all_in({"lost its process 3 times", "Discarding revoked"}, worker.output()), timeout=60)
        assert worker.stop() == 0
    # Then every line behind the banner that has to do with a task is JSON
    lines = worker.output().splitlines()
    about = [line for line in lines if any(task_id in line for task_id in ids)]
    assert all(line.startswith("{") for line in about), about
    # And carries the id
    found = [json.loads(line) for line in about]
    assert all(each["task_id"] in ids and each["task_id"] in json.dumps(each["message"]) for each in found)
    actions = {each["action"] for each in found}
    assert actions >= {
        "received", "succeeded", "failed", "retry", "rejected", "ignored", "expired", "revoked", "hard_limit",
        "worker_lost", "unknown",
    }  # fmt: skip


def _all_in(words: set[str], text: str) -> None:
    assert [word for word in words if word not in text] == []


CONFIGURED = """
import io, logging, logging.config
from talo import Talo

logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"mine": {"format": "MINE %(name)s %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "root": {"handlers": ["err"], "level": "INFO"},
    "loggers": {"shop": {"handlers": ["err"], "level": "DEBUG", "propagate": False}},
})


def handlers():
    names = ["", "talo", "talo.task", "talo.worker", "shop", "celery", "py.warnings"]
    return {name: [id(h) for h in logging.getLogger(name).handlers] for name in names}


app = Talo("owner")
BEFORE = handlers()


@app.task
def same():
    return [handlers() == BEFORE, len(BEFORE[""]), logging.getLogger().level]
"""


@pytest.mark.promise("C08")
@pytest.mark.parametrize(
    ("method", "form"), [("fork", ()), ("spawn", ("--log-format", "json"))], ids=["fork, plain", "spawn, json"]
)
def test_an_application_s_own_logging_is_the_same_before_and_after_start(
    tmp_path: Path, method: str, form: tuple[str, ...]
) -> None:
    # Given an application that has set up its logging
    (tmp_path / "owner.py").write_text(CONFIGURED)
    env = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3] / 'src'}"}
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    options = ("-c", "1", "--start-method", method, *form)
    with client(broker) as app, Worker(broker, tmp_path, *options, app="owner", env=env) as worker:
        # Then a task finds it as it was
        assert app.send_task("owner.same").get(timeout=30) == [True, 1, logging.INFO]
        # And the worker's lines go through it, once
        assert worker.output().count("MINE talo.worker w@test ready.") == 1
        # Whoever asked for JSON is told where it is to be had
        assert ("talo.worker.jsonlog.JsonFormatter" in worker.output()) is bool(form)
