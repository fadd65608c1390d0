"""Graphs in networkx's terms, for its algorithms."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .graph import Graph


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
