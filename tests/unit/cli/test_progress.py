"""The bar of ``talo call --wait``."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from talo import Talo
from talo.cli._progress import Bar


@pytest.fixture
def result(request: pytest.FixtureRequest) -> Any:
    app = Talo("bar", broker=f"memory://{request.node.name}", set_as_current=False)

    @app.task(name="copies", bind=True)
    def copies(self: Any) -> None:
        """Is only asked for its progress here."""

    result = app.AsyncResult("a", task_name="copies")
    copies.update_state("a", "PROGRESS", {"current": 30, "total": 120})
    return result


def test_it_shows_what_the_task_tells(result: Any) -> None:
    text = io.StringIO()
    with Bar(result, Console(file=text, force_terminal=True, width=80)) as bar:
        bar.look()
    assert "copies" in text.getvalue() and "25%" in text.getvalue()


def test_a_task_that_tells_nothing_has_no_bar(result: Any) -> None:
    text = io.StringIO()
    result.app.tasks["copies"].update_state("a", "STARTED", {"pid": 1})
    with Bar(result, Console(file=text, force_terminal=True, width=80)) as bar:
        bar.look()
    assert "copies" not in text.getvalue()
