"""One connection to MySQL or MariaDB, with a deadline on everything.

Owns reading the URL, connecting, executing, and PyMySQL itself, which is imported here only. It is disposable: whatever
goes wrong in the middle closes it. Called by ``database``.
"""

from __future__ import annotations

import queue
import ssl
import threading
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from talo.errors import ImproperlyConfigured, MissingExtra, OperationalError, StoreUnavailable, TaloError
from talo.stores.sql.mysql._refusals import GONE, refusal
from talo.stores.tls import tls_context, untrusted

try:
    import pymysql
    from pymysql.constants import SERVER_STATUS
    from pymysql.err import MySQLError
except ImportError as error:
    raise MissingExtra("PyMySQL", "mysql") from error

__all__ = ["Address", "Link", "Trouble", "address", "number_of", "translated"]

#: What PyMySQL raises.
Trouble = MySQLError

_CONNECTIONS = 8
_FORM = "write mysql://user:password@host:port/database"
_OPTIONS = ("max_connections", "ssl_ca", "unix_socket")


@dataclass(frozen=True, slots=True)
class Address:
    """One database on one server."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    unix_socket: str | None = None
    ssl_ca: str | None = None
    max_connections: int = _CONNECTIONS

    @property
    def shown(self) -> str:
        """For people."""
        return f"{self.unix_socket or f'{self.host}:{self.port}'}/{self.database}"


def address(url: str) -> Address:
    """Return the address that a URL means. Errors: ``ImproperlyConfigured``, without the password."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise ImproperlyConfigured(f"the mysql:// URL cannot be read: {_FORM}") from None
    options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ImproperlyConfigured(f"mysql:// has no option {unknown[0]!r} (there is {', '.join(_OPTIONS)})")
    connections = options.get("max_connections", str(_CONNECTIONS))
    if not connections.isdigit() or int(connections) < 1:
        raise ImproperlyConfigured(f"max_connections can be a number from 1 on, not {connections!r}")
    database = urllib.parse.unquote(parts.path.lstrip("/"))
    if not database:
        raise ImproperlyConfigured(f"the mysql:// URL names no database: {_FORM}")
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        database=database,
        user=urllib.parse.unquote(parts.username or ""),
        password=urllib.parse.unquote(parts.password or ""),
        unix_socket=options.get("unix_socket"),
        ssl_ca=options.get("ssl_ca"),
        max_connections=int(connections),
    )


def number_of(error: MySQLError) -> int:
    """The error number; 0 if there is none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def translated(error: MySQLError, shown: str, late: type[OperationalError] = StoreUnavailable) -> TaloError:
    """Return our error for PyMySQL's, told by its number."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    return refusal(number_of(error), text.partition("\n")[0], shown, late)


class Link:
    """One connection. One thread at a time. What it raises besides Talo's errors is ``Trouble``."""

    def __init__(self, where: Address, deadline: float, statement: float) -> None:
        """Connect and log in before ``deadline`` (monotonic); no lock is awaited longer than ``statement`` seconds."""
        self.shown = where.shown
        self.proven = False
        self._deadline = deadline
        self._connection = _within(where, deadline)
        try:
            self.script("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            self.script(f"SET SESSION innodb_lock_wait_timeout = {max(1, int(statement))}, time_zone = '+00:00'")
            #: Between two numbers that the server counts up by itself.
            self.step: int = self.script("SELECT @@auto_increment_increment")[0][0]
        except Trouble as error:
            self.close()
            raise translated(error, self.shown) from error

    def until(self, deadline: float) -> None:
        """Every wait from now on ends at ``deadline`` (monotonic), and the connection with it."""
        self._deadline = deadline

    def run(self, text: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]] | None, int, int]:
        """Execute one statement; return its rows, if it has any, how many it concerned, and the first number that it
        drew."""
        self._arm()
        with self._connection.cursor() as cursor:
            cursor.execute(text, values)
            rows = list(cursor.fetchall()) if cursor.description is not None else None
            return rows, cursor.rowcount, int(cursor.lastrowid or 0)

    def many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each of the rows, several at once where it inserts."""
        self._arm()
        with self._connection.cursor() as cursor:
            cursor.executemany(text, rows)

    def script(self, text: str) -> list[tuple[Any, ...]]:
        """Execute one statement as it stands; return its rows."""
        return self.run(text.replace("%", "%%"), ())[0] or []

    @property
    def clean(self) -> bool:
        """Whether it is between two transactions and in order."""
        status: int = self._connection.server_status  # type: ignore[attr-defined]
        return self._connection.open and not status & SERVER_STATUS.SERVER_STATUS_IN_TRANS

    @property
    def broken(self) -> bool:
        """Whether the connection is gone."""
        return not self._connection.open

    def close(self) -> None:
        """Drop it without a farewell, for which it might have to wait. Idempotent."""
        self._connection._force_close()  # type: ignore[attr-defined]

    def _arm(self) -> None:
        left = max(0.001, self._deadline - monotonic())
        # PyMySQL takes these at connecting only, and reads them at every operation.
        self._connection._read_timeout = self._connection._write_timeout = left  # type: ignore[attr-defined]


class _Connection(pymysql.connections.Connection):
    """PyMySQL's, but it reads the system's certificates only to check one: that takes as long as ten connections."""

    def _create_ssl_ctx(self, options: Any) -> ssl.SSLContext:
        return super()._create_ssl_ctx(options) if options else _unverified()  # type: ignore[misc]


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _within(where: Address, deadline: float) -> pymysql.connections.Connection[Any]:
    """Connect, name lookup included, before the deadline."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        left = max(0.01, deadline - monotonic())
        try:
            answers.put(
                _Connection(
                    host=where.host,
                    port=where.port,
                    user=where.user,
                    password=where.password,
                    database=where.database,
                    unix_socket=where.unix_socket,
                    ssl=tls_context({"ssl_ca_certs": where.ssl_ca}) if where.ssl_ca else None,
                    charset="utf8mb4",
                    autocommit=True,
                    connect_timeout=left,
                    read_timeout=left,
                    write_timeout=left,
                    program_name="talo",
                )
            )
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that asked
            answers.put(error)

    threading.Thread(target=run, name="talo-mysql-connect", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - monotonic()) + 0.05)
    except queue.Empty as error:
        raise StoreUnavailable(f"{where.shown} did not answer in time") from error
    if isinstance(answer, MySQLError):
        cause = getattr(answer, "original_exception", None)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise untrusted(where.shown, cause, "ssl_ca in the URL") from answer
        if number_of(answer) in GONE or number_of(answer) in (2002, 2003):
            raise StoreUnavailable(f"{where.shown} cannot be reached: {answer.args[-1]}") from answer
        raise translated(answer, where.shown) from answer
    if isinstance(answer, BaseException):
        raise answer
    found: pymysql.connections.Connection[Any] = answer
    return found
