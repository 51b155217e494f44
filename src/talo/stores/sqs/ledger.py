"""Who on this machine holds what: the ledger that the processes of a worker share.

Owns a small SQLite file in the temporary directory: owners, and their deliveries with receipts. It needs to survive
processes, not the machine: then every visibility ends by itself. Times are monotonic seconds of this boot. Called by
``broker``."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from talo.errors import LeaseLost, StoreUnavailable
from talo.stores.records import Renewal
from talo.util.files import make

__all__ = ["Held", "Ledger", "OwnerRow", "place_of"]

log = logging.getLogger(__name__)

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, worker TEXT, slots INTEGER, ends REAL) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS leases (token INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL,
    queue TEXT NOT NULL, receipt TEXT NOT NULL, raw BLOB NOT NULL, deliveries INTEGER, suspect INTEGER, until REAL,
    message TEXT NOT NULL DEFAULT '', receptions INTEGER NOT NULL DEFAULT 1)""",
    "CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS leases_owner ON leases (owner, token)",
)
#: Columns that a file of an earlier release has not: releases share it while a machine is upgraded.
_ADDED = {"message": "TEXT NOT NULL DEFAULT ''", "receptions": "INTEGER NOT NULL DEFAULT 1"}
_FIELDS = "token, owner, queue, receipt, raw, deliveries, suspect, until, message, receptions"
_WITHOUT_RAW = _FIELDS.replace("raw", "x''")
_ENTER = f"INSERT INTO leases ({_FIELDS.partition(', ')[2]}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Held(NamedTuple):
    """A delivery that somebody holds; ``until``: when its visibility ends. ``message``: SQS's id, which it keeps when
    it goes back as it is; ``receptions``: how often SQS has given it out, this time included."""

    token: int
    owner: str
    queue: str
    receipt: str
    raw: bytes
    deliveries: int
    suspect: bool
    until: float
    message: str
    receptions: int


class OwnerRow(NamedTuple):
    """An open owner."""

    owner: str
    worker: str
    slots: int
    ends: float
    held: int


