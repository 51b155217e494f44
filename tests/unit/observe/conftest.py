"""An app in memory, and its tasks run in the test's own thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from talo import Talo
from talo.testing.local import LocalWorker


@pytest.fixture
def talo_base_app() -> Talo:
    return Talo("observed", set_as_current=False)


@pytest.fixture
def run_all(talo_app: Talo) -> Callable[[], int]:
    """Run everything that is ready, and what follows from it."""
    return lambda: LocalWorker(talo_app).run_all()
