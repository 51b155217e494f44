"""The pages about commands and events say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from talo.control.panel import Panel, control_command, inspect_command
from talo.control.reference import CONTROL_PATH, EVENTS_PATH, control_page, events_page

ROOT = Path(__file__).resolve().parents[3]
INSPECT = {"active", "active_queues", "clock", "conf", "hello", "memdump", "memsample", "objgraph", "ping",
           "query_task", "registered", "report", "reserved", "revoked", "scheduled", "stats"}  # fmt: skip
CONTROL = {"add_consumer", "autoscale", "cancel_consumer", "disable_events", "election", "enable_events", "heartbeat",
           "pool_grow", "pool_restart", "pool_shrink", "rate_limit", "revoke", "revoke_by_stamped_headers", "shutdown",
           "terminate", "time_limit"}  # fmt: skip
ALIASES = {"dump_active", "dump_reserved", "dump_schedule", "dump_revoked", "dump_tasks", "dump_conf"}


@pytest.mark.parametrize(("path", "text"), [(CONTROL_PATH, control_page()), (EVENTS_PATH, events_page())])
def test_the_pages_are_fresh(path: str, text: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == text, "run python -m talo.control.reference"


def test_every_command_of_celerys_is_there() -> None:
    by_type = {
        kind: {name for name, each in Panel.meta.items() if each.type == kind} for kind in ("inspect", "control")
    }
    assert by_type["inspect"] >= INSPECT and by_type["control"] >= CONTROL
    assert Panel.data.keys() >= INSPECT | CONTROL | ALIASES
    assert Panel.find("dump_active") is Panel.meta["active"]


def test_a_project_adds_its_own() -> None:
    @control_command(args=[("n", int)], signature="[N=1]")
    def double(state: object, n: int = 1) -> dict[str, int]:
        """Double a number."""
        del state
        return {"ok": 2 * n}

    @inspect_command(name="about", alias="about_me")
    def _about(state: object) -> str:
        return "me"

    @Panel.register
    def plain(state: object) -> None:
        """Do nothing."""

    try:
        assert Panel.data["double"](None, n=4) == {"ok": 8}
        assert (Panel.meta["double"].help, Panel.meta["double"].type) == ("Double a number.", "control")
        assert Panel.data["about"] is Panel.data["about_me"] and Panel.meta["about"].type == "inspect"
        assert Panel.meta["plain"].type == "control"
    finally:
        for name in ("double", "about", "about_me", "plain"):
            Panel.data.pop(name, None)
            Panel.meta.pop(name, None)
