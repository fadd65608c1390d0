"""Graphs in networkx's terms, for its algorithms."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any

from .graph import Graph, Node, Value


def to_networkx(graph: Graph) -> Any:
    """A networkx `MultiDiGraph`: the nodes of the graph, and an edge for each operand.

    An edge carries `value` and `slot`. Nodes are added in the graph's order, so that algorithms are
    deterministic. Weights and inputs are nodes too.
    """
    networkx: Any = import_module("networkx")  # loaded only where it is used; it has no types
    found = networkx.MultiDiGraph(name=graph.name)
    for node in graph.nodes:
        found.add_node(node, label=str(node.op))
    for node in graph.nodes:
        for slot, value in zip(node.slots, node.inputs, strict=True):
            found.add_edge(value.node, node, value=value, slot=slot)
    return found


def depth(graph: Graph) -> int:
    """The most weight layers on a path from an input to a result: a network's depth in the literature.

    A weight layer is an operator that multiplies by a weight matrix or kernel: one that has multiply-adds and
    reads a weight (ResNet-50 has 50).
    """
    longest: dict[Node, int] = {}
    for node in graph.nodes:
        before = max((longest[value.node] for value in node.inputs), default=0)
        longest[node] = before + (1 if _is_weight_layer(node) else 0)
    return max((longest[value.node] for value in graph.outputs), default=0)


def _is_weight_layer(node: Node) -> bool:
    if node.op.source or not any(value.node.op.name == "weight" for value in node.inputs):
        return False
    out = [value.shape for value in node.results]
    operands = node.op.arrange(node.slots, [value.shape for value in node.inputs])
    spent = node.op.call(node.op.cost, operands, out[0] if len(out) == 1 else out)
    return spent.macs != 0


def immediate_dominators(graph: Graph) -> dict[Node, Node | None]:
    """For each operator the last operator, input or weight that every path from the sources passes before it.

    None where there is no such node: paths from different sources meet there, or the node is a source.
    """
    return _immediate(graph, backwards=False)


def immediate_post_dominators(graph: Graph) -> dict[Node, Node | None]:
    """For each node the first one that every path from it to the results passes; None where there is none.

    What lies between a node and its immediate post-dominator cannot leave and come back: all that reads it
    is inside. Results of the graph end every path.
    """
    return _immediate(graph, backwards=True)


def _immediate(graph: Graph, backwards: bool) -> dict[Node, Node | None]:
    networkx: Any = import_module("networkx")
    found = networkx.DiGraph()
    end = object()
    found.add_node(end)
    ends = (
        [value.node for value in graph.outputs]
        if backwards
        else [node for node in graph.nodes if not node.inputs]
    )
    found.add_edges_from((end, node) for node in dict.fromkeys(ends))
    for node in graph.nodes:
        for value in node.inputs:
            found.add_edge(*((node, value.node) if backwards else (value.node, node)))
    above = networkx.immediate_dominators(found, end)
    return {node: (known if (known := above.get(node)) is not end else None) for node in graph.nodes}


def live_ranges(graph: Graph) -> dict[Value, tuple[int, int]]:
    """For each value the numbers of the first and the last node during which it must be kept.

    It begins with the node that makes it and ends with its last reader; a result of the graph lives to the
    end, and inputs and weights from the beginning.
    """
    last = len(graph.nodes) - 1
    found = {
        value: (0 if node.op.source else node.id, node.id) for node in graph.nodes for value in node.results
    }
    for node in graph.nodes:
        for value in node.inputs:
            found[value] = found[value][0], node.id
    for value in graph.outputs:
        found[value] = found[value][0], last
    return found


def connected(pairs: Iterable[tuple[Value, Value]], first: Collection[Value]) -> set[Value]:
    """The values that pairs, or chains of pairs, connect with some first ones, which are among them."""
    networkx: Any = import_module("networkx")
    found = networkx.Graph(list(pairs))
    found.add_nodes_from(first)
    parts: Iterable[set[Value]] = networkx.connected_components(found)
    return {value for part in parts if not part.isdisjoint(first) for value in part}
