"""The stores on which the dashboard is shown: every kind that keeps history."""

from __future__ import annotations

from pathlib import Path

import pytest

SERVERS = {"redis": "redis_url", "postgres": "postgres_url"}


@pytest.fixture(params=["sqlite", *SERVERS])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/talo.sqlite3"
    return str(request.getfixturevalue(SERVERS[request.param]))
