"""The stores of an app under the alias: no results unless they are asked for, and result backends of Celery's plug-ins.

Owns the joint between a backend class written for Celery (``django-db``, a dotted path) and Talo's result role. What
such a class cannot do for Talo (count a chord, keep what follows) the broker's store does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from importlib.metadata import entry_points
from typing import Any

from talo import states
from talo.app._store_options import results_url
from talo.app.stores import AppStores
from talo.compat.backends import DisabledBackend, StoreBackend
from talo.errors import ImproperlyConfigured, NotSupported
from talo.execution.request import Context
from talo.stores.base import Features, GroupPart, GroupRecord, ResultBackend, ResultMeta, Store, Watch
from talo.stores.url import scheme_of, schemes
from talo.util.names import import_path
from talo.wire.message import Message
from talo.wire.results import decode_result, encode_result

__all__ = ["CompatStores", "PluginResults", "PluginStore"]

_GROUP = "celery.result_backends"
#: What a plug-in may tell of a call beside its result.
_EXTENDED = ("name", "args", "kwargs", "worker", "retries", "queue")


class CompatStores(AppStores):
    """The app's stores as Celery's settings mean them."""

    _facade: Any = None

    @property
    def results(self) -> Store | None:
        """The store that results go to; None if none is configured, as in Celery."""
        if self._results is None:
            url = results_url(self._app.conf)
            if not url:
                return None
            known = {**(self._app.conf.override_backends or {}), **_aliases()}
            scheme = scheme_of(url)
            if scheme in known or (":" in url and "//" not in url) or "." in scheme:
                self._results = PluginStore(self._app, url, _class_of(known.get(scheme, url), url), self.broker)
        return super().results

    @property
    def backend(self) -> ResultBackend:
        store = self.results
        if store is None:
            raise NotSupported("no result backend is configured: set result_backend to the URL of a store")
        return store.results

    @property
    def celery_backend(self) -> Any:
        """The same with the methods of Celery's backends."""
        store = self.results
        if self._facade is None or self._facade[0] is not store:
            if store is None:
                made: Any = DisabledBackend(self._app)
            elif isinstance(store, PluginStore):
                made = store.results
            else:
                made = StoreBackend(self._app, store.results, store.url)
            self._facade = (store, made)
        return self._facade[1]

    def _shared(self) -> bool:
        return bool(self._app.conf.result_backend) and super()._shared()

    def forget(self) -> None:
        super().forget()
        self._facade = None

    def close(self) -> None:
        super().close()
        self._facade = None


def _aliases() -> dict[str, str]:
    """The backends that installed packages offer, but for names that Talo has itself."""
    own = set(schemes())
    return {point.name: point.value for point in entry_points(group=_GROUP) if point.name not in own}


def _class_of(path: str, url: str) -> Any:
    try:
        return import_path(path)
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"result_backend {url!r}: {path} cannot be imported: {error}") from error


class PluginStore(Store):
    """A store that only keeps results, by a class that was written for Celery."""

    results: PluginResults

    def __init__(self, app: Any, url: str, cls: Any, broker: Store) -> None:
        self._url = url
        self.broker = broker.broker
        self.bus, self.locks = broker.bus, broker.locks
        self.features = Features(name=scheme_of(url), atomic=False, shared=True, durable=True, locks=False)
        self.results = PluginResults(app, cls(app=app, url=url), broker.results)

    @property
    def url(self) -> str:
        return str(self.results.plugin.as_uri() or self._url)

    def ping(self, timeout: float) -> None:
        """It is the plug-in's own affair when it connects."""

    def same_as(self, other: Store) -> bool:
        return other is self

    def close(self) -> None:
        self.results.plugin.process_cleanup()


