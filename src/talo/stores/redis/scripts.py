"""The Lua scripts, as they are called.

Owns loading ``lua/*.lua`` and putting the shared parts in front. What a script does, its keys, arguments and answer
are documented at its head. Called by whoever runs one, through ``client``."""

from __future__ import annotations

import hashlib
from importlib.resources import files

__all__ = [
    "ACQUIRE",
    "CLEANUP",
    "CLOSE_OWNER",
    "DEAD_GET",
    "DEAD_LIST",
    "DEAD_REPLACE",
    "FIND_WAITING",
    "FRONTS",
    "GROUP_OPEN",
    "GROUP_PARTS",
    "LEASED",
    "LEDGER_CLEANUP",
    "LEDGER_CLEAR",
    "LEDGER_COUNT",
    "LEDGER_DROP",
    "LEDGER_ENTER",
    "LEDGER_FIND",
    "LEDGER_FREE",
    "LEDGER_MARK",
    "MARK",
    "MARKED",
    "OPEN",
    "OWNERS",
    "PLANS_CHANGE",
    "PLANS_READ",
    "PURGE",
    "RECORD",
    "RELEASE",
    "RENEW",
    "RESCHEDULE",
    "RUNS_COUNT",
    "RUNS_DROP",
    "RUNS_FIND",
    "RUNS_FORGET",
    "RUNS_KINDS",
    "RUNS_SIZES",
    "SEND",
    "STATS",
    "STORE",
    "TAKE_OVER",
    "TURN",
    "UNDELAY",
    "Script",
]

_FOLDER = files(__package__) / "lua"


class Script:
    """One script: its whole text, and the name under which the server remembers it."""

    def __init__(self, name: str, *uses: str) -> None:
        self.name = name
        self.text = "\n".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in (*uses, name)).encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def __repr__(self) -> str:
        return f"<script {self.name}>"


TURN = Script("turn", "_messages", "_results", "_groups", "_history")
SEND = Script("send", "_messages")
OPEN = Script("open", "_messages")
RENEW = Script("renew", "_messages")
OWNERS = Script("owners", "_messages")
TAKE_OVER = Script("take_over", "_messages")
CLOSE_OWNER = Script("close_owner", "_messages")
STATS = Script("stats", "_messages")
LEASED = Script("leased", "_messages")
PURGE = Script("purge", "_messages")
DEAD_LIST = Script("dead_list", "_messages", "_dead")
DEAD_GET = Script("dead_get", "_messages", "_dead")
DEAD_REPLACE = Script("dead_replace", "_messages", "_dead")
CLEANUP = Script("cleanup", "_messages", "_dead")
GROUP_OPEN = Script("group_open", "_messages", "_groups")
GROUP_PARTS = Script("group_parts", "_messages", "_groups")
STORE = Script("store", "_results")
PLANS_READ = Script("plans_read", "_messages", "_plans")
PLANS_CHANGE = Script("plans_change", "_messages", "_plans")
RECORD = Script("record", "_messages", "_history")
RUNS_FIND = Script("runs_find", "_messages", "_history", "_runs")
RUNS_COUNT = Script("runs_count", "_messages", "_history", "_runs")
RUNS_KINDS = Script("runs_kinds", "_messages", "_history", "_runs")
RUNS_FORGET = Script("runs_forget", "_messages", "_history")
RUNS_SIZES = Script("runs_sizes", "_messages", "_history")
RUNS_DROP = Script("runs_drop", "_messages", "_history")
FRONTS = Script("fronts", "_messages")
FIND_WAITING = Script("find_waiting", "_messages")
RESCHEDULE = Script("reschedule", "_messages")
UNDELAY = Script("undelay", "_messages")
LEDGER_CLEANUP = Script("ledger_cleanup", "_messages", "_ledger")
LEDGER_CLEAR = Script("ledger_clear", "_messages", "_ledger")
LEDGER_COUNT = Script("ledger_count", "_messages", "_ledger")
LEDGER_DROP = Script("ledger_drop", "_messages", "_ledger")
LEDGER_ENTER = Script("ledger_enter", "_messages", "_ledger")
LEDGER_FIND = Script("ledger_find", "_messages", "_ledger")
LEDGER_FREE = Script("ledger_free", "_messages", "_ledger")
LEDGER_MARK = Script("ledger_mark", "_messages", "_ledger")
ACQUIRE = Script("acquire")
RELEASE = Script("release")
MARK = Script("mark")
MARKED = Script("marked")
