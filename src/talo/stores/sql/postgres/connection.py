"""One connection to PostgreSQL, with a deadline on everything.

Owns connecting (name lookup, TLS and login within a deadline, the code of a refusal), executing, and psycopg itself,
which is imported here only. It is disposable: whatever goes wrong in the middle leaves it not ``clean``, and whoever
has it closes it. Callers: ``database``, ``waker``.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import re
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from talo.errors import ImproperlyConfigured, MissingExtra, OperationalError, StoreUnavailable, TaloError
from talo.stores.sql.postgres._refusals import refusal

try:
    import psycopg
    from psycopg import pq
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.raw_cursor import RawCursor
    from psycopg.rows import tuple_row
    from psycopg.types.array import ListBinaryDumper
    from psycopg.types.numeric import Int8BinaryDumper
except ImportError as error:
    raise MissingExtra("psycopg", "postgres") from error

__all__ = ["Borrowed", "Link", "Runs", "Trouble", "read_conninfo", "translated"]

#: What psycopg raises.
Trouble = psycopg.Error

#: The tables swing between empty and full within seconds, so what the server believes of their size is always wrong:
#: every statement goes by its index. A transaction whose process stands still is ended by the server.
_SETTINGS = """
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off;
SET jit = off; SET plan_cache_mode = force_generic_plan; SET client_min_messages = error;
SET default_transaction_isolation = 'read committed';
SET idle_in_transaction_session_timeout = {idle}; SET statement_timeout = {statement}
"""
_IDLE = 10_000
#: Prepared statements of a connection: all steps, each with the types that its values have.
_PREPARED = 400
#: With these libpq looks at the server's certificate.
_VERIFYING = frozenset({"verify-ca", "verify-full"})
_CODE = re.compile(rb'ErrorResponse.*? C "(\w{5})"')


def read_conninfo(text: str) -> dict[str, str]:
    """Return libpq's options in a URL. Errors: ``ImproperlyConfigured``."""
    try:
        return {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
    except psycopg.Error:
        # Not a word of the URL, and no cause: of one that cannot be read nobody knows where its password is.
        raise ImproperlyConfigured(
            "the postgresql:// URL cannot be read: write postgresql://user:password@host:port/database with / ? # @ in "
            "the password as %2F %3F %23 %40, and after it only options that libpq knows"
        ) from None


def translated(error: psycopg.Error, shown: str, late: type[OperationalError] = StoreUnavailable) -> TaloError:
    """Return our error for psycopg's, told by its code."""
    if error.sqlstate is None and isinstance(error, psycopg.DataError):
        return refusal("22000", str(error), shown)
    return refusal(error.sqlstate, error.diag.message_primary or str(error).strip(), shown, late)


class _Connection(psycopg.Connection[Any]):
    """psycopg's, every wait of which ends at ``until``."""

    until: float = float("inf")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        left = self.until - monotonic()
        return super().wait(gen, interval, left if timeout is None else min(left, timeout))


class Link:
    """One connection. One thread at a time. What it raises besides Talo's errors is ``Trouble``."""

    def __init__(self, conninfo: Mapping[str, str], shown: str, deadline: float, statement: float) -> None:
        """Connect and log in before ``deadline`` (monotonic); no statement runs longer than ``statement`` seconds."""
        self.shown = shown
        self._connection = _Connection(_connected(conninfo, shown, deadline))
        connection = self._connection
        connection._autocommit = True
        connection.prepare_threshold = 0
        connection.prepared_max = _PREPARED
        _adapt(connection)
        # Notifications are read by ``heard``; without a handler they would pile up.
        connection.add_notify_handler(_ignore)
        self._cursor = RawCursor(connection)
        #: Whether it was ever given back in good order, so that it may have died of age.
        self.proven = False
        self.until(deadline)
        try:
            self.script(_SETTINGS.format(idle=_IDLE, statement=max(1, int(statement * 1000))))
        except psycopg.Error as error:
            self.close()
            raise translated(error, shown) from error

    def until(self, deadline: float) -> None:
        """Every wait from now on ends at ``deadline`` (monotonic), and the connection with it."""
        self._connection.until = deadline

    def run(self, text: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]] | None, int]:
        """Execute one statement, prepared; return its rows, if it has any, and how many it concerned."""
        cursor = self._cursor.execute(text.encode(), values, prepare=True, binary=True)
        return (cursor.fetchall() if cursor.description is not None else None), max(0, cursor.rowcount)

    def script(self, text: str) -> list[tuple[Any, ...]]:
        """Execute statements without values in one exchange; return the rows of the last."""
        cursor = self._cursor.execute(text.encode(), prepare=False)
        while cursor.nextset():
            continue
        return cursor.fetchall() if cursor.description is not None else []

    def send(self, text: str) -> None:
        """Send a script and wait for no answer; ``settle`` reads it. Trouble shows there."""
        try:
            self._connection.pgconn.send_query(text.encode())
            self._connection.pgconn.flush()
        except psycopg.Error:
            self.close()

    def settle(self) -> None:
        """Read what is still to come of what was sent."""
        pgconn = self._connection.pgconn
        poller = select.poll()
        poller.register(pgconn.socket, select.POLLIN)
        while True:
            while pgconn.is_busy():
                if not poller.poll(max(0.0, self._connection.until - monotonic()) * 1000):
                    raise psycopg.OperationalError("no answer in time")
                pgconn.consume_input()
            if pgconn.get_result() is None:
                return

    def heard(self) -> bool:
        """Take the notifications that have come; whether there were any."""
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        found = False
        while pgconn.notifies() is not None:
            found = True
        return found

    def fileno(self) -> int:
        """Its descriptor."""
        return self._connection.fileno()

    @property
    def clean(self) -> bool:
        """Whether it is between two transactions and in order."""
        return not self._connection.closed and self._connection.pgconn.transaction_status == pq.TransactionStatus.IDLE

    @property
    def broken(self) -> bool:
        """Whether the connection itself is gone or in the middle of something."""
        return self._connection.closed or self._connection.pgconn.transaction_status in (
            pq.TransactionStatus.UNKNOWN,
            pq.TransactionStatus.ACTIVE,
        )

    def close(self) -> None:
        """Drop it. Idempotent."""
        self._connection.close()


