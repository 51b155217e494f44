"""The events that Talo sends, and their fields: the table behind the reference page, which tests hold the code to."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMON", "KINDS", "Kind"]


class Kind(NamedTuple):
    """When an event is sent, and what it says beside what all say."""

    when: str
    fields: tuple[str, ...]


#: What every event says.
COMMON = {
    "type": "its name",
    "hostname": "the node that sent it",
    "timestamp": "seconds since the epoch",
    "utcoffset": "hours west of UTC",
    "pid": "the sender's process",
    "clock": "the logical clock",
}
_CALL = ("uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires")
_WORKER = ("freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys")

KINDS = {
    "task-sent": Kind(
        "a client has sent it, with `task_send_sent_event`", (*_CALL, "queue", "exchange", "routing_key")
    ),
    "task-received": Kind("a worker is about to start it", _CALL),
    "task-started": Kind("it starts", ("uuid",)),
    "task-succeeded": Kind("it has returned", ("uuid", "result", "runtime")),
    "task-failed": Kind("it has failed, or its process died for the last time", ("uuid", "exception", "traceback")),
    "task-retried": Kind("it will be tried again", ("uuid", "exception", "traceback")),
    "task-rejected": Kind("it raised Reject", ("uuid", "requeue")),
    "task-revoked": Kind("it was revoked or terminated, or has expired", ("uuid", "terminated", "signum", "expired")),
    "task-*": Kind("the task says so, by `self.send_event(type, **fields)`", ("uuid", "...")),
    "worker-online": Kind("a worker is there", _WORKER),
    "worker-heartbeat": Kind(
        "every five seconds (every twenty while nobody hears it, where the store can tell), and when asked for", _WORKER
    ),
    "worker-offline": Kind("a worker ends", _WORKER),
}
