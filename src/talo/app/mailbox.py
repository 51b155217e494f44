"""Asking workers: a request to all of them, and the answers that come within a time.

Owns one question's course: listen, ask, gather, stop listening. The forms are ``events.pidbox``'s, which commands
there are ``control``'s. Called by ``app.control``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talo.errors import MalformedMessage
from talo.events import pidbox
from talo.wire import new_id

__all__ = ["Mailbox"]

Reply = dict[str, Any]


class Mailbox:
    """The questions of one app. ``namespace`` is what a fleet's exchanges are called by."""

    type = "fanout"

    def __init__(self, app: Any) -> None:
        self._app = app

    @property
    def exchanges(self) -> pidbox.Exchanges:
        """Where requests go and replies come from."""
        return pidbox.Exchanges(self._app.conf.control_exchange)

    @property
    def namespace(self) -> str:
        """The setting ``control_exchange``."""
        return self.exchanges.namespace

    def cast(
        self,
        method: str,
        arguments: Mapping[str, Any],
        *,
        destination: Sequence[str] | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        """Send a command and want no answer. ``OperationalError`` when the broker is away."""
        self._post(self._request(method, arguments, destination, pattern, matcher))

    def ask(
        self,
        method: str,
        arguments: Mapping[str, Any],
        *,
        destination: Sequence[str] | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[Reply], Any] | None = None,
    ) -> list[Reply]:
        """Send a command and return the answers that come within ``timeout`` seconds, or the first ``limit`` of them.

        Who is named by ``destination`` answers once: when all have, it is over. Each answer is given to ``callback``
        as it comes. No worker carries the command out after the time. Where nobody heard there is nothing to wait for.
        """
        timeout = 1.0 if timeout is None else timeout
        limit = limit or (len(destination) if destination else None)
        exchanges = self.exchanges
        key = str(uuid.uuid4())
        request = self._request(method, arguments, destination, pattern, matcher)
        request.ticket = new_id()
        request.reply_to = pidbox.ReplyTo(exchanges.replies, key)
        bus = self._app.store.bus
        expires = self._app.conf.control_queue_expires
        replies: list[Reply] = []
        with bus.hear(exchanges.replies, "direct", [key], queue=f"{key}.{exchanges.replies}", expires=expires) as ear:
            deadline = time.monotonic() + timeout
            request.expires = time.time() + timeout
            heard = self._post(request)
            while heard and (limit is None or len(replies) < limit):
                post = ear.get(max(0.0, deadline - time.monotonic()))
                if post is None:
                    break
                if post.headers.get("ticket") != request.ticket:
                    continue
                try:
                    reply = pidbox.read_reply(post)
                except MalformedMessage:
                    continue  # whoever sent it is no worker
                self._app.clock.adjust(_number(post.headers.get("clock")))
                replies.append(reply)
                if callback is not None:
                    callback(reply)
        return replies

    def _request(
        self,
        method: str,
        arguments: Mapping[str, Any],
        destination: Sequence[str] | None,
        pattern: str | None,
        matcher: str | None,
    ) -> pidbox.Request:
        return pidbox.Request(
            method=method,
            arguments=dict(arguments),
            destination=list(destination) if destination else None,
            pattern=pattern,
            matcher=matcher,
            clock=self._app.clock.forward(),
        )

    def _post(self, request: pidbox.Request) -> bool:
        """Send it; False if it is known that nobody heard."""
        return bool(self._app.store.bus.post([pidbox.request_post(request, self.exchanges)]))


def _number(value: Any) -> int:
    return value if type(value) is int else 0
