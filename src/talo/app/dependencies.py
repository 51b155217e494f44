"""What came of a task, as a graph of result handles.

Owns the structure that Celery's users know from ``AsyncResult.graph``: what depends on what, in which order, as DOT. A
picture with states and names is ``app.graph``'s. Made by ``app.result``.
"""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

__all__ = ["DependencyGraph"]


class DependencyGraph:
    """Nodes in the order in which they were added, each with those that it leads to."""

    def __init__(
        self, it: Iterable[tuple[Any, Iterable[Any]]] = (), formatter: Callable[[Any], str] | None = None
    ) -> None:
        self.adjacent: dict[Any, list[Any]] = {}
        self._formatter = formatter
        self.update(it)

    def add_arc(self, obj: Any) -> None:
        """Add a node unless it is there."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Any, B: Any) -> None:
        """Let ``A``, which is there, lead to ``B``."""
        self.adjacent[A].append(B)

    def update(self, it: Iterable[tuple[Any, Iterable[Any]]]) -> None:
        """Add nodes, each with those that it leads to."""
        pairs = [(obj, list(targets)) for obj, targets in it]
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, targets in pairs:
            for target in targets:
                self.add_arc(target)
                self.add_edge(obj, target)

    def edges(self) -> list[Any]:
        """The nodes that lead to others."""
        return [obj for obj, targets in self.adjacent.items() if targets]

    def topsort(self) -> list[Any]:
        """The nodes, each behind all that it leads to. ``graphlib.CycleError`` for a cycle."""
        return list(graphlib.TopologicalSorter(self.adjacent).static_order())

    def valency_of(self, obj: Any) -> int:
        """How many edges lie behind a node; 0 for one that leads nowhere, ``KeyError`` for one that is not there."""
        degree: Counter[Any] = Counter()
        for each in graphlib.TopologicalSorter(self._behind(obj)).static_order():
            degree[each] = sum(1 + degree[target] for target in self.adjacent[each])
        return degree[obj]

    def _behind(self, obj: Any) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        waiting = [obj]
        while waiting:
            each = waiting.pop()
            if each not in found:
                found[each] = self.adjacent[each]
                waiting += found[each]
        return found

    def to_dot(self, fh: TextIO, formatter: Callable[[Any], str] | None = None) -> None:
        """Write it for Graphviz; ``formatter`` makes the label of a node."""
        label = formatter or self._formatter or str
        fh.write("digraph dependencies {\n  node [shape=box];\n")
        for obj in self.adjacent:
            fh.write(f"  {_quoted(str(obj))} [label={_quoted(label(obj))}];\n")
        for obj, targets in self.adjacent.items():
            for target in targets:
                fh.write(f"  {_quoted(str(obj))} -> {_quoted(str(target))};\n")
        fh.write("}\n")

    def items(self) -> Iterator[tuple[Any, list[Any]]]:
        """(node, nodes that it leads to)."""
        return iter(self.adjacent.items())

    iteritems = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, node: Any) -> list[Any]:
        return self.adjacent[node]

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def __len__(self) -> int:
        return len(self.adjacent)

    def __repr__(self) -> str:
        return "\n".join(line for obj in self for line in self._lines(obj, 0, ()))

    def _lines(self, obj: Any, level: int, above: tuple[Any, ...]) -> Iterator[str]:
        if obj in above:
            return
        yield f"{'    ' * level}{obj}({self.valency_of(obj)})"
        for target in self.adjacent[obj]:
            yield from self._lines(target, level + 1, (*above, obj))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
