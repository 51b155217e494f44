"""What ``talo.starlette`` and ``talo.fastapi`` answer for tasks, and their lifespan and dependency."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from talo import Talo
from talo.errors import ImproperlyConfigured
from talo.fastapi import TaloDep, lifespan, status_router
from talo.starlette import status_app
from talo.testing.local import LocalWorker, memory_app
from tests.frameworks.test_flask import without


@pytest.fixture
def talo() -> Iterator[Talo]:
    """An app with tasks that end in every way, on a store in memory."""
    app = Talo("shop", set_as_current=False)

    @app.task(name="add")
    def add(x: Any) -> Any:
        return x

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no <paint>")

    with memory_app(app):
        yield app
    app.close()


@pytest.fixture(params=["starlette", "fastapi"])
def client(request: pytest.FixtureRequest, talo: Talo) -> Iterator[TestClient]:
    """A client of the status routes, mounted in either framework."""
    if request.param == "starlette":
        web: Any = Starlette(routes=[Mount("/tasks", status_app(talo))])
    else:
        web = FastAPI()
        web.include_router(status_router(talo, prefix="/tasks"))
    with TestClient(web) as client:
        yield client


def ended(talo: Talo, name: str, *args: Any) -> str:
    """The id of a task that was run."""
    result = talo.tasks[name].delay(*args)
    LocalWorker(talo).run_all()
    return str(result.id)


def test_the_status_tells_state_result_error_and_progress(client: TestClient, talo: Talo) -> None:
    # Given one task of each kind
    done, failed = ended(talo, "add", {"n": 3}), ended(talo, "fail")
    working = talo.tasks["add"].delay(1).id
    talo.tasks["add"].update_state(task_id=working, state="PROGRESS", meta={"done": 1})
    talo.tasks["add"].update_state(task_id="begun", state="STARTED", meta={"pid": 1, "hostname": "secret"})

    def told(task_id: str) -> dict[str, Any]:
        answer = client.get(f"/tasks/{task_id}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert body.pop("id") == task_id
        return body

    # Then each is told with what there is of it, and no more
    nothing = {"result": None, "progress": None, "error": None, "done_at": None}
    success = told(done)
    assert dt.datetime.fromisoformat(success.pop("done_at")).tzinfo is not None
    assert success == {"state": "SUCCESS", "ready": True, "result": {"n": 3}, "progress": None, "error": None}
    failure = told(failed)
    assert failure["error"] == {"type": "ValueError", "message": "no <paint>"}
    assert "Traceback" not in json.dumps(failure)
    assert told(working) == {**nothing, "state": "PROGRESS", "ready": False, "progress": {"done": 1}}
    assert told("begun") == {**nothing, "state": "STARTED", "ready": False}
    assert told("nobody-knows-it") == {**nothing, "state": "PENDING", "ready": False}


def test_events_follow_a_task_to_its_end(client: TestClient, talo: Talo) -> None:
    # Given a task that has ended, when it is followed
    task_id = ended(talo, "add", 5)
    answer = client.get(f"/tasks/{task_id}/events")

    # Then one event tells it and the stream ends
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, data, *rest = answer.text.splitlines()
    assert first == "event: status"
    assert json.loads(data.removeprefix("data: ")) == client.get(f"/tasks/{task_id}").json()
    assert not any(rest)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("é<>\n", "é<>\n"),
        ([1, [2.5, None]], [1, [2.5, None]]),
        ({"when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}, {"when": "2026-01-02T00:00:00Z"}),
        (10**30, None),
        (float("inf"), None),
    ],
)
def test_every_result_can_be_told(talo: Talo, value: Any, shown: Any) -> None:
    with TestClient(status_app(talo)) as client:
        answer = client.get(f"/{ended(talo, 'add', value)}")
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert result == shown or (shown is None and result in (None, 10**30, str(10**30)))


def test_a_result_that_json_cannot_say_comes_as_text() -> None:
    # Given pickled results: one with an object in it, and one with itself in it
    app = Talo(
        "p", broker="memory://pickled", result_serializer="pickle", accept_content=["json", "pickle"],
        set_as_current=False,
    )  # fmt: skip

    @app.task(name="strange")
    def strange(circle: bool) -> list[Any]:
        value: list[Any] = [1 + 2j]
        if circle:
            value.append(value)
        return value

    with TestClient(status_app(app)) as client:
        shown = [client.get(f"/{ended(app, 'strange', circle)}").json()["result"] for circle in (False, True)]
    app.close()

    # Then each is shown
    assert shown[0] == ["(1+2j)"]
    assert isinstance(shown[1], str)
    assert "(1+2j)" in shown[1]


@pytest.mark.parametrize("task_id", ["x" * 256, "a%00b", "a%0Ab"])
def test_what_is_no_id_is_not_looked_for(client: TestClient, task_id: str) -> None:
    answer = client.get(f"/tasks/{task_id}")
    assert answer.status_code == 404


def test_a_store_that_is_away_and_no_store_are_told_without_secrets(tmp_path: Path) -> None:
    # Given results in a Redis that is not there, and none at all
    gone = Talo("gone", broker="redis://:hush@127.0.0.1:1/0", set_as_current=False)
    none = Talo("none", broker=f"sqlite:///{tmp_path}/t.sqlite3", backend="disabled://", set_as_current=False)
    for app, code in ((gone, 503), (none, 501)):
        with TestClient(status_app(app)) as client:
            for path in ("/id", "/id/events"):
                answer = client.get(path)
                # Then it says so, and nothing else
                assert answer.status_code == code
                assert set(answer.json()) == {"error"}
                assert "hush" not in answer.text
        app.close()


def test_the_router_takes_dependencies_and_describes_itself(talo: Talo) -> None:
    # Given an API that wants a key
    def key(key: str = "") -> None:
        if key != "mine":
            raise HTTPException(403)

    api = FastAPI()
    api.include_router(status_router(talo, prefix="/tasks", dependencies=[Depends(key)]))
    task_id = ended(talo, "add", 1)
    with TestClient(api) as client:
        # Then nobody gets in without
        assert client.get(f"/tasks/{task_id}").status_code == 403
        assert client.get(f"/tasks/{task_id}/events").status_code == 403
        assert client.get(f"/tasks/{task_id}?key=mine").json()["result"] == 1
        # And the schema names what comes back
        schema = client.get("/openapi.json").json()
    said = schema["paths"]["/tasks/{task_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert said == {"$ref": "#/components/schemas/TaskStatus"}
    assert set(schema["components"]["schemas"]["TaskStatus"]["properties"]) == {
        "id", "state", "ready", "result", "progress", "error", "done_at",
    }  # fmt: skip


def test_the_lifespan_gives_the_app_to_requests_and_closes_its_stores(talo: Talo) -> None:
    # Given a lifespan of the user's own within ours
    life: list[str] = []

    @contextlib.asynccontextmanager
    async def mine(_: Any) -> AsyncIterator[dict[str, Any]]:
        life.append("up")
        yield {"colour": "green"}
        life.append("down")

    api = FastAPI(lifespan=lifespan(talo, also=mine))

    @api.get("/send")
    async def send(talo: TaloDep) -> str:
        return (await talo.tasks["add"].adelay(1)).id

    @api.websocket("/ws")
    async def ws(socket: WebSocket, talo: TaloDep) -> None:
        await socket.accept()
        await socket.send_text(str(talo.main) + socket.state.colour)
        await socket.close()

    # When requests of both kinds come, then both have the app
    with TestClient(api) as client:
        assert len(client.get("/send").json()) == 36
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_text() == "shopgreen"
        assert life == ["up"]
    assert life == ["up", "down"]
    # And it can begin again, on the same store where that is the test's
    with TestClient(api) as client:
        assert client.get("/send").status_code == 200
    [queue] = talo.store.broker.stats()
    assert queue.ready == 2


def test_the_lifespan_closes_connections_of_its_own(tmp_path: Path) -> None:
    # Given a store that the app has opened by itself
    app = Talo("own", broker=f"sqlite:///{tmp_path}/t.sqlite3", set_as_current=False)
    with TestClient(FastAPI(lifespan=lifespan(app))):
        app.send_task("any")
        before = app.store
    # Then another one is opened after the end
    assert app.store is not before
    app.close()


def test_settings_that_cannot_be_used_stop_the_start() -> None:
    app = Talo("bad", set_as_current=False)
    app.config_from_object({"task_time_limti": 1})
    with (
        pytest.raises(ImproperlyConfigured, match="did you mean task_time_limit"),
        TestClient(FastAPI(lifespan=lifespan(app))),
    ):
        pass


def test_an_url_that_no_store_has_stops_the_start_and_a_broker_that_is_away_does_not() -> None:
    nonsense = Talo("bad", broker="redsi://localhost", set_as_current=False)
    with (
        pytest.raises(ImproperlyConfigured, match="did you mean redis://"),
        TestClient(FastAPI(lifespan=lifespan(nonsense))),
    ):
        pass
    away = Talo("away", broker="redis://127.0.0.1:1", set_as_current=False)
    with TestClient(FastAPI(lifespan=lifespan(away))) as client:
        assert client.get("/").status_code == 404


def test_the_dependency_without_the_lifespan_says_what_to_do(talo: Talo) -> None:
    api = FastAPI()

    @api.get("/send")
    async def send(talo: TaloDep) -> None:
        await talo.asend_task("add")

    with TestClient(api) as client, pytest.raises(ImproperlyConfigured, match=r"FastAPI\(lifespan="):
        client.get("/send")


@pytest.mark.parametrize(
    ("missing", "module", "said"),
    [
        ("starlette", "talo.starlette", "Starlette is not installed: pip install 'talo[starlette]'\n"),
        ("fastapi", "talo.fastapi", "FastAPI is not installed: pip install 'talo[fastapi]'\n"),
        ("starlette", "talo.fastapi", "FastAPI is not installed: pip install 'talo[fastapi]'\n"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(missing: str, module: str, said: str, tmp_path: Path) -> None:
    assert without(missing, module, tmp_path) == said
