"""What an app provides to those that run its tasks (``execution.env.Env``).

Owns the reading of the settings that concern running, once; the border exists because execution is below the app and
must not import it. Built by ``Talo.env``; ``hostname`` is set by the worker.
"""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talo.app._call import repr_levels
from talo.execution.history import Keeper
from talo.execution.secrets import Secrets
from talo.stores.base import ResultMeta
from talo.wire import serializers
from talo.wire.message import Message
from talo.wire.results import encode_result

__all__ = ["AppEnv"]


class AppEnv:
    """The settings of one app as a runner needs them. A worker freezes the settings before it asks for this."""

    def __init__(self, app: Any) -> None:
        conf = app.conf
        self._app = app
        #: Of the settings it was read from; the app makes another one when they change.
        self.version: int = conf.version
        self.hostname: str = f"celery@{socket.gethostname()}"
        self.tasks: Mapping[str, Any] = app.tasks
        self.secrets: Secrets = app.secrets
        self.accept: frozenset[str] = serializers.accept(conf.accept_content)
        self.timezone: dt.tzinfo = app.timezone
        self.result_serializer: str = conf.result_serializer
        self.result_compression: str | None = conf.result_compression
        self.result_expires: float | None = conf.result_expires
        self.result_failure_expires: float | None = conf.result_failure_expires
        self.repr_levels: int = repr_levels(conf)
        self.result_extended: bool = conf.result_extended
        self.store_eager_result: bool = conf.task_store_eager_result
        self.default_queue: str = conf.task_default_queue
        self.dead_letters: bool = conf.task_dead_letters
        self._dead_letter_expires: float | None = conf.dead_letter_expires
        self._dead_letter_queue_expires: Mapping[str, float | None] = conf.dead_letter_queue_expires
        self.max_deliveries: int = conf.task_max_deliveries
        self.history: Keeper | None = (
            None
            if conf.history == "off" and not conf.worker_http
            else Keeper(conf.history, conf.history_success_rate, conf.history_expires, conf.history_failure_expires)
        )
        results = app.result_store
        #: Chords are counted where Celery counts, and Talo's own messages keep out of Celery's sight.
        self.celery_form: bool = (
            conf.task_canvas_form == "celery" and results is not None and results.features.name == "redis"
        )

    def time(self) -> float:
        """The time now, in epoch seconds."""
        return self._app.time()  # type: ignore[no-any-return]

    def dead_letter_expires(self, queue: str) -> float | None:
        """For how many seconds a dead letter of this queue is kept; None: for ever."""
        return self._dead_letter_queue_expires.get(queue, self._dead_letter_expires)

    def prepare(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> Message:
        """Build and route a message as ``apply_async`` with these options would, without sending it."""
        return self._app.prepare(name, args, kwargs, options)  # type: ignore[no-any-return]

    def around(self, task: Any) -> Callable[[Any, Callable[[Any], None]], None] | None:
        """What every run of the task goes through; usually nothing."""
        return self._app.around(task)  # type: ignore[no-any-return]

    def takes(self, task: Any) -> Callable[[Any, Callable[[Any], Any]], None] | None:
        """What takes the task's deliveries in place of a run; usually nothing."""
        return self._app.takes(task)  # type: ignore[no-any-return]

    def store_results(self, metas: Sequence[ResultMeta]) -> None:
        """Store results that no settlement stores."""
        store = self._app.result_store
        if store is not None and metas:
            store.results.store(metas)

    def store_state(self, task_id: str, state: str, meta: Any, request: Any) -> None:
        """Store an intermediate state (STARTED, PROGRESS, ...) at once."""
        payload = encode_result(
            task_id,
            state,
            meta,
            group_id=request.group,
            parent_id=request.parent_id,
            codec=serializers.get(self.result_serializer),
            compression=self.result_compression,
        )
        store = self._app.result_store
        if store is not None:
            meta = ResultMeta(task_id=task_id, status=state, payload=payload, expires=self.result_expires)
            meta.reply_to = request.reply_to
            store.results.store([meta])
