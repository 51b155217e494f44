"""The worker's HTTP: ``/livez``, ``/readyz`` and ``/metrics``, from the agent, where ``worker_http`` says.

Owns the address, the server (a thread, few connections at a time, each for a few seconds) and the rules of being
alive and ready; what is measured is ``worker.metrics``'s. It only reads, and asks for no password: it tells names of
tasks and queues, and numbers. Loaded only where it is asked for: by the agent, and by ``main`` for
``check_address``."""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from talo.errors import ImproperlyConfigured, MissingExtra, OperationalError, StoreError
from talo.worker.board import Board
from talo.worker.metrics import Metrics
from talo.worker.share import Common, Share

if TYPE_CHECKING:
    from talo.app.app import Talo
    from talo.worker.node import WorkerNode
    from talo.worker.options import WorkerOptions

__all__ = ["Health", "HealthServer", "check_address"]

log = logging.getLogger("talo.worker")

#: Seconds in which the broker has to answer a ping for the worker to be ready, and for which an answer holds.
_PING, _PING_HOLDS = 2.0, 1.0
#: Seconds by which a process may ask for work later than it said.
_SILENT = 5.0
#: Seconds without a round of the agent after which it is stuck, at least so many times what one of its operations may
#: take.
_STUCK, _OPERATIONS = 60.0, 6
#: Connections at a time, and seconds after which one is cut.
_MOST, _LONGEST = 8, 10.0
#: Seconds between two tries to get the address, when the agent before this one still holds it.
_AGAIN = 1.0


def check_address(address: tuple[str, int]) -> None:
    """Try whether a server may listen there; ``ImproperlyConfigured`` says why not."""
    try:
        _Server(address, lambda *_: None).server_close()
    except OSError as exc:
        host, port = address
        mend = "give each worker of a machine its own port" if exc.errno == errno.EADDRINUSE else "choose another"
        raise ImproperlyConfigured(f"worker_http {host}:{port} cannot be listened on: {exc.strerror}; {mend}") from exc


class Health:
    """Whether this worker lives and is ready. ``tick`` is called by the agent on each of its rounds."""

    def __init__(self, app: Talo, shares: Sequence[Share], common: Common, node: WorkerNode) -> None:
        self._store = app.store
        self._patience = max(_STUCK, _OPERATIONS * app.conf.store_timeout)
        self._shares = shares
        self._common = common
        self._node = node
        self._ticked = time.monotonic()
        self._orphaned = False
        self._lock = threading.Lock()
        self._answered = (0.0, "")

    def tick(self, now: float, *, orphaned: bool) -> None:
        """The agent goes round; ``orphaned``: its supervisor is gone."""
        self._ticked, self._orphaned = now, orphaned

    def dying(self, now: float) -> list[str]:
        """Return why this worker should be started anew; empty: it lives."""
        reasons = []
        if now - self._ticked > self._patience:
            reasons.append(f"the agent has been stuck for {now - self._ticked:.0f} s")
        if self._orphaned:
            reasons.append("the supervisor is gone")
        return reasons

    def unready(self, now: float) -> list[str]:
        """Return why no task would start here now; empty: it is ready."""
        reasons = self.dying(now)
        boards = [share.board for share in self._shares if share.board.pid and share.board.ready]
        if self._common.stopping:
            reasons.append("the worker stops")
        elif not boards:
            reasons.append("no process runs tasks yet")
        elif all(board.away for board in boards):
            reasons.append("no process reaches the broker")
        elif all(self._is_silent(board, now) for board in boards):
            reasons.append("no process asks for work")
        if not self._node.standing.open_queues:
            reasons.append("no queue is consumed: all are paused or cancelled")
        if (trouble := self._trouble(now)) != "":
            reasons.append(f"the broker is away: {trouble}")
        return reasons

    def _is_silent(self, board: Board, now: float) -> bool:
        """Whether a process with a free slot has not asked for work when it should have."""
        until = board.fetching_until
        return 0.0 < until < now - _SILENT and len(board.running()) < board.slots and not board.unstarted

    def _trouble(self, now: float) -> str:
        with self._lock:
            until, trouble = self._answered
            if now >= until:
                trouble = ""
                try:
                    self._store.ping(_PING)
                except (OperationalError, StoreError) as exc:
                    trouble = str(exc) or type(exc).__name__
                self._answered = (time.monotonic() + _PING_HOLDS, trouble)
            return trouble


