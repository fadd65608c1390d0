"""Graphs in networkx's terms, for its algorithms."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .graph import Graph, Node


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
