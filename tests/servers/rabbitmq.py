"""Real RabbitMQ servers for tests: started from the installed programs, with nothing shared with any other broker.

``RabbitServer`` is one node with its own name, data, ports and its own port mapper, which a test may stop, kill, pause
and start again on the same ports and data. The fixtures: ``rabbit_server`` is one for the whole run, not to be harmed,
in which ``rabbit_url`` gives every test a virtual host of its own; ``own_rabbit`` is one for a single test to do
anything to. Starting takes seconds, so it happens when the first test asks. Without the programs a test is skipped, in
CI it fails.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.servers.proxy import Proxy
from tests.servers.shared import lent
from tests.support import eventually

__all__ = ["RabbitServer", "own_rabbit", "rabbit_server", "rabbit_url"]

_HOMES = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/rabbitmq/sbin")
#: Only what the broker itself needs; the management interface would double the time it takes to start.
_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
loopback_users = none
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 1MB
raft.wal_max_size_bytes = 64000000
{more}
"""


#: By which its clients are known to be its own.
_COOKIE = "TALOTESTS"
#: Numbers of virtual hosts; other processes make theirs under names of their own.
_numbers = itertools.count(1)


def _program(name: str) -> str:
    # Distributions wrap the programs so that they run as a user of their own; the originals stand in the home.
    for home in _HOMES:
        if (path := Path(home, name)).exists():
            return str(path)
    if path := shutil.which(name):
        return path
    message = "no rabbitmq-server is installed: apt-get install rabbitmq-server"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


class RabbitServer:
    """One node. ``more`` are further lines of its configuration."""

    #: Whether this is a copy of a node that others use, too, and that somebody else ends.
    _lent = False

    def __init__(self, more: str = "") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="talo-rabbit-"))
        self.port, self._dist, self._epmd = _free_ports(3)
        self._group: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        config = self.directory / "rabbitmq.conf"
        config.write_text(_CONFIG.format(port=self.port, more=more))
        (self.directory / "enabled_plugins").write_text("[].\n")
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text(_COOKIE)
        cookie.chmod(0o400)
        self._env = {
            **os.environ,
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"talo{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "none"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # One scheduler: the machine is shared with the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_group": None, "_mapper": None, "_lent": True}

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self) -> RabbitServer:
        """Start it, or start it again on the same ports with the data that it kept; returns when it answers."""
        server, epmd = _program("rabbitmq-server"), shutil.which("epmd")
        if self._mapper is None and epmd is not None:
            self._mapper = self._spawn([epmd, "-port", str(self._epmd), "-address", "127.0.0.1"])
        (self.directory / "pid").unlink(missing_ok=True)
        self._group = self._spawn([server])

        def answers() -> None:
            assert self._group is not None
            if self._group.poll() is not None:
                raise RuntimeError(f"rabbitmq-server does not start: {self._log()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                    sock.sendall(b"AMQP\0\0\x09\x01")
                    assert sock.recv(1) == b"\x01"
                self._pid = int((self.directory / "pid").read_text())
            except (OSError, ValueError) as error:
                raise AssertionError(self._log()) from error

        eventually(answers, timeout=120, interval=0.1)
        return self

    def _spawn(self, words: list[str]) -> subprocess.Popen[bytes]:
        with open(self.directory / "output", "ab") as output:
            return subprocess.Popen(
                words,
                env=self._env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _log(self) -> str:
        return (self.directory / "output").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End it in good order. Idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would. Idempotent."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        assert not self._lent, "others use it, too"
        group, self._group = self._group, None
        if group is None:
            return
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)
                os.kill(self._pid, signal.SIGCONT)
        try:
            group.wait(60 if number == signal.SIGTERM else 20)
        except subprocess.TimeoutExpired:
            os.killpg(group.pid, signal.SIGKILL)
            group.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)
        self._pid = None

    def pause(self) -> None:
        """Stop it as it is (SIGSTOP): connections stay up and nothing answers."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGCONT)

    def proxy(self) -> Proxy:
        """One in front of it, not started yet."""
        return Proxy("127.0.0.1", self.port)

    def restart(self) -> None:
        """Kill and start."""
        self.kill()
        self.start()

    def remember(self) -> None:
        """Stop in good order and start: only then has RabbitMQ 3.10 written down for good which quorum queues there
        are: it saves that every few minutes. One that is killed before loses the queue, and all that it confirmed."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Kill it and its port mapper, and delete its data."""
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- asking and telling ---------------------------------------------------------------------------------------

    def ctl(self, *words: str, timeout: float = 60) -> str:
        """Run ``rabbitmqctl`` on it and return what it printed."""
        done = subprocess.run(
            [_program("rabbitmqctl"), "-q", *words],
            env=self._env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout

    def eval(self, expression: str) -> str:
        """Evaluate Erlang expressions on the node; the value of the last. Takes a hundredth of what ``ctl`` does."""
        done = subprocess.run(
            [_program("erl_call"), "-R", "-address", f"127.0.0.1:{self._dist}", "-c", _COOKIE, "-e"],
            input=expression.removesuffix(".") + ".\n",
            env=self._env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told = done.stdout.strip()
        assert done.returncode == 0 and told.startswith("{ok, "), done.stderr or told
        return told.removeprefix("{ok, ").removesuffix("}")

    def new_vhost(self) -> str:
        """A virtual host that nobody has used."""
        name = f"t{os.getpid()}-{next(_numbers)}"
        self.eval(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"t">>), ok = rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"t">>).'
        )
        return name

    def end_connections(self, times: int = 1, pause: float = 0.15) -> None:
        """End every connection from the server's side, so many times."""
        end_all = '[catch rabbit_networking:close_connection(C, <<"a test">>) || C <- rabbit_networking:connections()]'
        self.eval(f"[begin {end_all}, timer:sleep({round(pause * 1000)}) end || _ <- lists:seq(1, {times})], ok.")

    @property
    def url(self) -> str:
        """Its virtual host ``/``."""
        return self.url_of()

    def url_of(self, vhost: str = "/", *, port: int | None = None, user: str = "guest", password: str = "guest") -> str:
        """One of its virtual hosts; ``port`` of a proxy in front of it."""
        return f"amqp://{user}:{password}@127.0.0.1:{port or self.port}/{quote(vhost, safe='')}"


@pytest.fixture(scope="session")
def rabbit_server(pytestconfig: pytest.Config) -> RabbitServer:
    """One node for all tests that do it no harm."""
    return lent(pytestconfig, RabbitServer)


@pytest.fixture
def rabbit_url(rabbit_server: RabbitServer) -> str:
    """An empty virtual host of the run's node."""
    return rabbit_server.url_of(rabbit_server.new_vhost())


@pytest.fixture
def own_rabbit() -> Iterator[RabbitServer]:
    """A node that this test may kill, pause and restart."""
    server = RabbitServer()
    try:
        yield server.start()
    finally:
        server.remove()
