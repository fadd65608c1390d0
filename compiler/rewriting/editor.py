"""The graph under construction, as rewrites see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Origin, Value
from ..graph.static import is_static_node, static_nodes
from ..ops import registry
from ..ops.core.base import Op
from .match import Match
from .rule import Rule


class Editor:
    """The graph under construction, as rewrites see it."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self._uses: dict[Value, int] = {}
        self._static: set[Node] = set()
        self._readers: dict[Value, list[Node]] = {}
        self._origins: tuple[Origin, ...] = ()

    # --- facts ---

    def uses(self, value: Value) -> int:
        """How often a value is read, as an operand or as a result of the graph."""
        return self._uses[value]

    def is_static(self, value: Value) -> bool:
        """Whether a value depends on weights and constants alone, and its sizes are known."""
        return value.node in self._static

    def readers(self, value: Value) -> Sequence[Node]:
        """The nodes of the graph before the sweep that read what is now this value."""
        return self._readers.get(value, ())

    # --- building ---

    def add(self, name: str, *inputs: Value | None, path: str | None = None, **arguments: Any) -> Value:
        """The first result of a new application of the operator of that name; see `apply`."""
        return self.apply(registry()[name](**arguments), *inputs, path=path).results[0]  # pyright: ignore[reportArgumentType]

    def apply(self, op: Op, *inputs: Value | None, path: str | None = None) -> Node:
        """Apply an operator to operands in the order of its signature; None leaves an optional one out."""
        slots: list[str] = []
        names = [(operand.name, operand.arity) for operand in op.signature()]
        at = 0
        for _ in inputs:
            name, arity = names[at]
            slots.append(name)
            at += arity != "many"
        given = [(slot, value) for slot, value in zip(slots, inputs, strict=True) if value is not None]
        node = self.builder.add(op, [value for _, value in given], tuple(slot for slot, _ in given), path)
        node.origins = self._origins
        return self.enter(node)

    def with_operands(self, node: Node, **operands: Value) -> Node:
        """The same application with some operands exchanged or added."""
        given = dict(zip(node.slots, node.inputs, strict=True)) | operands
        order = [operand.name for operand in node.op.signature() if operand.name in given]
        made = self.builder.add(node.op, [given[slot] for slot in order], tuple(order), node.path)
        made.origins = self._origins
        return self.enter(made)

    def copy(self, node: Node, *inputs: Value) -> Value:
        """The first result of the same application to other operands of the same types."""
        made = self.builder.copy(node, inputs)
        made.origins = self._origins
        return self.enter(made).results[0]

    def enter(self, node: Node, readers: bool = True) -> Node:
        """Take note of a node that was added to the builder."""
        for value in node.results:
            self._uses[value] = 0
        if readers:
            for value in node.inputs:
                self._uses[value] += 1
        if is_static_node(node, self._static):
            self._static.add(node)
        return node

    def cast(self, value: Value, like: Value) -> Value:
        """The value in the element type of another."""
        return (
            value if value.type.dtype == like.type.dtype else self.add("cast", value, dtype=like.type.dtype)
        )

    # --- what the sweep asks ---

    def carry(self, value: Value, uses: int, readers: Sequence[Node]) -> None:
        """Let a rebuilt value be read as often as the value that it stands for."""
        self._uses[value] += uses
        self._readers.setdefault(value, []).extend(readers)

    def attempt(self, rule: Rule, match: Match) -> tuple[Value, ...]:
        """What the rule builds; the nodes get the origins of all that the match covers."""
        nodes = sorted(match.nodes, key=lambda node: node.id)
        self._origins = tuple(dict.fromkeys(origin for node in nodes for origin in node.origins))
        built = rule.rewrite(match, self)
        self._origins = ()
        return (built,) if isinstance(built, Value) else tuple(built)

    def release(self, node: Node) -> None:
        """A node is not needed any more, and neither is what only it read."""
        stack = [node]
        while stack:
            dead = stack.pop()
            for value in dead.inputs:
                self._uses[value] -= 1
                if all(self._uses[other] == 0 for other in value.node.results):
                    stack.append(value.node)


class GraphFacts:
    """What is known of a graph as it stands: the `Facts` of a sweep that has changed nothing yet."""

    def __init__(self, graph: Graph) -> None:
        self._readers = graph.users()
        self._static = static_nodes(graph)
        self._uses: dict[Value, int] = {}
        for node in graph.nodes:
            for value in node.inputs:
                self._uses[value] = self._uses.get(value, 0) + 1
        for value in graph.outputs:
            self._uses[value] = self._uses.get(value, 0) + 1

    def uses(self, value: Value) -> int:
        """How often a value is read, as an operand or as a result of the graph."""
        return self._uses.get(value, 0)

    def is_static(self, value: Value) -> bool:
        """Whether a value depends on weights and constants alone, and its sizes are known."""
        return value.node in self._static

    def readers(self, value: Value) -> Sequence[Node]:
        """The nodes that read a value."""
        return self._readers[value]


# Passes look at the same graph in turn until none changes it.
_known: WeakKeyDictionary[Graph, GraphFacts] = WeakKeyDictionary()


def graph_facts(graph: Graph) -> GraphFacts:
    """What is known of a graph, which is worked out once."""
    found = _known.get(graph)
    if found is None:
        found = _known[graph] = GraphFacts(graph)
    return found