class HealthServer:
    """A service: ``start``, ``stop``."""

    def __init__(
        self, app: Talo, options: WorkerOptions, shares: Sequence[Share], common: Common, node: WorkerNode
    ) -> None:
        assert options.http is not None
        self._address = options.http
        self.health = Health(app, shares, common, node)
        self._metrics = Metrics(app, options, shares, common, node)
        self._server: _Server | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talo-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()

    def _run(self) -> None:
        told = False
        while not self._ended.is_set():
            try:
                self._server = server = _Server(self._address, self._handler)
                break
            except OSError as exc:
                if not told:
                    log.error("Health and metrics cannot be served on %s:%d: %s; trying again", *self._address, exc)
                    told = True
                self._ended.wait(_AGAIN)
        else:
            return
        host, port = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        log.info("Health and metrics on http://%s:%d", shown, port, extra={"action": "http", "port": port})
        with server:
            server.serve_forever(poll_interval=0.5)

    def _handler(self, request: Any, client: Any, server: Any) -> None:
        _Handler(request, client, server, self._answer)

    def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, content type and body."""
        now = time.monotonic()
        if path == "/livez":
            return _told("alive", self.health.dying(now))
        if path == "/readyz":
            return _told("ready", self.health.unready(now))
        if path == "/metrics":
            try:
                return HTTPStatus.OK, *self._metrics.render()
            except MissingExtra as exc:
                return HTTPStatus.NOT_IMPLEMENTED, _TEXT, f"{exc}\n".encode()
        return HTTPStatus.NOT_FOUND, _TEXT, b"There are /livez, /readyz and /metrics.\n"


_TEXT = "text/plain; charset=utf-8"


def _told(word: str, reasons: list[str]) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return status, "application/json", json.dumps({word: not reasons, "reasons": reasons}).encode() + b"\n"


class _Handler(BaseHTTPRequestHandler):
    """One request; the connection is closed after it."""

    server_version = "talo"
    sys_version = ""
    timeout = _LONGEST

    def __init__(
        self, request: Any, client: Any, server: Any, answer: Callable[[str], tuple[HTTPStatus, str, bytes]]
    ) -> None:
        self._answer = answer
        super().__init__(request, client, server)

    def do_GET(self) -> None:
        """Answer."""
        try:
            status, kind, body = self._answer(self.path.partition("?")[0])
        except Exception:
            log.exception("%s cannot be answered", self.path)
            status, kind, body = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"See the worker's log.\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args, extra={"action": "http"})


class _Server(HTTPServer):
    """A thread for each connection, ``_MOST`` at a time and ``_LONGEST`` seconds each: whoever dawdles is cut, whoever
    comes too many is turned away."""

    def __init__(self, address: tuple[str, int], handler: Callable[..., Any]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._lock = threading.Lock()
        #: Connection -> when it is cut.
        self._open: dict[Any, float] = {}
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind, without the look-up of our own name that the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= _MOST
            if not full:
                self._open[request] = time.monotonic() + _LONGEST
        if full:
            self.shutdown_request(request)
            return
        threading.Thread(target=self._serve, args=(request, client_address), name="talo-http-one", daemon=True).start()

    def _serve(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as exc:
            # Whoever asked has gone, or was cut.
            log.debug("A connection ended early: %s", exc)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """Called by the server on each of its rounds: cut who dawdles."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, until in self._open.items() if now > until]
        for request in late:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        log.debug("A connection of %s failed", client_address, exc_info=True)
