"""Signed messages between Celery and Talo, on one Redis: either runs what the other has signed, and nothing else."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from talo import Talo, chain, chord
from talo.wire import serializers
from tests.apps.shared_code import define, sign
from tests.integration.peers import CeleryClient, CeleryWorker
from tests.servers.redis import RedisServer
from tests.servers.signers import make_signer
from tests.support import eventually
from tests.workers import Worker


@pytest.fixture
def url(redis_url: str) -> str:
    """A Redis database for one test."""
    return redis_url


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where both parties' certificates are; Celery's processes sign as ``celery``."""
    folder = tmp_path / "keys"
    make_signer(folder, "talo")
    monkeypatch.setenv("SIGNED_AS", make_signer(folder, "celery"))
    return folder


@pytest.fixture
def app(url: str, keys: Path) -> Iterator[Talo]:
    """Talo as a client that signs."""
    with Talo("client", broker=url, backend=url, set_as_current=False, redis_priority_order="low-first") as app:
        sign(app, f"{keys}/talo")
        define(app, "client")
        yield app
    serializers.unregister("auth")


def test_celery_runs_what_talo_has_signed(url: str, app: Talo, tmp_path: Path) -> None:
    with CeleryWorker(url, tmp_path):
        assert app.send_task("shared.where").get(timeout=60) == "celery"
        assert app.send_task("shared.echo", (1, "ü"), {"k": [None]}).get(timeout=60) == [[1, "ü"], {"k": [None]}]
        assert app.send_task("shared.flaky", (2, 0.1)).get(timeout=60) == 2


def test_talo_runs_what_celery_has_signed(url: str, app: Talo, keys: Path, tmp_path: Path) -> None:
    celery = CeleryClient(url)
    try:
        with Worker(
            url, tmp_path, "-c", "1", app="tests.apps.talo_app", name="talo", env={"SIGNED_AS": f"{keys}/talo"}
        ):
            assert celery("result(send('where')).get(timeout=60)") == "talo"
            assert celery("result(send('echo', 1, 'ü')).get(timeout=60)") == [[1, "ü"], {}]
            assert celery("result(send('flaky', 2, 0.1)).get(timeout=60)") == 2
            code = "chain(s('add', 1, 1), s('add', 1), s('add', 1)).apply_async().get(timeout=60)"
            assert celery(code) == 4
            # What Talo composes, it signs at every step.
            add = app.tasks["shared.add"]
            assert chain(add.s(1, 1), add.s(1)).apply_async().get(timeout=60) == 3
            whole = chord([add.s(n, 1) for n in range(3)], app.tasks["shared.echo"].s()).apply_async()
            assert whole.get(timeout=60) == [[[1, 2, 3]], {}]
            assert app.control.ping(timeout=10) == [{"talo@test": {"ok": "pong"}}]
    finally:
        celery.close()


def test_what_nobody_trusted_has_signed_becomes_a_dead_letter(
    redis_server: RedisServer, url: str, app: Talo, keys: Path, tmp_path: Path
) -> None:
    # Given a call without a signature, one whose arguments somebody has changed, and a good one behind them,
    db = int(url.rpartition("/")[2])
    with Talo("other", broker=url, set_as_current=False, redis_priority_order="low-first") as other:
        plain = other.send_task("shared.add", (1, 1))
    first, second = app.send_task("shared.add", (2, 2)), app.send_task("shared.add", (3, 3))
    raws = [redis_server.command("RPOP", "celery", db=db).split(b"\r\n", 1)[1] for _ in range(3)]
    messages = [json.loads(raw) for raw in raws]
    signed = b64decode(b64decode(messages[1]["body"]))
    assert b"[[2,2]" in signed
    messages[1]["body"] = b64encode(b64encode(signed.replace(b"[[2,2]", b"[[9,9]"))).decode()
    for message in messages:
        redis_server.command("LPUSH", "celery", json.dumps(message), db=db)
    # when a worker comes that believes signatures only,
    with Worker(url, tmp_path, "-c", "1", app="tests.apps.talo_app", name="talo", env={"SIGNED_AS": f"{keys}/talo"}):
        # then it runs the good one, and the others are kept with the reason.
        assert second.get(timeout=60) == 6
        eventually(lambda: _is(len(app.store.broker.dead(limit=10)), 2))
    letters = app.store.broker.dead(limit=10)
    assert {letter.message.headers["id"] for letter in letters if letter.message} == {plain.id, first.id}
    assert {letter.death.reason for letter in letters} == {"content_refused", "unreadable"}


def _is(actual: object, expected: object) -> None:
    assert actual == expected
