"""Result backends as Celery's plug-ins write and use them.

Owns the base classes that a plug-in subclasses (``_store_result``, ``_get_task_meta_for``, ...), and Talo's own result
store behind the same methods. Such a plug-in becomes a result store of Talo's in ``compat.stores``.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from talo import states
from talo.app.current import get_current_task
from talo.app.groups import GroupResult, result_from_tuple
from talo.canvas.signature import maybe_signature
from talo.compat.absent import refuse
from talo.errors import ChordError, TaskRevokedError, TimeoutError
from talo.execution.request import Context
from talo.settings.secret import hide_password
from talo.stores.base import ResultBackend, ResultMeta
from talo.wire import serializers
from talo.wire.exceptions import exception_from_data, exception_to_data
from talo.wire.results import decode_result, encode_result

__all__ = ["Backend", "BaseDictBackend", "DisabledBackend", "KeyValueStoreBackend", "StoreBackend", "get_current_task"]


class Backend:
    """What every backend offers. A subclass keeps results somewhere: ``_store_result``, ``_get_task_meta_for``,
    ``_forget``."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    TimeoutError = TimeoutError
    #: Seconds between two looks for a result that is waited for.
    subpolling_interval: float | None = None
    supports_native_join = False
    supports_autoexpire = False
    persistent = True
    always_retry = False

    def __init__(
        self,
        app: Any,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Iterable[str] | None = None,
        expires: Any = None,
        expires_type: type | None = None,
        url: str | None = None,
        **_kwargs: Any,
    ) -> None:
        del max_cached_results
        self.app = app
        conf = app.conf
        self.serializer = serializer or conf.result_serializer
        self.accept = serializers.accept(accept or conf.result_accept_content or conf.accept_content)
        self.expires = self.prepare_expires(expires, expires_type)
        self.url = url

    # -- forms

    def prepare_expires(self, value: Any, type: type | None = None) -> Any:
        """Seconds that a result is kept, as ``type`` if given."""
        if value is None:
            value = self.app.conf.result_expires
        if isinstance(value, dt.timedelta):
            value = value.total_seconds()
        return type(value) if value is not None and type is not None else value

    def prepare_value(self, result: Any) -> Any:
        """A value as it is stored; handles of results as tuples."""
        return result.as_tuple() if hasattr(result, "as_tuple") else result

    def encode_result(self, result: Any, state: str) -> Any:
        """What is stored of a value, or of the exception of a failure."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """An exception as data; pickle takes it as it is."""
        name = serializer or self.serializer
        return exc if name == "pickle" else exception_to_data(exc, name)

    def exception_to_python(self, exc: Any) -> BaseException | None:
        """The exception that data stand for."""
        if exc is None or isinstance(exc, BaseException):
            return exc
        return exception_from_data(exc)

    def _encode(self, data: Any) -> tuple[str, str, Any]:
        codec = serializers.get(self.serializer)
        payload = codec.dumps(data)
        return codec.content_type, codec.content_encoding, payload if codec.name == "pickle" else _text(codec, payload)

    def encode(self, data: Any) -> Any:
        """Data as they are stored."""
        return self._encode(data)[2]

    def decode(self, payload: Any) -> Any:
        """Stored data."""
        if payload is None:
            return None
        return serializers.get(self.serializer).loads(payload.encode() if isinstance(payload, str) else payload)

    def decode_result(self, payload: Any) -> dict[str, Any]:
        """A stored document."""
        return self.meta_from_decoded(self.decode(payload))

    def meta_from_decoded(self, meta: dict[str, Any]) -> dict[str, Any]:
        """A document whose failures are exceptions."""
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta["result"])
        return meta

    def _get_result_meta(
        self, result: Any, state: str, traceback: Any, request: Any, format_date: bool = True, encode: bool = False
    ) -> dict[str, Any]:
        done = dt.datetime.now(dt.UTC) if state in self.READY_STATES else None
        return {
            "status": state,
            "result": self.encode_result(result, state) if encode else result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": done.isoformat() if done is not None and format_date else done,
        }

    def current_task_children(self, request: Any = None) -> list[Any]:
        """The results of what a run has sent, as tuples."""
        request = request or getattr(get_current_task(), "request", None)
        return [child.as_tuple() for child in getattr(request, "children", None) or ()]

    # -- writing

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state and its value; return the value. What is a success stays one."""
        result = self.encode_result(result, state)
        if state != states.SUCCESS and self._known(task_id).get("status") == states.SUCCESS:
            return result
        self._store_result(task_id, result, state, traceback, request=request, **kwargs)
        return result

    def _known(self, task_id: str) -> Mapping[str, Any]:
        return self._get_task_meta_for(task_id) or {}

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        """Store that a task has begun."""
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """Store a success."""
        if store_result:
            self.store_result(task_id, result, state, request=request)

    def mark_as_failure(
        self,
        task_id: str,
        exc: BaseException,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """Store a failure. Error callbacks are the run's, and not called here."""
        del call_errbacks
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)

    def mark_as_retry(
        self, task_id: str, exc: BaseException, traceback: Any = None, request: Any = None, **_: Any
    ) -> Any:
        """Store that a task will be tried again."""
        return self.store_result(task_id, exc, states.RETRY, traceback=traceback, request=request)

    def mark_as_revoked(self, task_id: str, reason: str = "", request: Any = None, **_: Any) -> None:
        """Store that a task was revoked."""
        self.store_result(task_id, TaskRevokedError(reason), states.REVOKED, request=request)

    # -- reading

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """The stored document; PENDING if there is none."""
        del cache
        return self._get_task_meta_for(task_id) or {"status": states.PENDING, "result": None, "task_id": task_id}

    def get_state(self, task_id: str) -> str:
        """The state."""
        return str(self.get_task_meta(task_id)["status"])

    def get_status(self, task_id: str) -> str:
        """The state."""
        return self.get_state(task_id)

    def get_result(self, task_id: str) -> Any:
        """The value."""
        return self.get_task_meta(task_id).get("result")

    def get_traceback(self, task_id: str) -> Any:
        """The traceback."""
        return self.get_task_meta(task_id).get("traceback")

    def get_children(self, task_id: str) -> Any:
        """The results of what it sent."""
        return self.get_task_meta(task_id).get("children")

    def forget(self, task_id: Any) -> None:
        """Delete a result."""
        self._forget(task_id)

    def cleanup(self) -> Any:
        """Delete what has expired; nothing where the store does so by itself."""

    def reload_task_result(self, task_id: str) -> None:
        """Nothing is cached."""

    # -- groups

    def save_group(self, group_id: str, result: Any) -> Any:
        """Keep a group."""
        return self._save_group(group_id, result)

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """A kept group, or None."""
        del cache
        meta = self._restore_group(group_id)
        return meta["result"] if meta else None

    def delete_group(self, group_id: str) -> None:
        """Forget a kept group."""
        self._delete_group(group_id)

    def store_group(self, group_id: str, payload: bytes, expires: Any = None) -> None:
        """Talo's verb for ``save_group``."""
        del expires
        data = serializers.get(self.app.conf.result_serializer).loads(payload)["result"]
        self.save_group(group_id, result_from_tuple(data, self.app))

    def get_group(self, group_id: str) -> bytes | None:
        """Talo's verb for ``restore_group``."""
        group = self.restore_group(group_id)
        if group is None:
            return None
        return serializers.get(self.app.conf.result_serializer).dumps({"result": group.as_tuple()})

    def forget_group(self, group_id: str) -> None:
        """Talo's verb for ``delete_group``."""
        self.delete_group(group_id)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> None:
        """Chords are counted by Talo; nothing to do."""

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """Chords are counted by Talo; nothing to do."""

    def chord_error_from_stack(self, callback: Any, exc: BaseException | None = None) -> Any:
        """Fail a chord's body."""
        body = maybe_signature(callback, self.app)
        error = exc if isinstance(exc, ChordError) else ChordError(repr(exc))
        return self.store_result(body.id if body is not None else "", error, states.FAILURE)

    fail_from_current_stack = chord_error_from_stack

    # -- what a subclass provides

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, **kwargs: Any) -> Any:
        refuse(f"{type(self).__name__}", "it defines no _store_result")

    def _get_task_meta_for(self, task_id: str) -> Any:
        refuse(f"{type(self).__name__}", "it defines no _get_task_meta_for")

    def _forget(self, task_id: str) -> None:
        refuse(f"{type(self).__name__}", "it defines no _forget")

    def _save_group(self, group_id: str, result: Any) -> Any:
        refuse(f"{type(self).__name__}", "it keeps no groups")

    def _restore_group(self, group_id: str) -> Any:
        refuse(f"{type(self).__name__}", "it keeps no groups")

    def _delete_group(self, group_id: str) -> None:
        refuse(f"{type(self).__name__}", "it keeps no groups")

    # -- life

    def as_uri(self, include_password: bool = False) -> str:
        """Its URL, the password hidden."""
        return str(self.url or "") if include_password else hide_password(str(self.url or ""))

    def process_cleanup(self) -> None:
        """Called when a process ends."""

    def add_pending_result(self, result: Any, weak: bool = False, start_drainer: bool = True) -> Any:
        """Nothing is to be drained."""
        del weak, start_drainer
        return result

    def remove_pending_result(self, result: Any) -> Any:
        """Nothing is to be drained."""
        return result

    def is_cached(self, task_id: str) -> bool:
        """Nothing is cached."""
        del task_id
        return False


