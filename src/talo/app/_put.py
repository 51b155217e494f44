"""Giving messages to the store, and trying again.

Owns the time that a send may take and its retry policy: after a lost connection it is tried again within the deadline
of the whole. What is sent is ``send``'s, its only caller.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from talo.errors import AccessRefused, OperationalError, PublishTimeout, StoreFull
from talo.stores.base import Broker
from talo.stores.delays import Delays
from talo.wire.message import Message

__all__ = ["Put"]

T = TypeVar("T")

log = logging.getLogger("talo.app")


class Put:
    """Messages on their way into the store; what is made has begun, and ``finish`` waits until the store has them. Both
    raise what a send raises."""

    __slots__ = ("_deadline", "_entry", "_left", "_messages", "_pauses", "_policy", "_timeout", "_wait")

    def __init__(self, app: Any, messages: Sequence[Message], options: Mapping[str, Any]) -> None:
        conf = app.conf
        timeout = options.get("timeout")
        self._entry: Broker | Delays = app.entry
        self._messages = messages
        self._timeout: float = conf.publish_timeout if timeout is None else timeout
        self._deadline = time.monotonic() + self._timeout
        self._pauses: Iterator[float] | None = None
        self._policy = conf, options
        _warn_of_size(messages, conf.task_soft_size_limit)
        self._wait: Callable[[], None] | None = self._insist(self._begin)
        self._left = self._deadline - time.monotonic()

    def finish(self) -> bool:
        """Wait until the store has them: True. What the caller has done meanwhile was not the store's time."""
        self._deadline = time.monotonic() + self._left
        self._insist(self._end)
        return True

    def _begin(self) -> Callable[[], None]:
        return self._entry.begin_send(self._messages, timeout=max(0.0, self._deadline - time.monotonic()))

    def _end(self) -> None:
        # What did not come to its end is sent once more, as a whole.
        wait, self._wait = self._wait or self._begin(), None
        wait()

    def _insist(self, step: Callable[[], T]) -> T:
        """What ``step`` returns, after some tries."""
        while True:
            try:
                return step()
            except (PublishTimeout, StoreFull):
                raise
            except AccessRefused as exc:
                # To knock again would not help.
                raise PublishTimeout(str(exc)) from exc
            except OperationalError as exc:
                if self._pauses is None:
                    self._pauses = _pauses(*self._policy)
                pause = next(self._pauses, None)
                if pause is None or time.monotonic() + pause >= self._deadline:
                    raise PublishTimeout(f"the broker took nothing within {self._timeout:g} s: {exc}") from exc
                time.sleep(pause)


def _pauses(conf: Any, options: Mapping[str, Any]) -> Iterator[float]:
    """Seconds between the tries of a send, by the retry policy."""
    retry = options.get("retry")
    if not (conf.task_publish_retry if retry is None else retry):
        return
    policy = {**conf.task_publish_retry_policy, **(options.get("retry_policy") or {})}
    pause, tries = float(policy.get("interval_start") or 0), 0
    limit = policy.get("max_retries", 3)
    while limit is None or tries < limit:
        yield pause
        tries += 1
        pause = min(pause + float(policy.get("interval_step") or 0), float(policy.get("interval_max") or pause))


def _warn_of_size(messages: Sequence[Message], limit: int | None) -> None:
    if limit is None:
        return
    for message in messages:
        if len(message.body) > limit:
            log.warning(
                "The arguments of %s[%s] take %d bytes, above task_soft_size_limit (%d): send a reference to them",
                message.task, message.id, len(message.body), limit,
                extra={"action": "large", "task_id": message.id, "task_name": message.task},
            )  # fmt: skip
