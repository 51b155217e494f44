"""Stamps: values that a visitor puts on every call of a workflow, to be found in the headers of their messages.

Owns the visitor and the walk; that stamps reach the messages is ``app.send``'s. Called by ``Signature.stamp`` and
``stamp_links``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

__all__ = ["StampingVisitor", "stamp", "stamp_links"]

HEADERS = "stamped_headers"


class StampingVisitor(ABC):
    """Says which stamps each part of a workflow gets.

    Each hook returns a dict of stamps (or None). With the key ``stamped_headers`` only the names listed there are
    stamps, and the rest are plain options; without it all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of one call."""

    def on_group_start(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of a group and all in it."""

    def on_group_end(self, sig: Any, **headers: Any) -> None:
        """Called when all in a group is stamped."""

    def on_chain_start(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of a chain and all in it."""

    def on_chain_end(self, sig: Any, **headers: Any) -> None:
        """Called when all in a chain is stamped."""

    def on_chord_header_start(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of all in the header of a chord; by default what ``on_group_start`` says."""
        return self.on_group_start(sig.tasks, **headers)

    def on_chord_header_end(self, sig: Any, **headers: Any) -> None:
        """Called when all in the header is stamped."""
        self.on_group_end(sig.tasks, **headers)

    def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of the body of a chord."""

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of a linked callback."""

    def on_errback(self, errback: Any, **headers: Any) -> dict[str, Any] | None:
        """Stamps of a linked error callback."""


def stamp(signature: Any, visitor: StampingVisitor | None, append: bool = False, headers: Any = None) -> None:
    """Put the stamps of ``visitor``, and ``headers``, on a signature and all that it is made of.

    Stamps that are there stay; with ``append`` a second value of one joins the first in a list.
    """
    try:
        _Walk(visitor, append).visit(signature, _declared(headers or {}))
    except RecursionError:
        raise ValueError(f"{signature['task']} is linked to itself in a circle and cannot be stamped") from None


def stamp_links(signature: Any, visitor: StampingVisitor | None, append: bool = False, headers: Any = None) -> None:
    """The same for the callbacks and error callbacks of a signature, and not for itself."""
    _Walk(visitor, append).links(signature, _declared(headers or {}))


class _Walk:
    def __init__(self, visitor: StampingVisitor | None, append: bool) -> None:
        self._visitor = visitor
        self._append = append

    def visit(self, signature: Any, headers: Mapping[str, Any]) -> None:
        kind = signature.get("subtask_type")
        kwargs = signature["kwargs"]
        if kind == "chain":
            inside = {**headers, **self._ask("on_chain_start", signature, headers)}
            self._call(signature, inside)
            for step in kwargs["tasks"]:
                self.visit(step, inside)
            self._ask("on_chain_end", signature, inside)
        elif kind == "group":
            inside = {**headers, **self._ask("on_group_start", signature, headers)}
            self._call(signature, inside)
            for member in kwargs["tasks"]:
                self.visit(member, inside)
            self._ask("on_group_end", signature, inside)
        elif kind == "chord":
            inside = {**headers, **self._ask("on_chord_header_start", signature, headers)}
            for member in kwargs["header"]["kwargs"]["tasks"]:
                self.visit(member, inside)
            self._ask("on_chord_header_end", signature, inside)
            if kwargs["body"] is not None:
                self.visit(kwargs["body"], {**headers, **self._ask("on_chord_body", signature, headers)})
        else:
            self._call(signature, headers)

    def _call(self, signature: Any, headers: Mapping[str, Any]) -> None:
        """Stamp one call and its callbacks."""
        own = {**headers, **self._ask("on_signature", signature, headers)}
        if signature.get("subtask_type") is None:
            self._put(signature, own)
        self.links(signature, headers)

    def links(self, signature: Any, headers: Mapping[str, Any]) -> None:
        """Stamp the callbacks and error callbacks of one signature."""
        for key, hook in (("link", "on_callback"), ("link_error", "on_errback")):
            links = signature["options"].get(key)
            if not links:
                continue
            links = list(links) if isinstance(links, list | tuple) else [links]
            signature["options"][key] = links = [
                link if hasattr(link, "stamp") else signature.from_dict(link, signature._app) for link in links
            ]
            for link in links:
                self.visit(link, {**headers, **self._ask(hook, link, headers)})

    def _ask(self, hook: str, subject: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
        if self._visitor is None:
            return {}
        return _declared(getattr(self._visitor, hook)(subject, **headers) or {})

    def _put(self, signature: Any, stamps: Mapping[str, Any]) -> None:
        options = signature["options"]
        names = [name for name in stamps if name != HEADERS]
        known = list(options.get(HEADERS) or ())
        for name in names:
            if self._append and name in options and name in known:
                options[name] = _both(options[name], stamps[name])
            elif name not in known:
                options[name] = stamps[name]
        if names or known:
            options[HEADERS] = sorted({*known, *names})


def _declared(given: Mapping[str, Any]) -> dict[str, Any]:
    """Only what is a stamp."""
    names = given.get(HEADERS)
    return {key: value for key, value in given.items() if key != HEADERS and (names is None or key in names)}


def _both(old: Any, new: Any) -> list[Any]:
    first = list(old) if isinstance(old, list | tuple | set) else [old]
    second = list(new) if isinstance(new, list | tuple | set) else [new]
    return first + [value for value in second if value not in first]
