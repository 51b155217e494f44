"""The traced app as it was before a deploy: it knows one task only."""

from __future__ import annotations

from talo import Talo

app = Talo("older")


@app.task(name="tests.apps.traced.quiet")
def quiet() -> None:
    return None
