"""The same tasks on Talo, as a project would have it that shares its Redis with Celery."""

from __future__ import annotations

import os

from talo import Talo
from tests.apps.shared_code import define, sign

app = Talo(
    "talo_app",
    redis_priority_order="low-first",
    accept_content=["json", "msgpack", "yaml"],
    result_extended=os.environ.get("RESULT_EXTENDED") == "1",
    task_track_started=True,
)
sign(app)
define(app, "talo")
