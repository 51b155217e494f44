"""One connection to Redis: a socket, hiredis on both its sides, and a deadline on everything.

Owns connecting (name lookup, TLS, HELLO, AUTH, SELECT), packing, writing, reading, and setting push messages aside.
It is disposable: whatever goes wrong in the middle closes it. Knows nothing of queues or results. Called by ``pool``,
``wake``, ``listener`` and ``bus``.

hiredis is imported here only; redis-py's extra brings it.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, NamedTuple

from talo.errors import ImproperlyConfigured, MissingExtra, StoreUnavailable
from talo.stores.redis._refusals import Refusal, as_error
from talo.stores.redis.address import Address
from talo.stores.redis.place import Place
from talo.stores.tls import untrusted

try:
    from hiredis import HiredisError, PushNotification, Reader, pack_command
except ImportError as error:
    raise MissingExtra("hiredis", "redis") from error

__all__ = ["Connecting", "Connection", "DeadlinePassed", "Part", "pack", "poll", "set_name_lookup"]

#: What a command is made of.
Part = bytes | str | int | float

_NOTHING: Final = Ellipsis
#: The first with RPOP of several and ZRANGE BYSCORE.
_OLDEST = [6, 2]
_CHUNK = 1 << 17
#: Writes longer than this go out in pieces, so that a peer that reads slowly cannot stretch the deadline.
_PIECE = 1 << 18
#: Parts from which on a command is joined here. hiredis grows its buffer with every part, and a large one is moved to
#: do so: a thousand messages of 1 KiB cost it 1.7 ms, joining them 0.2.
_LONG = 64
#: How far the socket's own timeout may differ from the deadline before a system call is spent on setting it.
_SLACK = 0.05


class DeadlinePassed(StoreUnavailable):
    """The peer did not do it in time."""


def pack(*command: Part) -> bytes:
    """``command`` as it goes over the wire."""
    if len(command) < _LONG:
        return pack_command(command)  # type: ignore[no-any-return,arg-type]
    pieces = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if type(part) is bytes else _as_bytes(part)
        pieces += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(pieces)


def _as_bytes(part: Part) -> bytes:
    if isinstance(part, str):
        return part.encode()
    if isinstance(part, int | float):
        return repr(part).encode()
    if isinstance(part, bytes):
        return part
    raise TypeError(f"no part of a command: {part!r}")


class Connecting(NamedTuple):
    """How connections are made: what the server calls them, and seconds to reach it (None: the operation's)."""

    name: str = "talo"
    timeout: float | None = None


class Connection:
    """A socket that speaks RESP3. Invariant: it is either between two commands, or closed.

    One thread at a time; ``poll`` and ``shutdown`` may be called beside it.
    """

    def __init__(self, place: Place, made: Connecting = Connecting()) -> None:
        self._place = place
        self._made = made
        #: Where it is connected, or was.
        self.address: Address | None = None
        self._epoch = 0
        self._sock: socket.socket | None = None
        self._reader: Any = None
        self._armed = 0.0
        self._buffer = bytearray(_CHUNK)
        self._view = memoryview(self._buffer)
        #: Replies that are still to come; a connection that is given back with some is in the middle of something.
        self.owed = 0
        #: When it was last known to be alive, monotonic.
        self.used = 0.0
        #: Whether the server was asked to tell of changed keys; None: it refused.
        self.tracking: bool | None = False
        #: How many changes of keys that matter it has told of.
        self.stirs = 0
        #: Called with each push message, in the order in which they came.
        self.on_push: Callable[[Sequence[Any]], None] = _ignore

    # -- opening and closing --------------------------------------------------------------------------------------

    def connect(self, deadline: float) -> None:
        """Reach the server, wherever it is, and log in before ``deadline`` (monotonic). ``StoreUnavailable``,
        ``ImproperlyConfigured``."""
        place = self._place
        for left in range(place.tries, 0, -1):
            self._epoch = place.epoch
            address = self.address = place.find(deadline)
            until = monotonic() + (deadline - monotonic()) / left
            try:
                self._log_in(address, until)
                return
            except StoreUnavailable:
                place.doubt(address)
                if left == 1 or monotonic() >= deadline:
                    raise

    def _log_in(self, address: Address, deadline: float) -> None:
        patience = self._made.timeout
        self._sock = self._reach(address, deadline if patience is None else min(deadline, monotonic() + patience))
        self._reader = Reader(replyError=Refusal, notEnoughData=_NOTHING)
        self._armed = -1.0
        hello: list[Part] = ["HELLO", 3]
        if address.password is not None:
            hello += ["AUTH", address.username or "default", address.password]
        hello += ["SETNAME", self._made.name]
        commands = [pack(*hello)]
        if address.db:
            commands.append(pack("SELECT", address.db))
        try:
            replies = self.exchange(b"".join(commands), len(commands), deadline)
            for reply in replies:
                if isinstance(reply, Refusal):
                    raise as_error(reply, address.shown) from reply
            _check(replies[0], self._place, address)
        except BaseException:
            self.close()
            raise

    @property
    def stale(self) -> bool:
        """Whether the server has turned out to be elsewhere since."""
        return self._epoch != self._place.epoch

    @property
    def _shown(self) -> str:
        return self._place.shown if self.address is None else self.address.shown

    def _reach(self, where: Address, deadline: float) -> socket.socket:
        if where.path is not None:
            targets: list[tuple[int, Any]] = [(socket.AF_UNIX, where.path)]
        else:
            targets = _resolve(where.host, where.port, deadline)
        trouble: OSError | None = None
        for at, (family, target) in enumerate(targets):
            left = deadline - monotonic()
            if left <= 0:
                break
            try:
                return self._dial(where, family, target, left / (len(targets) - at))
            except ssl.SSLCertVerificationError as error:
                raise untrusted(where.shown, error) from error
            except OSError as error:
                trouble = error
        if trouble is None or isinstance(trouble, TimeoutError):
            raise DeadlinePassed(f"{where.shown} did not answer in time") from trouble
        _forget_name(where.host, where.port)
        raise StoreUnavailable(f"{where.shown} cannot be reached: {trouble}") from trouble

    def _dial(self, where: Address, family: int, target: Any, timeout: float) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(target)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if where.tls is not None:
                return where.tls.wrap_socket(sock, server_hostname=where.host)
            return sock
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Drop it. Idempotent."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def shutdown(self) -> None:
        """End it from beside: whoever reads or polls it comes back at once; closing it stays with them."""
        if self._sock is not None:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it was broken already

    @property
    def closed(self) -> bool:
        """Whether it was dropped."""
        return self._sock is None

    def fileno(self) -> int:
        """Its descriptor, -1 when it is closed."""
        return self._sock.fileno() if self._sock is not None else -1

    # -- talking --------------------------------------------------------------------------------------------------

    def exchange(self, data: bytes, count: int, deadline: float) -> list[Any]:
        """Write ``data``, return its ``count`` replies; refusals stand among them as ``Refusal``.
        ``StoreUnavailable``."""
        self.owed = count
        self.write(data, deadline)
        replies = []
        for _ in range(count):
            replies.append(self.read(deadline))
            self.owed -= 1
        return replies

    def call(self, data: bytes, deadline: float) -> Any:
        """Write one packed command, return its reply; a refusal is raised as Talo's error."""
        self.owed = 1
        self.write(data, deadline)
        reply = self.read(deadline)
        self.owed = 0
        if reply.__class__ is Refusal:
            raise as_error(reply, self._shown) from reply
        return reply

    def write(self, data: bytes, deadline: float) -> None:
        """Write all of ``data`` before ``deadline``, or close."""
        sock = self._sock
        if sock is None:
            raise StoreUnavailable(f"the connection to {self._shown} is closed")
        try:
            if len(data) <= _PIECE:
                self._arm(sock, deadline)
                sock.sendall(data)
                return
            rest = memoryview(data)
            while rest:
                self._arm(sock, deadline)
                rest = rest[sock.send(rest[:_PIECE]) :]
        except (OSError, DeadlinePassed) as error:
            raise self._broken(error) from error

    def read(self, deadline: float) -> Any:
        """The next reply; push messages in front of it go to ``on_push``."""
        reader = self._reader
        while True:
            try:
                reply = reader.gets()
                if reply is _NOTHING:
                    self._receive(deadline)
                    continue
            except (OSError, HiredisError, DeadlinePassed) as error:
                raise self._broken(error) from error
            if reply.__class__ is PushNotification:
                self.on_push(reply)
                continue
            return reply

    def _receive(self, deadline: float) -> None:
        sock = self._sock
        if sock is None:
            raise ConnectionResetError("closed")
        self._arm(sock, deadline)
        size = sock.recv_into(self._buffer)
        if not size:
            raise ConnectionResetError("closed by the server")
        self.used = monotonic()
        self._reader.feed(self._view[:size])

    def _arm(self, sock: socket.socket, deadline: float) -> None:
        left = deadline - monotonic()
        if left <= 0:
            raise DeadlinePassed("the time is over")
        if not -_SLACK < self._armed - left < _SLACK:
            sock.settimeout(left)
            self._armed = left

    def _broken(self, error: Exception) -> StoreUnavailable:
        # Who polls it beside us would not notice that it is closed, but notices its end.
        self.shutdown()
        self.close()
        if isinstance(error, TimeoutError | DeadlinePassed):
            return DeadlinePassed(f"{self._shown} did not answer in time")
        return StoreUnavailable(f"the connection to {self._shown} broke: {error}")

    # -- listening ------------------------------------------------------------------------------------------------

    def drain(self, on_reply: Callable[[Any], None] | None = None) -> int:
        """Take in what has come already, without blocking; return how many replies were among it.

        Pushes go to ``on_push`` and replies to ``on_reply``, in the order in which they came. Call it only when no
        command is under way. ``StoreUnavailable`` if the server has closed.
        """
        sock = self._sock
        if sock is None:
            raise StoreUnavailable(f"the connection to {self._shown} is closed")
        try:
            self._armed = -1.0
            sock.settimeout(0.0)
            while True:
                size = sock.recv_into(self._buffer)
                if not size:
                    raise ConnectionResetError("closed by the server")
                self.used = monotonic()
                self._reader.feed(self._view[:size])
        except (BlockingIOError, ssl.SSLWantReadError):
            return self._parsed(on_reply)
        except OSError as error:
            raise self._broken(error) from error

    def _parsed(self, on_reply: Callable[[Any], None] | None) -> int:
        replies = 0
        while True:
            try:
                reply = self._reader.gets()
            except HiredisError as error:
                raise self._broken(error) from error
            if reply is _NOTHING:
                return replies
            if reply.__class__ is PushNotification:
                self.on_push(reply)
                continue
            replies += 1
            if on_reply is not None:
                on_reply(reply)

    def alive(self) -> bool:
        """Whether an idle connection still stands, as far as this side can know; takes in what came."""
        try:
            return not self.drain()
        except StoreUnavailable:
            return False

    def poll(self, timeout: float, also: Sequence[int] = ()) -> list[int]:
        """Block until it or one of ``also`` is readable, at most ``timeout`` seconds; return the readable
        descriptors."""
        sock = self._sock
        if sock is None:
            return []
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return [sock.fileno()]
        return poll((sock.fileno(), *also), timeout)


def poll(descriptors: Sequence[int], timeout: float) -> list[int]:
    """Those of ``descriptors`` that are readable, after at most ``timeout`` seconds."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return [fd for fd, _ in poller.poll(max(0.0, timeout) * 1000)]


def _check(hello: dict[bytes, Any], place: Place, address: Address) -> None:
    """Whether this is what was looked for."""
    version, mode = hello.get(b"version", b"").decode(), hello.get(b"mode", b"").decode()
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    if numbers and numbers < _OLDEST:
        raise ImproperlyConfigured(f"{address.shown} is Redis {version}: Talo needs 6.2 or newer")
    if mode == "cluster" != place.mode:
        raise ImproperlyConfigured(f"{address.shown} is a node of a cluster: write redis+cluster:// in its URL")
    if place.mode == "cluster" != (mode or "cluster"):
        raise ImproperlyConfigured(f"{address.shown} is no node of a cluster: write redis:// in its URL")
    if place.moves and hello.get(b"role", b"master") != b"master":
        raise StoreUnavailable(f"{address.shown} is a replica")


def _ignore(_push: Sequence[Any]) -> None:
    return None


# -- names ----------------------------------------------------------------------------------------------------------

_lookup: Callable[..., list[Any]] = socket.getaddrinfo
_names: dict[tuple[str, int], list[tuple[int, Any]]] = {}


def set_name_lookup(lookup: Callable[..., list[Any]] | None) -> None:
    """Use ``lookup`` in place of ``socket.getaddrinfo`` (None: back to it), and forget what was looked up."""
    global _lookup
    _lookup = lookup or socket.getaddrinfo
    _names.clear()


def _resolve(host: str, port: int, deadline: float) -> list[tuple[int, Any]]:
    """Addresses of ``host``, looked up in a thread that is left alone when the deadline passes: the resolver knows
    none."""
    known = _names.get((host, port))
    if known is not None:
        return known
    if _is_numeric(host):
        return _looked_up(host, port)
    answers: queue.SimpleQueue[list[tuple[int, Any]] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_looked_up(host, port))
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name="talo-name-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - monotonic()))
    except queue.Empty:
        raise DeadlinePassed(f"the name {host} could not be looked up in time") from None
    if isinstance(answer, OSError):
        raise StoreUnavailable(f"the name {host} cannot be looked up: {answer}") from answer
    _names[host, port] = answer
    return answer


def _looked_up(host: str, port: int) -> list[tuple[int, Any]]:
    return [(found[0], found[4]) for found in _lookup(host, port, 0, socket.SOCK_STREAM)]


def _is_numeric(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _forget_name(host: str, port: int) -> None:
    _names.pop((host, port), None)
