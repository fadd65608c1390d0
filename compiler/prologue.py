"""What depends on weights alone, as a graph of its own, which runs once when a model is prepared.

Splitting a graph gives the prologue, from the plan's weights to those that the rest reads, and the rest. A
weight that is read as it is keeps its path; one that is computed is called after the first operator that
reads it: `<label path>.<operand>`.
"""

from __future__ import annotations

from typing import NamedTuple

from .dims import prod
from .graph import Builder, Graph, Node, TensorType, Value, Weight, map_leaves
from .ops.init import zeros
from .ops.source import Input, ReadWeight
from .static import static_nodes


class Split(NamedTuple):
    """`main` reads the weights that `prologue` gives: its result is a record of them by path."""

    main: Graph
    prologue: Graph


def split(graph: Graph) -> Split:
    """Part a graph into what runs once and what runs at each call."""
    static = static_nodes(graph)
    depends = _on_weights(graph, static)
    early = frozenset(node for node in depends if not _only_stretches(node))
    needed = _needed(graph, early)
    names = _names(graph, needed, early)
    return Split(_main(graph, needed, names), _prologue(graph, names))


def _on_weights(graph: Graph, static: frozenset[Node]) -> set[Node]:
    """The static nodes that read a weight: constants are left where they are."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node in static and (
            isinstance(node.op, ReadWeight) or any(value.node in found for value in node.inputs)
        ):
            found.add(node)
    return found


def _only_stretches(node: Node) -> bool:
    """A view of more elements than it reads costs nothing at run time, and memory if it is kept."""
    if not node.op.view or not node.inputs:
        return False
    before, after = prod(node.inputs[0].shape), prod(node.results[0].shape)
    return isinstance(before, int) and isinstance(after, int) and after > before


def _needed(graph: Graph, early: frozenset[Node]) -> list[Node]:
    """The nodes that must run at each call, in order, with constants and stretches that they read."""
    alive: set[Node] = set()
    stack = [node for node in graph.nodes if "state" in node.effects or isinstance(node.op, Input)]
    stack += [value.node for value in graph.outputs]
    while stack:
        node = stack.pop()
        if node not in alive and node not in early:
            alive.add(node)
            stack.extend(value.node for value in node.inputs)
    return [node for node in graph.nodes if node in alive]


def _names(graph: Graph, needed: list[Node], early: frozenset[Node]) -> dict[Value, str]:
    """A path for each value that the prologue gives, in the order of their readers."""
    taken = set(graph.weights) | {node.path for node in needed if node.path}
    found: dict[Value, str] = {}

    def name(value: Value, wanted: str) -> None:
        if value.node not in early or value in found:
            return
        if isinstance(value.node.op, ReadWeight):
            found[value] = value.node.op.path
            return
        # The plan's own weight of that name is free, unless it is read as it is, too.
        free = wanted if wanted not in found.values() and wanted not in read else ""
        number = 2
        while not free or (free in taken and free not in graph.weights):
            free = f"{wanted}_{number}"
            free = "" if free in taken or free in found.values() else free
            number += 1
        found[value] = free

    read = {
        value.node.op.path
        for node in needed
        for value in node.inputs
        if value.node in early and isinstance(value.node.op, ReadWeight)
    }
    for node in needed:
        for slot, value in zip(node.slots, node.inputs, strict=True):
            region = node.region
            scope = region.path if region is not None and region.path else ""
            base = node.path or f"{scope}.{node.op.title}".strip(".")
            name(value, f"{base}.{slot}" if node.path else f"{base}_{slot}")
    for number, value in enumerate(graph.outputs):
        name(value, f"result_{number}")
    return found


def _main(graph: Graph, needed: list[Node], names: dict[Value, str]) -> Graph:
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    new: dict[Value, Value] = {}

    def read(value: Value) -> Value:
        if value not in new:
            made = builder.weight(_weight(graph, value, names[value]))
            made.node.origins = value.node.origins
            new[value] = made
        return new[value]

    for node in needed:
        if isinstance(node.op, Input):
            made = builder.input(node.op.label, node.results[0].type).node
        else:
            made = builder.copy(node, [read(value) for value in node.inputs])
        made.origins = node.origins
        new.update(zip(node.results, made.results, strict=True))
    keep = [value for node in needed if "state" in node.effects for value in node.results]
    return builder.freeze(map_leaves(graph.output, read), [new[value] for value in keep])


def _weight(graph: Graph, value: Value, path: str) -> Weight:
    if isinstance(value.node.op, ReadWeight):
        return graph.weights[value.node.op.path]
    return Weight(path, TensorType(value.shape, value.type.dtype), zeros(), trainable=False)


def _prologue(graph: Graph, names: dict[Value, str]) -> Graph:
    """The graph of the early nodes that gives the named values."""
    builder = Builder(f"{graph.name}_prologue")
    wanted: set[Node] = set()
    stack = [value.node for value in names]
    while stack:
        node = stack.pop()
        if node not in wanted:
            wanted.add(node)
            stack.extend(value.node for value in node.inputs)
    new: dict[Value, Value] = {}
    for node in graph.nodes:
        if node not in wanted:
            continue
        if isinstance(node.op, ReadWeight):
            made = builder.weight(graph.weights[node.op.path]).node
        else:
            made = builder.copy(node, [new[value] for value in node.inputs])
        made.origins = node.origins
        new.update(zip(node.results, made.results, strict=True))
    return builder.freeze({path: new[value] for value, path in names.items()})
