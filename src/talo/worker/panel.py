"""The panel: hears remote commands, carries them out, answers. A thread of the agent, with an ear of its own.

Owns who is meant, deadlines and errors; the commands are ``control``'s, what they do to the worker ``worker.node``'s.
See ``docs/internals/control.md``."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any

from talo.control import inspecting, steering
from talo.control.node import Node
from talo.control.panel import Panel
from talo.errors import EncodeError, MalformedMessage, OperationalError, StoreError
from talo.events import pidbox
from talo.stores.base import Post
from talo.worker.node import WorkerNode

__all__ = ["PanelService"]

log = logging.getLogger("talo.worker")

#: The modules whose import registers the commands.
BUILT_IN = (inspecting, steering)
#: Seconds between two looks whether it is to end.
_GLANCE = 0.2


class PanelService:
    """A service: ``start``, ``stop``."""

    def __init__(self, node: WorkerNode) -> None:
        # What a command sees is what the protocol says.
        self._commanded: Node = node
        self._node = node
        conf = node.app.conf
        self._exchanges = pidbox.Exchanges(conf.control_exchange)
        self._expires: float = conf.control_queue_expires
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talo-panel", daemon=True)

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Hear no more. Legal before ``start`` and twice."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        name = f"{self._node.hostname}.{self._exchanges.requests}"
        while not self._ended.is_set():
            try:
                bus = self._node.app.store.bus
                with bus.hear(self._exchanges.requests, "fanout", [], queue=name, expires=self._expires) as ear:
                    self._node.listens()
                    while not self._ended.is_set():
                        post = ear.get(_GLANCE)
                        if post is not None:
                            self.handle(post)
            except OperationalError as exc:
                log.debug("Remote commands are not heard: %s", exc)
                self._ended.wait(random.uniform(0.2, 1.0))
            except StoreError as exc:
                log.warning("This broker carries no remote commands: %s", exc, extra={"action": "no_control"})
                self._node.listens()
                return

    def handle(self, post: Post) -> None:
        """Do what a post asks for, if it asks us; nothing that comes can end the thread. ``OperationalError``."""
        node = self._node
        try:
            request = pidbox.read_request(post)
            meant = pidbox.is_addressed(request, node.hostname)
        except MalformedMessage as fault:
            log.warning("A remote command is not carried out: %s", fault, extra={"action": "control_malformed"})
            return
        node.app.clock.adjust(request.clock)
        if not meant:
            return
        late = time.time() - request.expires if request.expires else 0.0
        if late > 0:
            log.warning(
                "Remote command %r came %.1f s after its deadline and is not carried out (or the clocks differ)",
                request.method, late, extra={"action": "control_expired", "method": request.method},
            )  # fmt: skip
            return
        answer = self._answer(request)
        if request.reply_to is None or request.method == "shutdown":
            return
        try:
            reply = pidbox.reply_post(request, node.hostname, answer, node.app.clock.forward())
        except EncodeError as exc:
            reply = pidbox.reply_post(request, node.hostname, {"error": repr(exc)}, node.app.clock.forward())
        node.app.store.bus.post([reply])

    def _answer(self, request: pidbox.Request) -> Any:
        handler = Panel.data.get(request.method)
        fields = {"action": "control", "method": request.method}
        if handler is None:
            log.error("There is no remote command %r", request.method[:80], extra=fields)
            return {"error": repr(KeyError(request.method))}
        log.debug("Remote command %s", request.method, extra=fields)
        try:
            return handler(self._commanded, **request.arguments)
        except Exception as exc:  # noqa: BLE001  the command may be anybody's
            # Whatever it is, the answer says so, and the next command is heard.
            log.info("Remote command %s failed: %r", request.method, exc, extra=fields)
            return {"error": repr(_named(exc))}


def _named(exc: Exception) -> Exception:
    """Talo's refusals look like what they are for Celery's clients: wrong values."""
    return ValueError(*exc.args) if type(exc).__module__.startswith("talo.control") else exc
