"""Beat with ten thousand entries: how soon it is ready, and what it costs while nothing is due and while much is.

Apart from the other measures, because it needs no workers: ``python -m bench.beat [ENTRIES]`` starts ``talo beat`` and
``celery beat`` (where it is installed) one after the other on a Redis of their own and prints a table.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

#: Seconds over which a beat is watched.
WATCH = 10.0

APP = """
import os, random
from {library} import {cls} as App
from {schedules} import crontab
app = App("bench", broker=os.environ["BROKER"])
rng = random.Random(1)
quiet = [crontab(minute=rng.randrange(60), hour=4, day_of_month=1, month_of_year=1) for _ in range({entries})]
busy = [2.0 + n % 100 / 10 for n in range({entries} // 100)]
every = quiet if os.environ["KIND"] == "quiet" else busy + quiet
app.conf.beat_schedule = {{str(n): {{"task": "t", "schedule": each}} for n, each in enumerate(every)}}
app.conf.beat_schedule_filename = os.environ["FILE"]
"""
PEERS = {"Talo": ("talo", "Talo", "talo.schedules"), "Celery": ("celery", "Celery", "celery.schedules")}


@dataclass
class Seen:
    """What was measured of one beat."""

    ready: float
    cpu: float
    sent: int


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(peer: str, kind: str, entries: int, folder: Path) -> Seen:
    """Start one beat and look at it."""
    library, cls, schedules = PEERS[peer]
    (folder / f"{library}_app.py").write_text(
        APP.format(library=library, cls=cls, schedules=schedules, entries=entries)
    )
    port, log = free_port(), folder / f"{library}-{kind}.log"
    redis = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    env = {**os.environ, "BROKER": f"redis://127.0.0.1:{port}/0", "KIND": kind, "FILE": str(folder / f"{library}.db")}
    command = [sys.executable, "-m", library, "-A", f"{library}_app", "beat", "-l", "DEBUG"]
    try:
        with open(log, "wb") as out:
            began = time.monotonic()
            beat = subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=out)
        try:
            # Whichever comes first: with this many entries not everyone ever comes to rest.
            while not any(text in log.read_text() for text in ("Waking up in", "Sending due task")):
                if beat.poll() is not None or time.monotonic() - began > 120:
                    raise SystemExit(f"{peer} does not start:\n{log.read_text()[-2000:]}")
                time.sleep(0.01)
            ready = time.monotonic() - began
            before, sent = cpu_seconds(beat.pid), log.read_text().count("Sending due task")
            time.sleep(WATCH)
            cpu = (cpu_seconds(beat.pid) - before) / WATCH * 100
            return Seen(ready, cpu, log.read_text().count("Sending due task") - sent)
        finally:
            beat.kill()
            beat.wait()
    finally:
        redis.kill()
        redis.wait()


def main() -> None:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(f"{entries:,} entries; ready: seconds from the start of the process; cpu: percent of a core")
    print(f"{'beat':<8} {'kind':<6} {'ready':>7} {'cpu':>7} {'sent/s':>7}")
    for kind in ("quiet", "busy"):
        for peer in PEERS:
            with tempfile.TemporaryDirectory() as folder:
                seen = watch(peer, kind, entries, Path(folder))
            print(f"{peer:<8} {kind:<6} {seen.ready:>7.2f} {seen.cpu:>7.2f} {seen.sent / WATCH:>7.1f}")


if __name__ == "__main__":
    main()
