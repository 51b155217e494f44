"""A workflow as a picture: tree, DOT or Mermaid, with the state of each task.

Owns the walk over result handles (parents, members, children) and the three forms. Nothing is changed by looking.
Called by user code and by the command ``talo graph``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from talo.app.groups import ResultSet
from talo.app.workflows import top_of

__all__ = ["Graph", "Node", "graph_of"]

_COLOURS = {"SUCCESS": "palegreen", "FAILURE": "salmon", "REVOKED": "grey", "STARTED": "lightyellow", "RETRY": "khaki"}


class Node(NamedTuple):
    """One task, or a group of them."""

    id: str
    name: str
    state: str


class Graph:
    """Nodes in the order in which they were met, and what led to what."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: dict[str, list[str]] = {}

    def add(self, node: Node, parents: list[str]) -> None:
        """Add a node behind its parents."""
        self.nodes.setdefault(node.id, node)
        for parent in parents:
            targets = self.edges.setdefault(parent, [])
            if node.id not in targets and node.id != parent:
                targets.append(node.id)

    def roots(self) -> list[str]:
        """The nodes that nothing led to."""
        led_to = {target for targets in self.edges.values() for target in targets}
        return [node_id for node_id in self.nodes if node_id not in led_to]

    def as_tree(self) -> str:
        """Lines of text; what was shown before is only named."""
        return "\n".join(line for root in self.roots() for line in self._branch(root, "", "", set()))

    def _branch(self, node_id: str, first: str, rest: str, seen: set[str]) -> Iterator[str]:
        node = self.nodes[node_id]
        if node_id in seen:
            yield f"{first}{node.name} {node.id} (above)"
            return
        seen.add(node_id)
        yield f"{first}{node.name} {node.id} {node.state}"
        targets = self.edges.get(node_id, [])
        for target in targets:
            last = target is targets[-1]
            yield from self._branch(target, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), seen)

    def as_dot(self) -> str:
        """The graph for Graphviz."""
        lines = ["digraph workflow {", "  node [shape=box, style=filled];"]
        for node in self.nodes.values():
            colour = _COLOURS.get(node.state, "white")
            label = f"{node.name}\\n{node.state}".replace('"', "'")
            lines.append(f'  "{node.id}" [label="{label}", fillcolor="{colour}"];')
        lines += [f'  "{source}" -> "{target}";' for source, targets in self.edges.items() for target in targets]
        return "\n".join([*lines, "}"])

    def as_mermaid(self) -> str:
        """The graph for Mermaid."""
        number = {node_id: f"n{at}" for at, node_id in enumerate(self.nodes)}
        lines = ["flowchart TD"]
        for node in self.nodes.values():
            label = f"{node.name}<br/>{node.state}".replace('"', "'")
            lines.append(f'  {number[node.id]}["{label}"]')
        lines += [
            f"  {number[source]} --> {number[target]}" for source, targets in self.edges.items() for target in targets
        ]
        return "\n".join(lines)


def graph_of(result: Any) -> Graph:
    """The workflow that a result belongs to, as far as its handle and the stored results tell of it."""
    graph = Graph()
    line = []
    node = result
    while node is not None:
        line.append(node)
        node = node.parent
    ends: list[str] = []
    for each in reversed(line):
        ends = _add(graph, each, ends)
    _add_children(graph, top_of(result))
    return graph


def _add(graph: Graph, result: Any, parents: list[str]) -> list[str]:
    """Add a result; return the ids that what follows comes from."""
    if isinstance(result, ResultSet):
        ends = []
        for member in result.results:
            ends += _add(graph, member, parents)
        return ends or parents
    graph.add(_node(result), parents)
    return [result.id]


def _add_children(graph: Graph, top: Any) -> None:
    waiting = list(top.results) if isinstance(top, ResultSet) else [top]
    seen: set[str] = set()
    while waiting:
        result = waiting.pop(0)
        if isinstance(result, ResultSet):
            waiting += result.results
        elif result.id not in seen:
            seen.add(result.id)
            for child in result.children or ():
                if child.id not in graph.nodes:
                    graph.add(_node(child), [result.id])
                waiting.append(child)


def _node(result: Any) -> Node:
    return Node(result.id, result.name or "task", result.state)
