"""The pytest plugin: ``talo_app``, ``talo_worker``, ``talo_clock``, ``talo_sends``.

Owns the fixtures; the work is done by ``local``, ``clock`` and ``sends``. Pytest loads it wherever Talo is installed
(entry point ``pytest11``). A suite that has its app in a fixture overrides ``talo_base_app``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from talo.app import current
from talo.app.app import Talo
from talo.testing.clock import Clock
from talo.testing.local import LocalWorker, memory_app
from talo.testing.sends import Sends, captured
from talo.util.optional import load

__all__ = ["talo_app", "talo_base_app", "talo_clock", "talo_sends", "talo_worker"]


@pytest.fixture
def talo_base_app() -> Talo:
    """The app under test: the current one, so the last one that was imported; a new one if there is none."""
    return current.chosen_app() or Talo("test")


@pytest.fixture
def talo_clock() -> Clock:
    """The time of the test's store and worker; ``advance(seconds)`` makes what is delayed due."""
    return Clock()


@pytest.fixture
def talo_app(talo_base_app: Talo, talo_clock: Clock) -> Iterator[Talo]:
    """The app under test, with tasks and results in memory for the time of this test, whatever is configured."""
    with memory_app(talo_base_app, talo_clock):
        yield talo_base_app


@pytest.fixture
def talo_worker(talo_app: Talo) -> Iterator[LocalWorker]:
    """A worker in a thread of this process; it ends with the test. Under Django it works on the test's connections."""
    worker = LocalWorker(talo_app, around=_surroundings()).start()
    yield worker
    worker.stop()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("talo-test-")]
    assert not left, f"threads of the test's worker outlive it: {left}"


def _surroundings() -> Callable[[], AbstractContextManager[Any]]:
    """What the worker's thread needs of the test's: Django's connections, where Django is set up."""
    django = sys.modules.get("django.apps")
    if django is None or not django.apps.ready:
        return nullcontext
    around: Callable[[], AbstractContextManager[Any]] = load("talo.django.testing").lent_connections()
    return around


@pytest.fixture
def talo_sends(talo_app: Talo) -> Iterator[Sends]:
    """What the test sends, as a list of ``Sent``; nothing of it is run."""
    with captured(talo_app) as sends:
        yield sends
