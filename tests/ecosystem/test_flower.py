"""Flower, unmodified, running itself on the alias: its side and the worker's are both Talo's."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ecosystem.venv import Environment, worker
from tests.integration.test_control_flower import Flower
from tests.support import eventually

PROJECT = """
from celery import Celery
app = Celery("project", broker=URL, backend=URL)

@app.task
def add(x, y):
    return x + y
"""


class OwnFlower(Flower):
    """Flower in an environment whose celery is Talo."""

    def __init__(self, where: Environment, folder: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.log = folder / "flower.log"
        command = [str(where.bin / "celery"), "-A", "project", "flower", f"--port={self.port}", "--address=127.0.0.1"]
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(
                [*command, "--inspect_timeout=5000"], cwd=folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**where.env(), "PYTHONPATH": str(folder), "FLOWER_UNAUTHENTICATED_API": "true"},
            )  # fmt: skip


def test_flower_runs_on_the_alias(where: Environment, project: Callable[[str], Path]) -> None:
    folder = project(PROJECT)
    with worker(where, folder, "-E"):
        flower = OwnFlower(where, folder)
        try:

            def listed() -> None:
                found: dict[str, Any] = flower("workers?refresh=1")
                assert "project.add" in found["w@test"]["registered"], flower.log.read_text()

            # It lists the worker,
            eventually(listed, timeout=60, interval=0.2)
            # shows a task with its result,
            task_id = where.script("from project import add; print(add.delay(20, 22).id)", cwd=folder).strip()

            def seen() -> None:
                info = flower(f"task/info/{task_id}")
                assert (info["state"], info["result"], info["worker"]) == ("SUCCESS", "42", "w@test")

            eventually(seen, timeout=30, interval=0.2)
            # and its buttons reach the worker.
            assert "extra" in flower("worker/queue/add-consumer/w@test", queue="extra")["message"]
        finally:
            flower.stop()
