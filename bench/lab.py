"""The lab: a private Redis without persistence, further servers on demand, the processes of the peers, and what they
weigh.

Everything that it starts runs in sessions of its own and is ended by process id. Weights come from /proc: it needs
Linux.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from bench.counter import Counter
from bench.peers import Peer
from bench.servers import STARTS, Absent, Server, on_cpu

ROOT = Path(__file__).resolve().parent.parent
#: Where the entry points of the libraries are.
BIN = Path(sys.executable).parent


class Trouble(Exception):
    """A measurement that could not be made; the text says why."""


class Workers:
    """The running workers of one peer, with all their descendants."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
        self.processes = processes
        self.log = log

    def pids(self) -> list[int]:
        """The ids of the whole tree."""
        parents: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                after_name = stat.read_text().rpartition(")")[2].split()
                parents.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
        tree = [process.pid for process in self.processes]
        for pid in tree:
            tree.extend(parents.get(pid, ()))
        return tree

    def pss(self) -> float:
        """Memory of the tree in MB; shared pages count once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def cpu(self) -> float:
        """Seconds that the tree has been on a processor."""
        return sum(on_cpu(pid) for pid in self.pids())

    def check(self) -> None:
        """Trouble if a worker is gone."""
        for process in self.processes:
            if process.poll() is not None:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])
                raise Trouble(f"the worker ended with code {process.returncode}:\n{tail}")


class Lab:
    """One Redis, one counter, one scratch folder; a context manager."""

    def __enter__(self) -> Lab:
        program = shutil.which("redis-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if program is None:
            raise Trouble("redis-server is not installed (Debian: apt-get install redis-server)")
        self.folder = Path(tempfile.mkdtemp(prefix="talo-bench-"))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._counter_folder = Path(tempfile.mkdtemp(prefix="talo-bench-", dir=memory))
        self.counter = Counter(str(self._counter_folder / "counter"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._servers: dict[str, Server] = {}
        #: The server of this measurement, if it is not Redis, and the place in it.
        self._server_now: Server | None = None
        self._place = self.url
        quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning", "--dir", str(self.folder)]
        self._server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", *quiet],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        self.redis = redis.Redis.from_url(self.url)
        self.wait_for(self._answers, 10, "redis-server does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.close()
        for server in self._servers.values():
            server.end()
        self._server.kill()
        self._server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._counter_folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.redis.ping())
        return False

    def fresh(self, server: str = "") -> None:
        """Forget everything of the measurement before; the next one runs on this server, on Redis without one."""
        self.redis.flushall()
        self.redis.config_resetstat()
        self.counter.clear()
        for path in self.folder.glob("bench.sqlite3*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._server_now = self._running(server) if server else None
        self._place = self._server_now.place() if self._server_now else self.url

    def _running(self, name: str) -> Server:
        if name not in self._servers:
            try:
                self._servers[name] = STARTS[name]()
            except Absent as absent:
                raise Trouble(str(absent)) from absent
        return self._servers[name]

    def drive(self, peer: Peer, measure: str, verb: str, *numbers: float, timeout: float = 120) -> dict[str, Any]:
        """Run a verb of the driver for this peer in its own process; return its report."""
        with self.driving(peer, measure, verb, *numbers, timeout=timeout) as report:
            return report()

    @contextlib.contextmanager
    def driving(
        self, peer: Peer, measure: str, verb: str, *numbers: float, timeout: float = 120
    ) -> Iterator[Callable[[], dict[str, Any]]]:
        """The same while something else goes on; the value waits for the report."""
        command = [sys.executable, "-m", "bench.driver", peer.name, verb, *map(repr, numbers)]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(peer, measure),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def report() -> dict[str, Any]:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                raise Trouble(f"{verb} took more than {timeout:.0f} s") from None
            if process.returncode:
                raise Trouble(f"{verb} failed: {err.strip().splitlines()[-1] if err.strip() else process.returncode}")
            answer: dict[str, Any] = json.loads(out.splitlines()[-1])
            return answer

        try:
            yield report
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    @contextlib.contextmanager
    def workers(self, peer: Peer, measure: str) -> Iterator[Workers]:
        """The peer's workers for this measure, started now and ended afterwards."""
        log = self.folder / "worker.log"
        with log.open("wb") as sink:
            processes = [
                subprocess.Popen(
                    [str(BIN / command[0]), *command[1:]],
                    cwd=self.folder,
                    env=self._environment(peer, measure),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                )
                for command in peer.worker(measure)
            ]
        workers = Workers(processes, log)
        try:
            yield workers
        finally:
            self._stop(processes)

    def _stop(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            # Its session is ours alone: whoever is left of it goes too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _environment(self, peer: Peer, measure: str) -> dict[str, str]:
        mine = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "BENCH_URL": self._place,
            "BENCH_BACKEND": self.url if measure == "rabbitmq-results" else "",
            "BENCH_COUNTER": str(self._counter_folder / "counter"),
            "BENCH_RESULTS": "1" if measure in ("drain-results", "rabbitmq-results", "latency", "canvas") else "",
            "BENCH_SQLITE": str(self.folder / "bench.sqlite3") if "sqlite" in measure else "",
        }
        return {**os.environ, **mine, **peer.environment(measure)}

    def wait_for(self, true: Callable[[], bool], timeout: float, otherwise: str, interval: float = 0.01) -> None:
        """Return as soon as ``true()``; Trouble with ``otherwise`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not true():
            if time.monotonic() > deadline:
                raise Trouble(otherwise)
            time.sleep(interval)

    def redis_commands(self) -> int:
        """How many commands Redis, or requests the server of this measurement, has carried out since ``fresh``; this
        one not counted."""
        if self._server_now is not None:
            return self._server_now.requests()
        stats: dict[str, dict[str, int]] = self.redis.info("commandstats")
        ours = ("info", "flushall", "config", "ping")
        return sum(
            entry["calls"] for name, entry in stats.items() if not name.removeprefix("cmdstat_").startswith(ours)
        )

    def server_cpu(self) -> float:
        """Seconds that the server of this measurement has been on a processor."""
        return on_cpu(self._server.pid) if self._server_now is None else self._server_now.cpu()


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.split()[1]) / 1024**2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "redis": next((word[2:] for word in server.split() if word.startswith("v=")), "unknown"),
    }