BaseDictBackend = Backend


def _text(codec: Any, payload: bytes) -> Any:
    return payload.decode() if codec.content_encoding == "utf-8" else payload


class KeyValueStoreBackend(Backend):
    """A backend over a store of keys: a subclass gives ``get``, ``set`` and ``delete`` (``mget`` if it can)."""

    task_keyprefix = "celery-task-meta-"
    group_keyprefix = "celery-taskset-meta-"
    chord_keyprefix = "chord-unlock-"

    def get(self, key: Any) -> Any:
        """The value of a key, or None."""
        refuse(type(self).__name__, "it defines no get")

    def set(self, key: Any, value: Any) -> Any:
        """Keep a value."""
        refuse(type(self).__name__, "it defines no set")

    def delete(self, key: Any) -> Any:
        """Forget a key."""
        refuse(type(self).__name__, "it defines no delete")

    def mget(self, keys: Iterable[Any]) -> list[Any]:
        """The values of keys, in their order."""
        return [self.get(key) for key in keys]

    def get_key_for_task(self, task_id: Any, key: str = "") -> Any:
        """The key of a task's result."""
        return f"{self.task_keyprefix}{task_id}{key}"

    def get_key_for_group(self, group_id: Any, key: str = "") -> Any:
        """The key of a group."""
        return f"{self.group_keyprefix}{group_id}{key}"

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, **kwargs: Any) -> Any:
        meta = self._get_result_meta(result, state, traceback, kwargs.get("request"))
        self.set(self.get_key_for_task(task_id), self.encode({**meta, "task_id": task_id}))
        return result

    def _get_task_meta_for(self, task_id: str) -> Any:
        meta = self.get(self.get_key_for_task(task_id))
        return self.decode_result(meta) if meta else None

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self.set(self.get_key_for_group(group_id), self.encode({"result": result.as_tuple()}))
        return result

    def _restore_group(self, group_id: str) -> Any:
        meta = self.get(self.get_key_for_group(group_id))
        return {"result": result_from_tuple(self.decode(meta)["result"], self.app)} if meta else None

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