class PluginResults(ResultBackend):
    """Talo's verbs over a backend of Celery's kind; its own methods stay reachable.

    It tells nobody when a result comes, so who waits looks again and again.
    """

    def __init__(self, app: Any, plugin: Any, groups: ResultBackend) -> None:
        self._app = app
        self.plugin = plugin
        #: Keeps saved groups, records and parts: they are Talo's own.
        self._groups = groups
        #: Seconds between two looks.
        self._pause = float(plugin.subpolling_interval or 0.5)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "plugin":
            raise AttributeError(name)
        return getattr(self.plugin, name)

    def store(self, results: Sequence[ResultMeta]) -> None:
        for meta in results:
            doc = decode_result(meta.payload, self._app.result_accept)
            request = Context(
                id=doc.task_id, task=doc.name, args=doc.args, kwargs=doc.kwargs, hostname=doc.worker,
                retries=doc.retries or 0, group=doc.group_id, parent_id=doc.parent_id, argsrepr=_shown(doc.args),
                kwargsrepr=_shown(doc.kwargs), meta={}, periodic_task_name=doc.extra.get("periodic_task_name"),
            )  # fmt: skip
            request.children = [_Tuple(child) for child in doc.children or ()]
            self.plugin.store_result(doc.task_id, doc.value, doc.status, traceback=doc.traceback, request=request)

    def _document(self, task_id: str) -> tuple[str, bytes] | None:
        meta = self.plugin.get_task_meta(task_id, cache=False)
        state = meta["status"]
        if state == states.PENDING:
            return None
        children = meta.get("children")
        payload = encode_result(
            task_id,
            state,
            meta.get("result"),
            traceback=meta.get("traceback"),
            children=children if isinstance(children, list) else [],
            extended={name: meta[name] for name in _EXTENDED if meta.get(name) is not None},
            codec=self._app.conf.result_serializer,
        )
        return state, payload

    def get(self, task_ids: Any) -> Any:
        """Payloads by id; of a key, what the plug-in has under it."""
        if isinstance(task_ids, str | bytes):
            return self.plugin.get(task_ids)
        found = {task_id: self._document(task_id) for task_id in task_ids}
        return {task_id: document[1] for task_id, document in found.items() if document is not None}

    def _ready(self, task_ids: Collection[str]) -> dict[str, bytes]:
        found = {task_id: self._document(task_id) for task_id in task_ids}
        return {key: doc[1] for key, doc in found.items() if doc is not None and doc[0] in states.READY_STATES}

    def wait(self, task_ids: Collection[str], timeout: float | None) -> dict[str, bytes]:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = threading.Event()
        while not (found := self._ready(task_ids)):
            left = self._pause if deadline is None else min(self._pause, deadline - time.monotonic())
            if left <= 0:
                break
            pause.wait(left)
        return found

    def watch(self, task_ids: Collection[str], tell: Callable[[str, bytes], None]) -> Watch:
        return _Looker(self, set(task_ids), tell)

    def forget(self, task_ids: Any) -> None:
        for task_id in [task_ids] if isinstance(task_ids, str) else task_ids:
            self.plugin.forget(task_id)

    def cleanup(self, limit: int = 0) -> int:
        """The task ``celery.backend_cleanup`` has the plug-in delete what has expired."""
        if not limit:
            self.plugin.cleanup()
        return 0

    # What is Talo's own stays in the broker's store.

    def store_group(self, group_id: str, payload: bytes, expires: float | None) -> None:
        self._groups.store_group(group_id, payload, expires)

    def get_group(self, group_id: str) -> bytes | None:
        return self._groups.get_group(group_id)

    def forget_group(self, group_id: str) -> None:
        self._groups.forget_group(group_id)

    def open_groups(self, groups: Sequence[GroupRecord]) -> None:
        self._groups.open_groups(groups)

    def group_plans(self, group_ids: Sequence[str]) -> dict[str, bytes]:
        return self._groups.group_plans(group_ids)

    def group_parts(self, group_id: str) -> list[tuple[int, bytes]]:
        return self._groups.group_parts(group_id)

    def add_parts(self, parts: Sequence[GroupPart]) -> list[Message]:
        return self._groups.add_parts(parts)

    def close_groups(self, group_ids: Sequence[str]) -> None:
        self._groups.close_groups(group_ids)


def _shown(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else repr(value)


class _Tuple:
    """A child as the plug-in asks it for its tuple."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def as_tuple(self) -> Any:
        return self._data


class _Looker(Watch):
    """A thread that looks until all are ready, or nobody wants to know any more."""

    def __init__(self, results: PluginResults, task_ids: set[str], tell: Callable[[str, bytes], None]) -> None:
        self._results = results
        self._left = task_ids
        self._tell = tell
        self._over = threading.Event()
        threading.Thread(target=self._look, name="talo-results", daemon=True).start()

    def _look(self) -> None:
        while self._left and not self._over.is_set():
            for task_id, payload in self._results.wait(self._left, self._results._pause * 2).items():
                if not self._over.is_set():
                    self._left.discard(task_id)
                    self._tell(task_id, payload)

    def cancel(self) -> None:
        self._over.set()
