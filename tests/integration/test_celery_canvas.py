"""Workflows on one Redis whose calls are worked on by Celery and Talo side by side, sent by either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from talo import Signature, Talo, chain, chord, group
from talo.errors import ChordError, NotSupported
from tests.apps.shared_code import define
from tests.integration.peers import CeleryClient, CeleryError, CeleryWorker
from tests.workers import Worker

FORM = {"TALO_TASK_CANVAS_FORM": "celery", "TALO_TASK_UNKNOWN_PATIENCE": "0"}
TIMEOUT = 30


@pytest.fixture(scope="module", autouse=True)
def fleet(url: str, folder: Path) -> Iterator[None]:
    """One worker of each kind on the same queue."""
    with (
        Worker(url, folder, "-c", "2", app="tests.apps.talo_app", name="talo", env=FORM),
        CeleryWorker(url, folder),
    ):
        yield


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Talo]:
    """Talo as a client that sends in Celery's form."""
    with Talo(
        "canvas", broker=url, backend=url, set_as_current=False, redis_priority_order="low-first",
        task_canvas_form="celery",
    ) as app:  # fmt: skip
        define(app, "client")
        yield app


def s(app: Talo, name: str, *args: Any) -> Signature:
    found: Signature = app.tasks[f"shared.{name}"].s(*args)
    return found


def test_a_chord_that_celery_sends_ends_wherever_its_members_run(celery: CeleryClient) -> None:
    for _ in range(3):
        code = "chord([s('add', n, n) for n in range(40)], s('echo')).apply_async().get(timeout=30)"
        assert celery(code) == [[[2 * n for n in range(40)]], {}]


def test_a_chord_that_talo_sends_ends_wherever_its_members_run(client: Talo) -> None:
    for _ in range(3):
        result = chord([s(client, "add", n, n) for n in range(40)], s(client, "echo")).apply_async()
        assert result.get(timeout=TIMEOUT) == [[[2 * n for n in range(40)]], {}]


def test_members_of_one_chord_run_on_both(client: Talo) -> None:
    result = chord([s(client, "where") for _ in range(60)], s(client, "echo")).apply_async()
    [[values], _] = result.get(timeout=TIMEOUT)
    assert set(values) == {"talo", "celery"}


def test_chains_with_groups_end_on_either(client: Talo, celery: CeleryClient) -> None:
    for _ in range(4):
        code = (
            "(s('add', 1, 1) | group(s('add', 1), s('add', 2)) | s('echo') | s('echo')).apply_async().get(timeout=30)"
        )
        assert celery(code) == [[[[[3, 4]], {}]], {}]
        sent = s(client, "add", 1, 1) | group(s(client, "add", 1), s(client, "add", 2)) | s(client, "echo")
        assert (sent | s(client, "echo")).apply_async().get(timeout=TIMEOUT) == [[[[[3, 4]], {}]], {}]


def test_members_may_be_chains(client: Talo, celery: CeleryClient) -> None:
    for _ in range(3):
        code = "chord([chain(s('add', n, n), s('add', 1)) for n in range(9)], s('echo')).apply_async().get(timeout=30)"
        assert celery(code) == [[[2 * n + 1 for n in range(9)]], {}]
        header = [chain(s(client, "add", n, n), s(client, "add", 1)) for n in range(9)]
        assert chord(header, s(client, "echo")).apply_async().get(timeout=TIMEOUT) == [
            [[2 * n + 1 for n in range(9)]],
            {},
        ]


def test_a_failed_member_fails_the_chord_on_either(client: Talo, celery: CeleryClient) -> None:
    for _ in range(3):
        with pytest.raises(CeleryError, match="Dependency"):
            celery(
                "chord([s('add', 1, 1), s('fails', 'no'), s('add', 2, 2)], s('echo'))"
                ".apply_async().get(timeout=30, follow_parents=False)"
            )
        header = [s(client, "add", 1, 1), s(client, "fails", "no"), s(client, "add", 2, 2)]
        with pytest.raises(ChordError, match="Dependency"):
            chord(header, s(client, "echo")).apply_async().get(timeout=TIMEOUT)


def test_what_a_mixed_fleet_cannot_have_is_refused(client: Talo) -> None:
    inner = chord([s(client, "add", 1, 1), s(client, "add", 2, 2)], s(client, "echo"))
    with pytest.raises(NotSupported, match="task_canvas_form"):
        chord([inner, s(client, "add", 1, 1)], s(client, "echo")).apply_async()