class DisabledBackend(Backend):
    """Results are disabled; asking for one says so."""

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, **kwargs: Any) -> Any:
        return result

    def store_result(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing is kept."""

    def _refuse(self, *_args: Any, **_kwargs: Any) -> Any:
        refuse("this result", "no result backend is configured: set result_backend to the URL of a store")

    get_task_meta = get_state = get_status = get_result = get_traceback = wait = get = watch = _refuse
    get_group = store_group = get_many = _refuse

    def as_uri(self, include_password: bool = False) -> str:
        del include_password
        return "disabled://"

    def forget(self, task_id: Any) -> None:
        """Nothing is kept."""


class StoreBackend(Backend):
    """Talo's own result store with the methods of Celery's backends beside its own verbs."""

    supports_native_join = True
    supports_autoexpire = True
    task_keyprefix = KeyValueStoreBackend.task_keyprefix
    group_keyprefix = KeyValueStoreBackend.group_keyprefix
    get_key_for_task = KeyValueStoreBackend.get_key_for_task
    get_key_for_group = KeyValueStoreBackend.get_key_for_group

    def __init__(self, app: Any, results: ResultBackend, url: str) -> None:
        super().__init__(app, url=url)
        self.results = results
        # Its own verbs, not those that are made of Celery's.
        for verb in ("store_group", "get_group", "forget_group"):
            setattr(self, verb, getattr(results, verb))

    def __getattr__(self, name: str) -> Any:
        # The verbs of the store, for those who know them: ``wait``, ``watch``, ``get``, ``store`` ...
        if name.startswith("__") or name == "results":
            raise AttributeError(name)
        return getattr(self.results, name)

    def _store_result(self, task_id: str, result: Any, state: str, traceback: Any = None, **kwargs: Any) -> Any:
        request = kwargs.get("request") or Context()
        env = self.app.env
        payload = encode_result(
            task_id,
            state,
            result,
            traceback=traceback,
            children=self.current_task_children(request),
            date_done=time.time() if state in states.READY_STATES else None,
            group_id=getattr(request, "group", None),
            parent_id=getattr(request, "parent_id", None),
            codec=env.result_serializer,
            compression=env.result_compression,
        )
        self.results.store([ResultMeta(task_id=task_id, status=state, payload=payload, expires=env.result_expires)])
        return result

    def _get_task_meta_for(self, task_id: str) -> Any:
        payload = self.results.get([task_id]).get(task_id)
        return None if payload is None else self.decode_result(payload)

    def decode_result(self, payload: Any) -> dict[str, Any]:
        doc = decode_result(payload if isinstance(payload, bytes) else payload.encode(), self.accept)
        fields = {key: getattr(doc, key) for key in doc.__struct_fields__ if key != "extra"}
        meta: dict[str, Any] = {**doc.extra, **fields, "result": doc.value}
        return meta

    def forget(self, task_id: str | Collection[str]) -> None:
        self.results.forget([task_id] if isinstance(task_id, str) else list(task_id))

    def cleanup(self, limit: int = 10_000) -> int:
        """Delete what has expired; return how much."""
        return self.results.cleanup(limit)

    def mget(self, keys: Iterable[Any]) -> list[bytes | None]:
        """The documents of keys (``get_key_for_task``), in their order."""
        ids = [_id_of(key, self.task_keyprefix) for key in keys]
        found = self.results.get(ids)
        return [found.get(each) for each in ids]

    def get_many(
        self, task_ids: Iterable[str], timeout: float | None = None, **_more: Any
    ) -> Iterator[tuple[str, Any]]:
        """(id, document) of each task as it becomes ready. ``TimeoutError`` after ``timeout`` seconds."""
        left = set(task_ids)
        deadline = None if timeout is None else time.monotonic() + timeout
        while left:
            rest = None if deadline is None else max(0.0, deadline - time.monotonic())
            found = self.results.wait(left, rest)
            if not found:
                raise TimeoutError(f"{len(left)} results did not come within {timeout} s")
            left -= found.keys()
            for task_id, payload in found.items():
                yield task_id, self.decode_result(payload)

    def wait_for(self, task_id: str, timeout: float | None = None, **_more: Any) -> dict[str, Any]:
        """The document of a task when it is ready."""
        [(_, meta)] = self.get_many([task_id], timeout)
        found: dict[str, Any] = meta
        return found

    def _save_group(self, group_id: str, result: Any) -> Any:
        result.save(self)
        return result

    def _restore_group(self, group_id: str) -> Any:
        found = GroupResult.restore(group_id, backend=self.results, app=self.app)
        return {"result": found} if found is not None else None

    def _delete_group(self, group_id: str) -> None:
        self.results.forget_group(group_id)


def _id_of(key: Any, prefix: str) -> str:
    text = key.decode() if isinstance(key, bytes) else str(key)
    return text.removeprefix(prefix)
