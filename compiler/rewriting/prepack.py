"""What depends on weights alone, as a graph of its own, which runs once when a model is prepared.

Splitting a graph gives the prologue, from the plan's weights to those that the rest reads, and the rest. A
weight that is read as it is keeps its path; one that is computed is called after the first operator that
reads it: `<label path>.<operand>`.
"""

from __future__ import annotations

from typing import NamedTuple

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, Weight, map_leaves
from ..graph.static import static_nodes
from ..ops.core.init import zeros
from ..ops.source import Input, ReadWeight
from ..sizes.dims import prod
from ..types import TensorType


class Split(NamedTuple):
    """`main` reads the weights that `prologue` gives: its result is a record of them by path."""

    main: Graph
    prologue: Graph


def split(graph: Graph) -> Split:
    """Part a graph into what runs once and what runs at each call."""
    parts = _Parts(graph)
    needed = parts.needed()
    names = _names(graph, needed, parts)
    return Split(_main(graph, needed, names), _prologue(graph, names))


class _Parts:
    """Which values the prologue can give, and which it should."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.static = static_nodes(graph)
        # Constants, which read no weight, are left where they are.
        self.weighty: set[Node] = set()
        for node in graph.nodes:
            if node in self.static and (
                isinstance(node.op, ReadWeight) or any(value.node in self.weighty for value in node.inputs)
            ):
                self.weighty.add(node)

    def given(self, node: Node, slot: str, value: Value) -> bool:
        """Whether a node that runs at each call reads this operand from the prologue."""
        if value.node in self.weighty:
            return not _only_stretches(value.node)
        # A constant where a layer has its weights, so that it can be that layer with these weights.
        return value.node in self.static and slot in ("weight", "bias") and node.path is not None

    def needed(self) -> list[Node]:
        """The nodes that must run at each call, in order."""
        alive: set[Node] = set()
        stack = [node for node in self.graph.nodes if "state" in node.effects or isinstance(node.op, Input)]
        stack += [value.node for value in self.graph.outputs if value.node not in self.weighty]
        while stack:
            node = stack.pop()
            if node not in alive:
                alive.add(node)
                for slot, value in zip(node.slots, node.inputs, strict=True):
                    if not self.given(node, slot, value):
                        stack.append(value.node)
        return [node for node in self.graph.nodes if node in alive]


def _only_stretches(node: Node) -> bool:
    """A view of more elements than it reads costs nothing at run time, and memory if it is kept."""
    if not node.op.view or not node.inputs:
        return False
    before, after = prod(node.inputs[0].shape), prod(node.results[0].shape)
    return isinstance(before, int) and isinstance(after, int) and after > before


def _names(graph: Graph, needed: list[Node], parts: _Parts) -> dict[Value, str]:
    """A path for each value that the prologue gives, in the order of their readers.

    A weight that is read as it is keeps its path, so that no other may have it.
    """
    wanted: dict[Value, str] = {}
    for node in needed:
        scope = node.region.path if node.region is not None else ""
        for slot, value in zip(node.slots, node.inputs, strict=True):
            if parts.given(node, slot, value):
                name = f"{scope}.{node.op.title}_{slot}".strip(".")
                wanted.setdefault(value, f"{node.path}.{slot}" if node.path else name)
    for number, value in enumerate(graph.outputs):
        if value.node in parts.weighty:
            wanted.setdefault(value, f"result_{number}")
    read = {value: value.node.op.path for value in wanted if isinstance(value.node.op, ReadWeight)}
    # Names of modules are not free, and neither are those of weights but for the one that it replaces.
    taken = {node.path for node in needed if node.path} | set(read.values())
    found: dict[Value, str] = {}
    for value, name in wanted.items():
        free, number = read.get(value, name), 2
        while value not in read and (free in taken or (free in graph.weights and free != name)):
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        found[value] = free
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
