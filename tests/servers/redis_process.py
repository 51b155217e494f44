"""One Redis server as a process of a test: started from the installed binary on a private port.

Without the binary a test is skipped, in CI it fails. The fixtures that hand servers out are ``redis``'s.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import ServerProcess

__all__ = ["DATABASES", "RedisServer", "binary", "command"]

#: Tests draw their databases from so many.
DATABASES = 512


def binary() -> str:
    """The server's executable; without one the test is skipped, in CI it fails."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return path
    message = "no redis-server is installed: apt-get install redis-server"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def command(
    port: int, *words: str | bytes, db: int = 0, password: str | None = None, timeout: float = 5, select: bool = True
) -> bytes:
    """The raw beginning of the reply to one command, over a connection beside the client under test."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        lines = [("AUTH", password)] if password else []
        lines += [("SELECT", str(db)), words] if select else [words]
        reply = b""
        for line in lines:
            parts = [word.encode() if isinstance(word, str) else word for word in line]
            sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
            reply = sock.recv(1 << 16)
        return reply


class RedisServer(ServerProcess):
    """One server process on a port of its own, with its data in a directory of its own.

    ``options`` become configuration lines. ``durable``: every write is on the disk before it is answered.
    """

    def __init__(self, *, durable: bool = False, **options: Any) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="talo-redis-"))
        self.password: str | None = options.get("requirepass")
        self.options = {"databases": DATABASES, "save": "", **options}
        if durable:
            self.options |= {"appendonly": "yes", "appendfsync": "always"}

    def words(self, port: int) -> list[str]:
        words = [binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        words += ["--logfile", str(self.directory / "log"), "--unixsocket", str(self.directory / "socket")]
        for name, value in self.options.items():
            words += [f"--{name.replace('_', '-')}", *(str(value).split() or [""])]
        return words

    def answers(self, port: int, pid: int) -> bool:
        reply = command(port, "INFO", password=self.password)
        return b"process_id:%d\r\n" % pid in reply and b"\r\nloading:0\r\n" in reply

    @property
    def url(self) -> str:
        """Its database 0."""
        return self.url_of(0)

    def url_of(self, db: int, login: str | None = None) -> str:
        """One of its databases; for somebody else, if there is a ``login`` (user:password)."""
        login = f":{self.password}" if login is None and self.password else login
        return f"redis://{login}@127.0.0.1:{self.port}/{db}" if login else f"redis://127.0.0.1:{self.port}/{db}"

    @property
    def socket_url(self) -> str:
        """Its database 0 over its local socket."""
        return f"redis+socket://{self.directory / 'socket'}"

    def command(self, *words: str | bytes, db: int = 0) -> bytes:
        """The raw reply to one command."""
        return command(self.port, *words, db=db, password=self.password)

    @property
    def ports(self) -> list[int]:
        """Where it is asked: everything is in one place."""
        return [self.port]

    def appended(self) -> bytes:
        """All that was ever written to a durable one."""
        return b"".join(path.read_bytes() for path in self.directory.rglob("*.aof") if path.is_file())
