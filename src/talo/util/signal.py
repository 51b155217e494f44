"""A signal: something that happened, told to whoever asked to be told.

Owns connecting, weak references and the rule that a receiver's error never reaches the sender. Does not know which
signals exist: that is ``talo.signals``. The list of receivers is replaced and never changed, so sending takes no lock,
and ``if signal.receivers:`` is all that an unused signal costs.
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, overload

__all__ = ["Signal"]

logger = logging.getLogger("talo.signals")

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds between the tries of a receiver connected with ``retry=True``; the last one repeats.
RETRY_DELAYS = (0.05, 0.1, 0.2, 0.5, 1.0)


class _Receiver:
    """One connection: a way to get the function, the sender it listens to, and the key by which it is disconnected."""

    __slots__ = ("get", "key", "retry", "sender")

    def __init__(self, key: Any, get: Callable[[], Any], sender: Any, retry: bool) -> None:
        self.key = key
        self.get = get
        self.sender = sender
        self.retry = retry

    def hears(self, sender: Any) -> bool:
        """Whether it asked for this sender. Texts are compared by value, proxies by what they stand for, the rest
        by identity."""
        mine = self.sender
        if mine is None or mine is sender:
            return True
        if isinstance(mine, str):
            return isinstance(sender, str) and mine == sender
        return hasattr(type(mine), "_get_current_object") and mine._get_current_object() is sender


def _key_of(receiver: Any, uid: Any) -> Any:
    if uid is not None:
        return ("uid", uid)
    if inspect.ismethod(receiver):
        return (id(receiver.__self__), id(receiver.__func__))
    return id(receiver)


def _takes_keywords(receiver: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


class Signal:
    """One kind of event. ``providing_args`` are the keywords that every receiver gets, beside ``signal`` and
    ``sender``."""

    __slots__ = ("__weakref__", "_lock", "name", "providing_args", "receivers")

    def __init__(self, name: str = "", providing_args: frozenset[str] | set[str] | tuple[str, ...] = ()) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args)
        self.receivers: tuple[_Receiver, ...] = ()
        self._lock = threading.Lock()

    @overload
    def connect(self, fun: F, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...) -> F: ...
    @overload
    def connect(
        self, *, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...
    ) -> Callable[[F], F]: ...
    def connect(
        self,
        fun: Callable[..., Any] | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:
        """Call ``fun(signal=, sender=, **named)`` whenever this is sent; usable as a plain or called decorator.

        ``sender`` narrows it to one sender; ``weak`` keeps no reference that would make ``fun`` live longer;
        ``dispatch_uid`` makes a repeated connect a no-op; ``retry`` calls it again, with growing pauses, until it does
        not raise (and keeps a strong reference).
        ``ValueError`` if ``fun`` takes no ``**kwargs``: signals gain arguments over time.
        """
        if fun is None:
            return lambda f: self._connect(f, sender, weak, dispatch_uid, retry)
        return self._connect(fun, sender, weak, dispatch_uid, retry)

    def _connect(self, fun: F, sender: Any, weak: bool, uid: Any, retry: bool) -> F:
        if not callable(fun):
            raise TypeError(f"signal receivers must be callable, not {fun!r}")
        if not _takes_keywords(fun):
            raise ValueError(f"signal receiver {fun!r} must accept keyword arguments (**kwargs)")
        key = (_key_of(fun, uid), sender if isinstance(sender, str) else id(sender) if sender is not None else None)
        get: Callable[[], Any]
        if weak and not retry:
            kind = weakref.WeakMethod if inspect.ismethod(fun) else weakref.ref
            get = kind(fun, self._collect)
        else:
            get = lambda: fun  # noqa: E731
        with self._lock:
            if all(known.key != key or known.get() is None for known in self.receivers):
                self.receivers = (*self.receivers, _Receiver(key, get, sender, retry))
        return fun

    def _collect(self, dead: Any) -> None:
        # Runs inside the garbage collector, possibly while this very thread holds the lock; a lost race only leaves a
        # dead entry behind.
        self.receivers = tuple(r for r in self.receivers if r.get is not dead)

    def disconnect(
        self,
        receiver: Callable[..., Any] | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Any = None,
    ) -> bool:
        """Stop telling ``receiver`` (or the one connected under ``dispatch_uid``); return whether there was one."""
        del weak  # accepted because callers of older interfaces pass it
        key = (
            _key_of(receiver, dispatch_uid),
            sender if isinstance(sender, str) else id(sender) if sender is not None else None,
        )
        with self._lock:
            left = tuple(r for r in self.receivers if r.key != key)
            found = len(left) != len(self.receivers)
            self.receivers = left
        return found

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether a send by this sender would reach anyone."""
        return any(r.hears(sender) and r.get() is not None for r in self.receivers)

    def send(self, sender: Any, **named: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Tell the receivers in the order of connecting; return (receiver, its answer or the exception it raised)
        for each.

        An exception in a receiver is logged, never raised.
        """
        answers: list[tuple[Callable[..., Any], Any]] = []
        for entry in self.receivers:
            if not entry.hears(sender):
                continue
            receiver = entry.get()
            if receiver is None:
                continue
            answers.append((receiver, self._call(receiver, entry.retry, sender, named)))
        return answers

    send_robust = send

    def _call(self, receiver: Callable[..., Any], retry: bool, sender: Any, named: dict[str, Any]) -> Any:
        tries = 0
        while True:
            # A receiver's fault must not break the sender, whatever it is.
            try:
                return receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception(
                    "Signal handler %r raised: %r", receiver, exc, extra={"action": "signal", "signal": self.name}
                )
                if not retry:
                    return exc
                time.sleep(RETRY_DELAYS[min(tries, len(RETRY_DELAYS) - 1)])
                tries += 1

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={sorted(self.providing_args)!r}>"
