"""A partitioned graph with a node for each kernel, whose members are its body."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Origin, Value, map_leaves
from ..ops.fused import Fused
from ..ops.source import Input, ReadWeight
from .partition import Group, Partition, partition


def fuse(graph: Graph, parts: Partition | None = None) -> Graph:
    """The graph with a `fused` node for each group of two operators and more; the same results.

    A group of one operator, or of views alone, stays as it is.
    """
    return fuse_with_places(graph, parts or partition(graph))[0]


def fuse_with_places(graph: Graph, parts: Partition) -> tuple[Graph, dict[Node, Group]]:
    """`fuse`, and the group that each node stands for, or for an operator of."""
    places: dict[Node, Group] = {}
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    new: dict[Value, Value] = {}
    keep: list[Value] = []

    def place(node: Node) -> None:
        if isinstance(node.op, Input):
            made = builder.input(node.op.label, node.results[0].type).node
        elif isinstance(node.op, ReadWeight):
            made = builder.weight(graph.weights[node.op.path]).node
        else:
            made = builder.copy(node, [new[value] for value in node.inputs])
        made.origins = node.origins
        new.update(zip(node.results, made.results, strict=True))
        if "state" in node.effects:
            keep.extend(made.results)

    for node in graph.nodes:
        if node not in parts.group_of:
            place(node)
    for group in parts.groups:
        members = [node for node in group.nodes if not node.op.view]
        if len(group.nodes) < 2 or not members or not group.outputs:
            for node in group.nodes:
                place(node)
                places[new[node.results[0]].node] = group
            continue
        body = _body(group)
        how = (group.block.axis, group.block.rows) if group.block else (None, None)
        op = Fused(kind=group.kind, axis=how[0], rows=how[1])
        operands = [new[value] for value in group.inputs]
        made = builder.add(op, operands, ("xs",) * len(operands), bodies=(body,))
        made.origins = _origins(group.nodes)
        places[made] = group
        new.update(zip(group.outputs, made.results, strict=True))
    return builder.freeze(map_leaves(graph.output, new.__getitem__), keep), places


def _body(group: Group) -> Graph:
    """The members as a graph of their own: values from outside are its inputs."""
    builder = Builder(f"{group.kind}_{group.number}")
    new: dict[Value, Value] = {}
    for number, value in enumerate(group.inputs):
        new[value] = builder.input(f"x{number}", value.type)
    for node in group.nodes:
        made = builder.copy(node, [new[value] for value in node.inputs])
        new.update(zip(node.results, made.results, strict=True))
    return builder.freeze(tuple(new[value] for value in group.outputs))


def _origins(nodes: Sequence[Node]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(origin for node in nodes for origin in node.origins))
