"""The graph of what came of a task."""

from __future__ import annotations

import graphlib
import io

import pytest

from talo.app.dependencies import DependencyGraph


@pytest.fixture
def graph() -> DependencyGraph:
    # a leads to b and c, both of which lead to d
    return DependencyGraph([("a", ["b", "c"]), ("b", ["d"]), ("c", ["d"])])


def test_it_knows_its_nodes_and_what_they_lead_to(graph: DependencyGraph) -> None:
    assert list(graph) == ["a", "b", "c", "d"]
    assert dict(graph.items())["a"] == graph["a"] == ["b", "c"]
    assert graph.edges() == ["a", "b", "c"]
    assert "d" in graph and "e" not in graph and len(graph) == 4


def test_what_a_node_leads_to_is_sorted_before_it(graph: DependencyGraph) -> None:
    order = graph.topsort()
    assert all(order.index(target) < order.index(node) for node, targets in graph.items() for target in targets)


def test_the_edges_behind_a_node_are_counted(graph: DependencyGraph) -> None:
    assert [graph.valency_of(node) for node in "abcd"] == [4, 1, 1, 0]
    with pytest.raises(KeyError):
        graph.valency_of("e")


def test_it_is_written_for_graphviz(graph: DependencyGraph) -> None:
    file = io.StringIO()
    graph.to_dot(file, formatter=lambda node: f'task "{node}"')
    assert '"a" -> "b";' in file.getvalue() and file.getvalue().count("->") == 4
    assert r'"d" [label="task \"d\""];' in file.getvalue()


def test_as_text_it_is_indented_with_the_edges_behind_each(graph: DependencyGraph) -> None:
    assert repr(graph).splitlines()[:4] == ["a(4)", "    b(1)", "        d(0)", "    c(1)"]


def test_a_cycle_is_told() -> None:
    circle = DependencyGraph([("a", ["b"]), ("b", ["a"])])
    with pytest.raises(graphlib.CycleError):
        circle.topsort()
    assert "a" in DependencyGraph([("a", [])]).topsort()
