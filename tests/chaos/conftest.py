"""Where chaos happens: on a file and on Redis, each test in a place of its own. With ``TALO_SOAK=1`` at full size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.kit import SOAK
from tests.either import app, broker  # noqa: F401  fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """At the promised size these are long runs, and marked so."""
    here = Path(__file__).parent
    for item in items:
        if SOAK and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.soak)