class Runs(Protocol):
    """What steps run over: a connection of our own, or the caller's."""

    def run(self, text: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]] | None, int]:
        """Execute one statement; return its rows, if it has any, and how many it concerned."""
        ...


class Borrowed:
    """A connection of the caller's, in whose transaction steps run; how it makes rows or values is left alone.

    psycopg's own, or an SQLAlchemy ``Connection`` or ``Session`` over it.
    """

    def __init__(self, given: object, shown: str) -> None:
        connection = _driver(given)
        if isinstance(connection, psycopg.AsyncConnection) or not isinstance(connection, psycopg.Connection):
            kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
            raise ImproperlyConfigured(
                f"{shown} is joined by psycopg's Connection or SQLAlchemy's Connection or Session, not by {kind}"
            )
        if connection.closed:
            raise ImproperlyConfigured("the connection is closed")
        if connection.autocommit and connection.info.transaction_status == pq.TransactionStatus.IDLE:
            raise ImproperlyConfigured("the connection commits by itself: begin a transaction on it first")
        self._cursor: RawCursor[Any] = RawCursor(connection, row_factory=tuple_row)
        _adapt(self._cursor)

    def run(self, text: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]] | None, int]:
        """As of ``Link``, not prepared: between the caller and the server may be who cannot."""
        cursor = self._cursor.execute(text.encode(), values, prepare=False, binary=True)
        return (cursor.fetchall() if cursor.description is not None else None), max(0, cursor.rowcount)


def _driver(given: Any) -> Any:
    """The driver's connection in SQLAlchemy's, after its transaction has begun; anything else as it is."""
    if type(given).__module__.partition(".")[0] != "sqlalchemy":
        return given
    if callable(getattr(given, "connection", None)):  # a Session
        given = given.connection()
    if not hasattr(given, "exec_driver_sql"):
        return given
    if not given.in_transaction():
        given.exec_driver_sql("SELECT 1")  # begins one as its first statement would
    return given.connection.driver_connection


def _adapt(context: Any) -> None:
    """Let numbers have one type whatever their size, and lists go as bytes."""
    context.adapters.register_dumper(int, Int8BinaryDumper)
    context.adapters.register_dumper(list, ListBinaryDumper)


def _ignore(_: object) -> None:
    return None


def _connected(conninfo: Mapping[str, str], shown: str, deadline: float) -> pq.abc.PGconn:
    """Return a connection of libpq's that is logged in. Errors: as of ``refusal``, by the code that the server gave.

    libpq keeps that code for itself, so the exchange is traced into memory of our own until the login is over.
    """
    text = make_conninfo(**conninfo).encode()
    with os.fdopen(os.memfd_create("talo-login"), "rb") as trace:
        pgconn = _within(deadline, lambda: pq.PGconn.connect_start(text), conninfo.get("host", ""), shown)
        try:
            pgconn.trace(trace.fileno())
            _log_in(pgconn, shown, deadline)
            pgconn.untrace()
            pgconn.nonblocking = 1
            return pgconn
        except BaseException as error:
            pgconn.untrace()
            reason = pgconn.get_error_message().strip() if isinstance(error, psycopg.Error) else ""
            pgconn.finish()
            if not isinstance(error, psycopg.Error):
                raise
            trace.seek(0)
            found = _CODE.search(trace.read())
            code = found[1].decode() if found else None
            reason = reason.partition("\n")[0]
            if code is None and conninfo.get("sslmode") in _VERIFYING:
                # libpq has no code for it: a certificate that is not trusted looks like any lost connection.
                reason += "; is it the certificate, name its authority with sslrootcert in the URL"
            raise refusal(code, f"cannot connect: {reason}", shown) from error


def _log_in(pgconn: pq.abc.PGconn, shown: str, deadline: float) -> None:
    wants: int = pq.PollingStatus.WRITING
    while wants != pq.PollingStatus.OK:
        if wants == pq.PollingStatus.FAILED or pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError("refused")
        poller = select.poll()
        poller.register(pgconn.socket, select.POLLIN if wants == pq.PollingStatus.READING else select.POLLOUT)
        if not poller.poll(max(0.0, deadline - monotonic()) * 1000):
            raise StoreUnavailable(f"{shown} did not answer in time")
        wants = pgconn.connect_poll()


def _within(deadline: float, call: Callable[[], pq.abc.PGconn], host: str, shown: str) -> pq.abc.PGconn:
    """Return what ``call`` returns, which may look up a name for as long as it likes."""
    if _needs_no_lookup(host):
        return call()
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(call())
        except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that asked
            answers.put(error)

    threading.Thread(target=run, name="talo-postgres-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - monotonic()))
    except queue.Empty as error:
        raise StoreUnavailable(f"the name of {shown} was not found in time") from error
    if isinstance(answer, BaseException):
        raise answer
    found: pq.abc.PGconn = answer
    return found


def _needs_no_lookup(host: str) -> bool:
    if not host or host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
