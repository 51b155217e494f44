"""Failures grouped by kind: the same exception at the same place of the user's code.

Owns the question; the grouping is the history's."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec

from talo.web.desk import Desk
from talo.web.operation import reads
from talo.web.operations._counting import WINDOWS
from talo.web.operations.overview import Window
from talo.web.operations.runs import run_facts

__all__ = ["failures"]


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """``window``: how far back."""

    window: Window = "24h"
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


@reads("/failures", Asked)
def failures(desk: Desk, asked: Asked) -> dict[str, Any]:
    """Kinds of failures, those that came last first."""
    now = time.time()
    kinds = desk.history.failures(now - WINDOWS[asked.window][0], asked.limit) if desk.has_history else []
    rows = [{**msgspec.structs.asdict(kind), "example": run_facts(kind.example)} for kind in kinds]
    return {"window": asked.window, "failures": rows, "history": desk.has_history}
