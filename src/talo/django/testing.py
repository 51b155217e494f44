"""Tests of a Django project that send tasks: ``TaloTestMixin`` for ``TestCase`` and ``TransactionTestCase``.

Owns how Django's test transactions, its connections and a ``LocalWorker`` fit together: tasks run on the connection of
the test, so they see its rows, and there is no other connection that could block the tear-down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest import mock

from django.apps import apps
from django.db import connections
from django.db.transaction import Atomic

from talo.app.app import Talo
from talo.django.transactions import Release, in_transaction
from talo.testing.clock import Clock
from talo.testing.local import LocalWorker, memory_app
from talo.testing.sends import Sends, captured

__all__ = ["TaloTestMixin", "lent_connections"]


class TaloTestMixin:
    """Put it before ``TestCase`` or ``TransactionTestCase``: tasks and results are kept in memory during each test.

    ``run_tasks()`` runs what was sent, in the test's own thread. ``talo_worker()`` runs it beside the test, for code
    that waits for results. A send inside ``atomic()`` of the test's own goes out where that ends, as at a commit; with
    ``talo_commit = False`` it waits for ``captureOnCommitCallbacks(execute=True)``.
    """

    #: Whether the outermost ``atomic()`` of a test's own code releases its sends in a ``TestCase``, too.
    talo_commit: ClassVar[bool] = True
    talo_app: Talo
    talo_clock: Clock

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)  # type: ignore[attr-defined]
        self.talo_clock = Clock()
        self.talo_app = stack.enter_context(memory_app(apps.get_app_config("talo_django").app, self.talo_clock))
        if self.talo_commit:
            stack.enter_context(_commits())
        super().setUp()  # type: ignore[misc]

    def run_tasks(self) -> int:
        """Run everything that was sent and is due, and what follows from it; return how many tasks ran."""
        return LocalWorker(self.talo_app).run_all()

    def talo_worker(self) -> LocalWorker:
        """A worker in a thread, on the test's connections, as a context manager. While it is at work the test's
        thread should wait for its results and leave the database alone."""
        return LocalWorker(self.talo_app, around=lent_connections())

    def capture_sends(self) -> contextlib.AbstractContextManager[Sends]:
        """Catch what is sent within it; nothing of it is run."""
        return captured(self.talo_app)


def lent_connections() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what gives the thread that enters it the connections of this thread."""
    shared = {each.alias: each for each in connections.all()}
    return lambda: _borrowed(shared)


@contextlib.contextmanager
def _borrowed(shared: dict[str, Any]) -> Iterator[None]:
    """Give this thread the connections of another one."""
    for alias, connection in shared.items():
        connection.inc_thread_sharing()
        connections[alias] = connection
    try:
        yield
    finally:
        for alias, connection in shared.items():
            # This thread must neither close it nor keep it.
            del connections[alias]
            connection.dec_thread_sharing()


@contextlib.contextmanager
def _commits() -> Iterator[None]:
    """Within it, the end of the outermost block that is the code's own releases the sends of a ``TestCase``, whose
    transaction is never committed."""
    leave: Callable[..., Any] = Atomic.__exit__

    def leave_and_release(block: Any, *exc_info: Any) -> Any:
        answer = leave(block, *exc_info)
        connection = connections[block.using or "default"]
        if connection.in_atomic_block and not in_transaction(connection) and not connection.needs_rollback:
            _release(connection)
        return answer

    with mock.patch.object(Atomic, "__exit__", leave_and_release):
        yield


def _release(connection: Any) -> None:
    waiting = connection.run_on_commit
    sends = [entry for entry in waiting if isinstance(entry[1], Release)]
    # What is not ours stays for captureOnCommitCallbacks.
    connection.run_on_commit = [entry for entry in waiting if not isinstance(entry[1], Release)]
    for _, release, *_ in sends:
        release()
