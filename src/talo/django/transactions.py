"""Sends and Django's transactions: a message waits for the commit of the transaction that it was sent in.

Owns the outlet ``OnCommit`` and the two ways to overrule it for some lines of code. What a transaction holds is read
from Django's own list, so nothing can disagree with it. Given to apps by ``adoption``; see
``docs/internals/django.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.apps import apps
from django.db import connections, transaction

from talo.app.outlets import Outlet
from talo.wire.message import Message

__all__ = ["OnCommit", "Release", "bound", "in_transaction", "is_unbound", "unbound"]

#: None: as the settings say; True: sends wait for the commit; False: they do not.
_overruled: ContextVar[bool | None] = ContextVar("talo_on_commit", default=None)


@contextmanager
def bound() -> Iterator[None]:
    """Within it, sends wait for the commit of any open transaction, whatever the settings say."""
    token = _overruled.set(True)
    try:
        yield
    finally:
        _overruled.reset(token)


@contextmanager
def unbound() -> Iterator[None]:
    """Within it, sends go out at once: for what has to happen although the transaction may be rolled back."""
    token = _overruled.set(False)
    try:
        yield
    finally:
        _overruled.reset(token)


def is_unbound() -> bool:
    """Whether this code wants what it sends to go out at once, whatever becomes of the transaction."""
    return _overruled.get() is False


def in_transaction(connection: Any) -> bool:
    """Whether the code has a transaction open on this connection; what ``TestCase`` opens around a test is not the
    code's."""
    return connection.in_atomic_block and not all(
        getattr(block, "_from_testcase", False) for block in connection.atomic_blocks
    )


class Release:
    """One send that waits: what Django calls at the commit."""

    __slots__ = ("_go", "ids")

    def __init__(self, ids: frozenset[str], go: Callable[[], None]) -> None:
        self.ids = ids
        self._go = go

    def __call__(self) -> None:
        self._go()


class OnCommit(Outlet):
    """Holds what is sent inside ``atomic()`` until it is committed; a rollback, also of a savepoint, drops it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def take(self, messages: list[Message], publish: Callable[[], None]) -> bool:
        home = self._home()
        if home is not None:
            # The tasks are kept in this very database: the messages are rows of the transaction, and go where it goes.
            publish()
            transaction.on_commit(Release(_ids(messages), _nothing), using=home)
            return True
        alias = self._open_alias()
        if alias is None:
            return False
        go = self._kept(alias, messages, publish) or partial(self._go_on, messages, publish)
        transaction.on_commit(Release(_ids(messages), go), using=alias)
        return True

    def _kept(self, alias: str, messages: list[Message], publish: Callable[[], None]) -> Callable[[], None] | None:
        """What to call at the commit for messages that the outbox keeps until then; None where it is not in use."""
        if not self._app.conf.outbox or not self._installed():
            return None
        # Its model can be imported once Django's apps are ready.
        from talo.django import outbox

        return outbox.keep(self._app, alias, messages, publish) if outbox.allowed(alias) else None

    def _go_on(self, messages: list[Message], publish: Callable[[], None]) -> None:
        """A transaction was committed. With several open at once a message waits for the last of them."""
        if not self.take(messages, publish):
            publish()

    def holding(self, task_id: str) -> str | None:
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block:
                for _, call, *_ in connection.run_on_commit:
                    if isinstance(call, Release) and task_id in call.ids:
                        return f"the commit of the transaction that is open on database {connection.alias!r}"
        return None

    def _home(self) -> str | None:
        """The database that tasks are kept in (``django://``), if the code has a transaction open there."""
        if is_unbound() or not any(in_transaction(each) for each in connections.all(initialized_only=True)):
            return None
        alias: str | None = getattr(self._app.store, "alias", None)
        return alias if alias is not None and in_transaction(connections[alias]) else None

    def _open_alias(self) -> str | None:
        """The database whose transaction a send has to wait for; None if for none."""
        overruled = _overruled.get()
        if overruled is False:
            return None
        found = [each.alias for each in connections.all(initialized_only=True) if in_transaction(each)]
        if not found or overruled:
            return found[0] if found else None
        wanted = self._app.conf.django_on_commit
        if not wanted or not self._installed():
            return None
        return next((alias for alias in found if wanted is True or alias in wanted), None)

    @staticmethod
    def _installed() -> bool:
        """Whether the project has asked for it; else only ``bound`` holds anything."""
        return apps.ready and apps.is_installed("talo.django")


def _ids(messages: list[Message]) -> frozenset[str]:
    return frozenset(message.id for message in messages if message.id is not None)


def _nothing() -> None:
    """What is left to do at the commit for messages that are part of it."""