def place_of(identity: Sequence[str]) -> Path:
    """The file for one place of SQS, this user and this boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    digest = hashlib.sha256("\0".join((*identity, boot)).encode()).hexdigest()[:20]
    return Path(tempfile.gettempdir()) / f"talo-sqs-{os.getuid()}" / f"{digest}.sqlite3"


class Ledger:
    """The ledger of one place. Every method is one transaction; a connection per process."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.RLock()
        self._pid = 0
        self._connection: sqlite3.Connection | None = None

    # -- owners ---------------------------------------------------------------------------------------------------

    def open(self, owner: str, worker: str, slots: int, lease: float) -> None:
        """See ``Broker.open``."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO owners VALUES (?, ?, ?, ?) ON CONFLICT (owner) DO UPDATE SET ends = excluded.ends, "
                "worker = excluded.worker, slots = excluded.slots",
                (owner, worker, slots, time.monotonic() + lease),
            )

    def renew(self, owners: Sequence[str], lease: float) -> Renewal:
        """See ``Broker.renew``."""
        gone = []
        with self._transaction() as db:
            for owner in owners:
                done = db.execute("UPDATE owners SET ends = ? WHERE owner = ?", (time.monotonic() + lease, owner))
                if not done.rowcount:
                    gone.append(owner)
            [first] = db.execute("SELECT min(ends) FROM owners").fetchone()
        return Renewal(gone, None if first is None else first - time.monotonic())

    def is_open(self, owner: str) -> bool:
        """Whether it was opened, and neither closed nor taken over since."""
        with self._transaction() as db:
            return db.execute("SELECT 1 FROM owners WHERE owner = ?", (owner,)).fetchone() is not None

    def owners(self) -> list[OwnerRow]:
        """Every open owner, the earliest end first."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT owner, worker, slots, ends, (SELECT count(*) FROM leases WHERE leases.owner = owners.owner) "
                "FROM owners ORDER BY ends"
            ).fetchall()
        return [OwnerRow(*row) for row in rows]

    def close_owner(self, owner: str) -> None:
        """Forget an owner that holds nothing."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM owners WHERE owner = ?1 AND NOT EXISTS (SELECT 1 FROM leases WHERE owner = ?1)", (owner,)
            )

    def note_queue(self, name: str) -> None:
        """This queue is used on this machine. Who only sends may be without a ledger."""
        try:
            with self._transaction() as db:
                db.execute("INSERT OR IGNORE INTO queues VALUES (?)", (name,))
        except StoreUnavailable as error:
            log.info("the queue %s is not noted: %s", name, error, extra={"action": "ledger", "queue": name})

    def queues(self) -> list[str]:
        """Those that were noted, sorted."""
        with self._transaction() as db:
            return [name for (name,) in db.execute("SELECT name FROM queues ORDER BY name").fetchall()]

    # -- what they hold -------------------------------------------------------------------------------------------

    def enter(self, owner: str, received: Sequence[Held]) -> list[Held]:
        """Note what an open owner has received; the same with tokens. ``LeaseLost`` if it is not open."""
        entered = []
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM owners WHERE owner = ?", (owner,)).fetchone() is None:
                raise LeaseLost(f"owner {owner} is not open")
            for held in received:
                cursor = db.execute(_ENTER, (owner, *held[2:]))
                assert cursor.lastrowid is not None
                entered.append(held._replace(token=cursor.lastrowid, owner=owner))
        return entered

    def find(self, leases: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Held]:
        """Those of these (owner, token) that are held."""
        found = {}
        with self._transaction() as db:
            for owner, token in leases:
                row = db.execute(
                    f"SELECT {_FIELDS} FROM leases WHERE token = ? AND owner = ?",
                    (token, owner),
                ).fetchone()
                if row is not None:
                    found[owner, token] = _held(row)
        return found

    def held(self, owner: str) -> list[Held]:
        """What it holds, in the order of tokens."""
        with self._transaction() as db:
            query = f"SELECT {_FIELDS} FROM leases WHERE owner = ? ORDER BY token"
            return [_held(row) for row in db.execute(query, (owner,)).fetchall()]

    def fading(self, owners: Sequence[str], before: float) -> list[Held]:
        """What these hold and whose visibility ends before that; without the messages."""
        found: list[Held] = []
        with self._transaction() as db:
            for owner in owners:
                rows = db.execute(
                    f"SELECT {_WITHOUT_RAW} FROM leases WHERE owner = ? AND until < ?",
                    (owner, before),
                ).fetchall()
                found += [_held(row) for row in rows]
        return found

    def extend(self, tokens: Sequence[int], until: float) -> None:
        """Their visibility ends then."""
        with self._transaction() as db:
            db.executemany("UPDATE leases SET until = ? WHERE token = ?", [(until, token) for token in tokens])

    def forget(self, tokens: Sequence[int]) -> None:
        """They have ended, or are lost to us."""
        with self._transaction() as db:
            db.executemany("DELETE FROM leases WHERE token = ?", [(token,) for token in tokens])

    def take_over(self, owner: str, by: str, limit: int, *, expired: bool) -> list[tuple[int, Held]]:
        """Former token and delivery of what ``by`` holds now instead of ``owner``, the oldest first. What SQS may have
        given to others already is forgotten. ``LeaseLost`` if ``by`` is not open."""
        now = time.monotonic()
        moved: list[tuple[int, Held]] = []
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM owners WHERE owner = ?", (by,)).fetchone() is None:
                raise LeaseLost(f"owner {by} is not open")
            ends = db.execute("SELECT ends FROM owners WHERE owner = ?", (owner,)).fetchone()
            if owner == by or (expired and (ends is None or ends[0] > now)):
                return []
            db.execute("DELETE FROM leases WHERE owner = ? AND until <= ?", (owner, now))
            query = f"SELECT {_FIELDS} FROM leases WHERE owner = ? ORDER BY token LIMIT ?"
            for row in db.execute(query, (owner, limit)).fetchall():
                held = _held(row)
                db.execute("DELETE FROM leases WHERE token = ?", (held.token,))
                cursor = db.execute(_ENTER, (by, *held[2:]))
                assert cursor.lastrowid is not None
                moved.append((held.token, held._replace(token=cursor.lastrowid, owner=by)))
            db.execute(
                "DELETE FROM owners WHERE owner = ?1 AND NOT EXISTS (SELECT 1 FROM leases WHERE owner = ?1)", (owner,)
            )
        return moved

    # -- the file -------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                db = self._connected()
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the ledger {self._path} cannot be used: {error}") from error

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                make(self._path)
        except OSError as error:
            raise StoreUnavailable(f"the ledger {self._path} cannot be made: {error}") from error
        db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        # What a power cut takes is worth nothing afterwards.
        db.execute("PRAGMA synchronous = OFF")
        for statement in _SCHEMA:
            db.execute(statement)
        _add_columns(db)
        self._connection, self._pid = db, os.getpid()
        return db

    def close(self) -> None:
        """Close the file. Idempotent; the next use opens it again."""
        with self._lock:
            db, self._connection = self._connection, None
            if db is not None and self._pid == os.getpid():
                db.close()


def _add_columns(db: sqlite3.Connection) -> None:
    """Make a file of an earlier release one of this."""
    db.execute("BEGIN IMMEDIATE")
    there = {name for _, name, *_ in db.execute("PRAGMA table_info (leases)").fetchall()}
    for name, kind in _ADDED.items():
        if name not in there:
            db.execute(f"ALTER TABLE leases ADD COLUMN {name} {kind}")
    db.execute("COMMIT")


def _held(row: tuple[int, str, str, str, bytes, int, int, float, str, int]) -> Held:
    token, owner, queue, receipt, raw, deliveries, suspect, until, message, receptions = row
    return Held(token, owner, queue, receipt, raw, deliveries, bool(suspect), until, message, receptions)
