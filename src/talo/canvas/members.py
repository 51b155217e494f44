"""The members of a group that come from an iterator and are too many to be read at once.

Owns reading them, either into a list, as soon as somebody looks at them, or one by one for a sending that keeps none.
Made by ``primitives.group``, emptied by ``app.workflows``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talo.canvas.signature import Signature

__all__ = ["AT_ONCE", "Members", "read"]

#: So many members are read when a group is made; what has no more is a list, like any other.
AT_ONCE = 10_000


def read(members: Iterable[Signature]) -> list[Signature] | Members:
    """Return the members as a list; those of an iterator that has very many as ``Members``."""
    if not isinstance(members, Iterator):
        return list(members)
    first = list(itertools.islice(members, AT_ONCE))
    return first if len(first) < AT_ONCE else Members(first, members)


class Members(Sequence[Any]):
    """Signatures that are read from an iterator when they are needed. They can be streamed once, and are spent then;
    any other look at them keeps them."""

    def __init__(self, head: Sequence[Signature], rest: Iterator[Signature]) -> None:
        #: The first of them.
        self.first = head[0]
        self._source: Iterator[Signature] | None = itertools.chain(head, rest)
        self._kept: list[Signature] | None = None

    def stream(self) -> Iterator[Signature]:
        """Each member, of which nothing is kept unless it was before."""
        if self._kept is not None:
            return iter(self._kept)
        source, self._source = self._source, None
        if source is None:
            raise RuntimeError(
                "the members of this group came from an iterator and have been sent; make it of a list to use it again"
            )
        return source

    def listed(self) -> list[Signature]:
        """All of them."""
        if self._kept is None:
            self._kept = list(self.stream())
        return self._kept

    def __getitem__(self, index: Any) -> Any:
        return self.listed()[index]

    def __len__(self) -> int:
        return len(self.listed())

    def __iter__(self) -> Iterator[Signature]:
        return iter(self.listed())

    def __json__(self) -> list[Signature]:
        return self.listed()
