"""The JSON API: what it shows is true, what it does is done, and looking changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from talo.app.app import Talo as App
from talo.control.history import FURTHEST as LOOKED
from talo.errors import StoreUnavailable
from talo.web import Dashboard
from talo.web.openapi import describe
from talo.web.operations import TABLE
from talo.web.operations.bulk import STEP
from talo.web.operations.runs import FURTHEST
from talo.web.pages import PAGES
from tests.support import eventually
from tests.web.support import Client, dead, ended, shop
from tests.workers import ROOT, Worker, client


@pytest.fixture
def app(broker: str) -> Any:
    app = shop(broker)
    yield app
    app.close()


def asking(app: App, *asks: tuple[str, dict[str, Any]]) -> list[Any]:
    """The answers to (operation's path, arguments), each of which has to go well."""
    methods = {operation.path: operation.method for operation in TABLE}

    async def ask() -> list[Any]:
        found = []
        async with Client(Dashboard(app)) as client:
            for path, arguments in asks:
                if methods.get(path) == "POST":
                    answer = await client.post(f"/api{path}", json=arguments)
                else:
                    answer = await client.get(f"/api{path}", params=arguments)
                assert answer.status_code == 200, (path, answer.text)
                found.append(answer.json())
        return found

    return asyncio.run(ask())


def one(app: App, path: str, **arguments: Any) -> Any:
    [answer] = asking(app, (path, arguments))
    return answer


@pytest.mark.promise("M01")
def test_history_and_counters_survive_a_restart_of_everything(broker: str, tmp_path: Path) -> None:
    # Given a worker that has run some tasks
    sender = client(broker)
    ids = [sender.send_task("tests.apps.traced.add", (n, 1)).id for n in range(30)]
    failing = sender.send_task("tests.apps.traced.add", ("a", 1)).id

    def looked() -> Any:
        app = shop(broker)
        facts = asking(
            app,
            ("/runs", {"limit": 100}),
            ("/run", {"id": failing}),
            ("/tasks", {"window": "24h"}),
            ("/failures", {}),
            ("/overview", {"window": "24h"}),
        )
        app.close()
        runs, run, tasks, failures, overview = facts
        for task in tasks["tasks"]:
            del task["rate"], task["series"]  # they count to this very moment
        return runs["runs"], runs["counts"], run["attempts"], tasks["tasks"], failures, overview["total"]

    with Worker(broker, tmp_path, "-c", "2") as worker:

        def all_ended() -> None:
            total = looked()[5]
            assert total["by_state"] == {"SUCCESS": 30, "FAILURE": 1}, total

        eventually(all_ended, timeout=40, interval=0.2)
        before = looked()
        assert worker.stop() == 0
    # When workers and dashboard are started anew
    with Worker(broker, tmp_path, "-c", "2", name="other"):
        after = looked()
    # Then everything is as it was, arguments included
    assert after == before
    assert after[2][0]["id"] == failing and "TypeError" in after[2][0]["error"]
    assert set(ids) >= {run["id"] for run in after[0]} - {failing}


@pytest.mark.promise("M04")
def test_a_thousand_dead_letters_are_replayed_by_one_request(app: App) -> None:
    # Given letters of two tasks
    ids = dead(app, 1000)
    others = dead(app, 3, name="shop.other")
    listed = one(app, "/dead", task="shop.add", limit=500)
    assert listed["number"] == 1000 and len(listed["letters"]) == 500 and listed["more"]
    # When all of one task are replayed
    told = one(app, "/dead/replay", all=True, task="shop.add")
    # Then there is a new run of each, linked to the old one, and the others are still there
    assert told["replayed"] == 1000
    assert {run["replay_of"] for run in told["runs"]} == set(ids)
    waiting = app.store.broker.peek("celery", 2000)
    assert {message.headers["replay_of"] for message in waiting} == set(ids)
    assert {message.id for message in waiting} == {run["task_id"] for run in told["runs"]}
    assert {letter["task_id"] for letter in one(app, "/dead")["letters"]} == set(others)
    # And those can be discarded
    assert one(app, "/dead/drop", all=True)["dropped"] == 3
    assert one(app, "/dead")["letters"] == []


@pytest.mark.promise("M05")
def test_a_dead_letter_is_edited_and_replayed(app: App) -> None:
    [task_id] = dead(app, args=(1, 2), chain=None)
    shown = one(app, "/dead/letter", id=task_id)
    assert (shown["edit"]["args"], shown["edit"]["kwargs"]) == ("[1,2]", "{}")
    told = one(app, "/dead/edit", id=task_id, args="[40, 2]", kwargs='{"z": 1}', queue="fresh")
    [message] = app.store.broker.peek("fresh", 10)
    args, kwargs, _ = msgspec.json.decode(message.body)
    assert (args, kwargs, message.id, message.headers["replay_of"]) == ([40, 2], {"z": 1}, told["task_id"], task_id)
    assert message.headers["argsrepr"] == "(40, 2)"


def test_arguments_that_their_sender_hides_are_not_shown_for_editing(app: App) -> None:
    [task_id] = dead(app, args=("4111 1111",), argsrepr="('****',)")
    shown = one(app, "/dead/letter", id=task_id)
    assert shown["edit"]["args"] is None
    assert "4111" not in json.dumps({**shown, "headers": None})


def test_runs_are_searched_and_counted(app: App) -> None:
    ended(app, 5)
    ended(app, 2, id="bad-1", state="FAILURE", error="ValueError: no way", fingerprint="f1", attempt=1, traceback="T")
    app.send_task("shop.add", (1, 2), queue="mail")
    app.send_task("shop.add", (1, 2), queue="mail", countdown=600)
    found = one(app, "/runs", state="FAILURE", error="NO WAY")
    assert [run["id"] for run in found["runs"]] == ["bad-1", "bad-1"]
    counts = one(app, "/runs")["counts"]
    assert {name: counts[name] for name in ("SUCCESS", "FAILURE", "waiting", "delayed", "running")} == {
        "SUCCESS": 5, "FAILURE": 2, "waiting": 1, "delayed": 1, "running": 0,
    }  # fmt: skip
    [waits] = one(app, "/runs", state="waiting")["unfinished"]
    assert (waits["queue"], waits["args"]) == ("mail", "(1, 2)")
    [kind] = one(app, "/failures")["failures"]
    assert (kind["fingerprint"], kind["count"], kind["example"]["error"]) == ("f1", 2, "ValueError: no way")


def test_runs_are_counted_up_to_a_number_and_all_of_them_when_asked(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more runs than are counted
    ended(app, 30)
    ended(app, 4, id="bad", state="FAILURE", error="ValueError: no", fingerprint="f1")
    monkeypatch.setattr("talo.web.operations.runs.MOST", 20)
    # When they are searched, then it is said that there are more than were counted
    told = one(app, "/runs")
    assert told["at_least"] and told["counted"]
    # And what is fewer, or is asked for exactly, is the very number
    few, exact = one(app, "/runs", id="bad"), one(app, "/runs", exact=True)
    assert (few["counts"]["FAILURE"], few["at_least"]) == (4, False)
    assert (exact["counts"]["SUCCESS"], exact["counts"]["FAILURE"], exact["at_least"]) == (30, 4, False)
    # What takes reading every record is counted only then
    for asked in ({"error": "no"}, {"argument": "(1, 2)", "state": "FAILURE"}):
        assert not one(app, "/runs", **asked)["counted"]
        told = one(app, "/runs", exact=True, **asked)
        assert told["counted"] and told["counts"]["FAILURE"] == 4


def test_bulk_actions_tell_their_number_before(app: App) -> None:
    ended(app, 7, queue="old")
    ended(app, 2, id="keep", queue="new")
    ids = [app.send_task("shop.add", queue="mail").id for _ in range(5)]
    assert one(app, "/runs/bulk", action="forget", queue="old")["number"] == 7

    async def apply(**arguments: Any) -> Any:
        async with Client(Dashboard(app)) as client:
            return await client.post("/api/runs/bulk/apply", json=arguments)

    # A number that has grown since is refused
    app.send_task("shop.add")
    refused = asyncio.run(apply(action="forget", queue="old", expected=-50))
    assert refused.status_code == 422 and "look again" in refused.json()["detail"]
    assert asyncio.run(apply(action="forget", queue="old", expected=7)).json()["done"] == 7
    assert one(app, "/runs")["counts"]["SUCCESS"] == 2
    done = asyncio.run(apply(action="revoke", state="waiting", queue="mail", expected=5)).json()
    assert done["done"] == 5
    assert app.store.locks.marked("revoked", ids) == set(ids)


def test_many_dead_letters_are_counted_without_reading_them_and_replayed_step_by_step(app: App) -> None:
    # Given more failures than one step goes through, and letters of not all of them
    ids = dead(app, STEP + 20)
    gone = [*ids[:5], *(f"dropped-{at}" for at in range(30))]
    app.store.broker.dead_replace([letter.id for letter in app.store.broker.dead_get(ids[:5])], [])
    [like] = ended(app, state="FAILURE", dead="failed")
    runs = [msgspec.structs.replace(like, id=id) for id in {*ids, *gone}]
    assert app.store.history is not None
    app.store.history.record(runs)
    left = set(ids) - set(gone)
    # When they are to be replayed, then it is told how many there may be, and how many there are to who waits for it
    shown = one(app, "/runs/bulk", action="replay", name="shop.add")
    assert (shown["number"], shown["bound"]) == (len(left), "at most")
    shown = one(app, "/runs/bulk", action="replay", name="shop.add", exact=True)
    assert (shown["number"], shown["bound"]) == (len(left), "")
    # And each step says where the next begins, until all are replayed
    rest: dict[str, Any] | None = {"expected": len(left)}
    steps = []
    while rest is not None:
        told = one(app, "/runs/bulk/apply", action="replay", name="shop.add", **rest)
        steps.append(told["done"])
        rest = told["rest"]
    assert steps == sorted(steps) and steps[0] < steps[-1] == len(left)
    waiting = app.store.broker.peek("celery", 2 * STEP)
    assert sorted(message.headers["replay_of"] for message in waiting) == sorted(left)
    assert one(app, "/dead")["number"] == 0


def test_what_waits_too_far_back_to_be_cancelled_is_told(app: App) -> None:
    app.send_many([("shop.add", (1, 2), {}, {"queue": "mail"})] * (FURTHEST + 1))
    shown = one(app, "/runs/bulk", action="revoke", state="waiting", queue="mail")
    assert (shown["number"], shown["bound"]) == (FURTHEST, "at least")


def test_a_task_that_waits_too_far_back_to_be_seen_is_not_said_to_be_unknown(app: App) -> None:
    far = app.send_many([("shop.add", (1, 2), {})] * (LOOKED + 3))[-1].id
    [*_, reason] = one(app, "/explain", id=far)["reasons"]
    assert reason["code"] == "unseen" and "3 that wait further back" in reason["text"]
    # as what is known to be nowhere is
    app.store.broker.purge(["celery"])
    assert [each["code"] for each in one(app, "/explain", id=far)["reasons"]] == ["not_found"]


def test_queues_are_paused_counted_and_purged(app: App) -> None:
    for _ in range(3):
        app.send_task("shop.add", queue="mail")
    one(app, "/queues/pause", queue="mail")
    [row] = [each for each in one(app, "/queues")["queues"] if each["name"] == "mail"]
    assert (row["ready"], row["paused"]) == (3, True) and 0 <= row["oldest"] < 60
    one(app, "/queues/resume", queue="mail")
    assert app.control.paused() == ([], [])
    assert one(app, "/queues/purge", queue="mail", confirm="mail")["purged"] == 3
    assert one(app, "/queue", queue="mail")["messages"] == []


def test_a_purge_that_is_not_confirmed_is_refused(app: App) -> None:
    app.send_task("shop.add", queue="mail")

    async def ask() -> Any:
        async with Client(Dashboard(app)) as client:
            return await client.post("/api/queues/purge", json={"queue": "mail", "confirm": "mial"})

    assert asyncio.run(ask()).status_code == 422
    assert [stats.ready for stats in app.store.broker.stats(["mail"])] == [1]


def test_schedules_are_added_edited_run_and_removed(app: App) -> None:
    added = one(app, "/schedules/add", name="nightly", task="shop.add", schedule="30 2 * * 1-5", args="[1, 2]")
    assert added["words"] == "at 02:30 on weekdays"
    one(app, "/schedules/edit", name="nightly", schedule="every 30s", queue="slow")
    shown = one(app, "/schedule", name="nightly")
    assert (shown["words"], shown["queue"], shown["args"]) == ("every 30 seconds", "slow", [1, 2])
    assert len(shown["next"]) == 10
    task_id = one(app, "/schedules/run", name="nightly")["task_id"]
    [message] = app.store.broker.peek("slow", 10)
    assert message.id == task_id
    one(app, "/schedules/pause", name="nightly")
    [listed] = one(app, "/schedules")["schedules"]
    assert (listed["enabled"], listed["next_run"], listed["total"]) == (False, None, 1)
    assert [each["fate"] for each in one(app, "/schedule", name="nightly")["ledger"]] == ["manual"]
    one(app, "/schedules/resume", name="nightly")
    one(app, "/schedules/remove", name="nightly")
    assert one(app, "/schedules")["schedules"] == []


def test_a_workflow_is_drawn_from_history_and_queues(app: App) -> None:
    ended(app, 1, id="root", root="root")
    ended(app, 1, id="child", root="root", parent="root", state="FAILURE")
    app.send_task("shop.add", task_id="open", root_id="root", parent_id="child")
    found = one(app, "/workflow", id="root")
    assert (found["good"], found["bad"], found["open"]) == (1, 1, 1)
    assert found["layers"] == [["root"], ["child"], ["open"]]
    assert {(edge["from"], edge["to"]) for edge in found["edges"]} == {("root", "child"), ("child", "open")}
    [listed] = one(app, "/workflows")["workflows"]
    assert (listed["id"], listed["members"], listed["name"]) == ("root", 2, "shop.add")


def test_a_task_is_explained_and_revoked(app: App) -> None:
    task_id = app.send_task("shop.add").id
    codes = [reason["code"] for reason in one(app, "/explain", id=task_id)["reasons"]]
    assert {"waiting", "no_worker"} <= set(codes)
    one(app, "/runs/revoke", ids=[task_id])
    assert one(app, "/explain", id=task_id)["reasons"][0]["code"] == "revoked"


def test_a_task_is_given_another_time(app: App) -> None:
    task_id = app.send_task("shop.add", countdown=3600).id
    told = one(app, "/runs/reschedule", ids=[task_id, "unknown"], countdown="2h")
    assert (told["ids"], told["text"]) == ([task_id], "1 task rescheduled; 1 not waiting any more.")
    [message] = app.store.broker.peek("celery", 10, delayed=True)
    assert message.due == pytest.approx(time.time() + 7200, abs=60)
    one(app, "/runs/reschedule", ids=[task_id], eta=time.time())
    assert app.store.broker.stats(["celery"])[0].delayed == 0
    assert one(app, "/run", id=task_id)["reschedules"]


@pytest.mark.parametrize("when", [{}, {"countdown": "soon"}, {"countdown": "1m", "eta": 1.0}, {"eta": 1e300}])
def test_a_time_that_is_none_is_refused(app: App, when: dict[str, Any]) -> None:
    async def ask() -> int:
        async with Client(Dashboard(app)) as client:
            return (await client.post("/api/runs/reschedule", json={"ids": ["x"], **when})).status_code

    assert asyncio.run(ask()) == 422


def test_settings_are_told_with_their_origin_and_without_secrets() -> None:
    app = shop("memory://", task_acks_late=True, result_backend="redis://:hush-hush@127.0.0.1:1/0")
    rows = {row["name"]: row for row in one(app, "/configuration")["settings"]}
    assert rows["task_acks_late"]["value"] == "True" and rows["task_acks_late"]["origin"]
    assert "hush" not in json.dumps(one(app, "/configuration", all="true"))


def state_of(app: App) -> Any:
    """Everything that delivery depends on."""
    broker = app.store.broker
    stats = sorted((each.name, each.ready, each.delayed, each.leased) for each in broker.stats())
    queued = [[message.id for message in broker.peek(name, 100, delayed=late)] for name, *_ in stats for late in (0, 1)]
    owners = [(owner.owner, owner.held) for owner in broker.owners()]
    held = [[(each.lease, each.deliveries) for each in broker.held(owner)] for owner, _ in owners]
    return stats, queued, owners, held, [letter.id for letter in broker.dead(limit=100)]


def populated(app: App) -> Any:
    """Tasks in every place; returns the state."""
    dead(app, 3)
    for n in range(4):
        app.send_task("shop.add", (n,), queue="held")
    app.store.broker.open("holder", worker="w9@shop", slots=2, lease=900)
    app.store.broker.turn([], "holder", ["held"], 2)
    app.send_task("shop.add", countdown=900)
    ended(app, 3)
    return state_of(app)


def test_looking_at_everything_changes_nothing(app: App) -> None:
    before = populated(app)
    letter = before[4][0]
    arguments = {"/run": {"id": "run-0"}, "/explain": {"id": "run-0"}, "/schedule": {"name": "x"},
                 "/workflow": {"id": "run-0"}, "/queue": {"queue": "held"}, "/dead/letter": {"id": letter},
                 "/runs/bulk": {"action": "forget"}}  # fmt: skip

    async def look() -> None:
        async with Client(Dashboard(app)) as client:
            for operation in TABLE:
                if operation.method == "GET":
                    path = operation.path
                    answer = await client.get(f"/api{path}", params=arguments.get(path, {}))
                    assert answer.status_code == (404 if path == "/schedule" else 200), answer.text
            for state in ("running", "waiting", "delayed", "FAILURE"):
                assert (await client.get("/api/runs", params={"state": state})).status_code == 200
            for page in PAGES:
                await client.page(page.path, params=arguments.get(page.path, {}))

    for _ in range(3):
        asyncio.run(look())
    assert state_of(app) == before


def test_dashboards_that_are_killed_change_nothing(tmp_path: Path) -> None:
    kill_dashboards(tmp_path, 3)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_dashboards_that_are_killed_change_nothing(tmp_path: Path) -> None:
    kill_dashboards(tmp_path, 1000)


def kill_dashboards(tmp_path: Path, times: int) -> None:
    broker = f"sqlite:///{tmp_path}/talo.sqlite3"
    app = shop(broker)
    before = populated(app)
    app.close()
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TALO_BROKER_URL": broker}
    command = [sys.executable, "-m", "talo", "dashboard", "-p", "0", "--audit", str(tmp_path / "audit")]
    for _ in range(times):
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        looked = subprocess.Popen(
            [sys.executable, "-c", f"import urllib.request as u; [u.urlopen('{address}' + p).read() for p in "
             "('', 'runs', 'queues', 'dead', 'workers', 'api/overview')]"],
        )  # fmt: skip
        assert looked.wait(60) == 0
        process.kill()
        process.wait(20)
        process.stdout.close()
    app = shop(broker)
    assert state_of(app) == before
    app.close()


class TestDescription:
    def test_it_names_every_operation_with_its_arguments(self) -> None:
        document = describe(TABLE)
        found = {
            (method.upper(), path.removeprefix("/api"))
            for path, methods in document["paths"].items()
            for method in methods
        }
        assert found == {(operation.method, operation.path) for operation in TABLE}
        purge = document["paths"]["/api/queues/purge"]["post"]
        schema = purge["requestBody"]["content"]["application/json"]["schema"]
        assert set(schema["required"]) == {"queue", "confirm"} and purge["x-role"] == "admin"
        names = [each["name"] for each in document["paths"]["/api/runs"]["get"]["parameters"]]
        assert {"state", "name", "queue", "worker", "error", "since", "until"} <= set(names)

    def test_each_operation_has_a_name_and_a_summary(self) -> None:
        assert len({operation.name for operation in TABLE}) == len(TABLE)
        assert all(operation.summary.endswith(".") for operation in TABLE)


class TestFaults:
    @pytest.mark.parametrize(
        ("method", "path", "more", "status", "says"),
        [
            ("GET", "/api/runs?state=NOPE", {}, 422, "Invalid enum value 'NOPE'"),
            ("GET", "/api/runs?nope=1", {}, 422, "unknown field `nope`"),
            ("GET", "/api/runs?since=yesterday", {}, 422, "15m"),
            ("GET", "/api/runs?limit=100000", {}, 422, "<= 500"),
            ("GET", "/api/runs?cursor=rubbish", {}, 422, "no cursor"),
            ("GET", "/api/runs?cursor=a/b", {}, 422, "no cursor"),
            ("GET", "/api/dead/letter?id=none", {}, 404, "there is no dead letter none"),
            ("GET", "/api/workflow?id=none", {}, 404, "nothing is known"),
            ("POST", "/api/dead/replay", {"json": {}}, 422, "ids, or all"),
            (
                "POST",
                "/api/queues/pause",
                {"content": b"{", "headers": {"content-type": "application/json"}},
                422,
                "no",
            ),
            ("POST", "/api/queues/pause", {"json": {"queue": 5}}, 422, "Expected `str`"),
            ("POST", "/api/schedules/add", {"json": {"name": "a", "task": "b", "schedule": "9 9"}}, 422, "5 fields"),
            ("POST", "/api/workers/stop", {"json": {"worker": "nobody"}}, 404, "no worker nobody"),
            ("GET", "/api/nothing", {}, 404, "no such page"),
            ("DELETE", "/api/runs", {"headers": {"content-type": "application/json"}}, 405, "not how"),
        ],
    )
    def test_they_are_told_in_one_line(
        self, method: str, path: str, more: dict[str, Any], status: int, says: str
    ) -> None:
        async def ask() -> Any:
            async with Client(Dashboard(shop("memory://"))) as client:
                return await client.request(method, path, **more)

        answer = asyncio.run(ask())
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"] and "\n" not in answer.json()["detail"]

    def test_a_store_that_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = shop("memory://")

        def away(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("redis://:s3cret@10.0.0.1/0 does not answer")

        monkeypatch.setattr(app.store.broker, "stats", away)

        async def ask() -> tuple[Any, Any]:
            async with Client(Dashboard(app)) as client:
                return await client.get("/api/queues"), await client.page("/queues")

        for answer in asyncio.run(ask()):
            assert answer.status_code == 503
            assert "does not answer" in answer.text and "s3cret" not in answer.text


@pytest.mark.parametrize("path", [page.path for page in PAGES])
def test_a_page_of_an_empty_store_says_what_to_do(path: str) -> None:
    async def ask() -> Any:
        params = {"/queue": {"queue": "celery"}, "/run": {"id": "x"}, "/explain": {"id": "x"},
                  "/runs/bulk": {"action": "forget"}}.get(path, {})  # fmt: skip
        async with Client(Dashboard(shop("memory://"))) as client:
            return await client.page(path, params=params)

    answer = asyncio.run(ask())
    expected = 422 if path in ("/schedule", "/workflow", "/dead/letter") else 200
    assert answer.status_code == expected, answer.text
    assert "<main" in answer.text


def test_a_page_that_has_not_changed_is_not_sent_again() -> None:
    async def ask() -> tuple[int, bytes]:
        async with Client(Dashboard(shop("memory://"))) as client:
            await client.page("/configuration")
            first = await client.page("/configuration")
            headers = {"accept": "text/html", "if-none-match": first.headers["etag"]}
            second = await client.get("/configuration", headers=headers)
            return second.status_code, second.content

    assert asyncio.run(ask()) == (304, b"")
