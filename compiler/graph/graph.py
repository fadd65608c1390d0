"""The typed operator graph: values, nodes, weights, regions; a mutable builder and its frozen result.

A node applies an operator to values. Weights are values too, made by nodes of the operator `weight`, so
whatever depends only on weights is an ordinary part of the graph. A graph is flat: which block call a node
came from
is an annotation (`Region`). Passes build new graphs and change none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from ..sizes.dims import Assumptions
from ..sizes.guards import Guard, facts_of
from ..types import Shape, TensorType

if TYPE_CHECKING:
    from ..ops.core.base import Op
    from ..ops.core.init import Init


class Value:
    """The result number `index` of a node; compared by identity."""

    __slots__ = ("index", "node", "type")

    def __init__(self, node: Node, index: int, type: TensorType) -> None:
        self.node = node
        self.index = index
        self.type = type

    @property
    def shape(self) -> Shape:
        """The value's sizes."""
        return self.type.shape

    def __repr__(self) -> str:
        return f"%{self.node.id}" + (f".{self.index}" if self.index else "")


class Region:
    """One call of a block: the block's name, the path that its labels start with, and the call around it."""

    __slots__ = ("arguments", "block", "line", "parent", "path")

    def __init__(
        self,
        block: str,
        path: str,
        parent: Region | None,
        line: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.block = block
        self.path = path
        self.parent = parent
        self.line = line
        self.arguments = arguments or {}

    def chain(self) -> tuple[Region, ...]:
        """The regions from the outermost to this one."""
        found: list[Region] = []
        region: Region | None = self
        while region is not None:
            found.append(region)
            region = region.parent
        return tuple(reversed(found))


class Origin(NamedTuple):
    """Where a node comes from: a place in a text (opaque here; `str` gives `file:line:column`) and the
    region.
    """

    place: object
    region: Region | None


class Node:
    """An operator applied to values.

    `slots[i]` names the operand of the operator that `inputs[i]` is; a list operand repeats its name.
    `path` is the label path of the call, or None. `bodies` are graphs that the operator runs (scan steps,
    fused groups).
    """

    __slots__ = ("bodies", "id", "inputs", "op", "origins", "path", "results", "slots")

    def __init__(
        self,
        id: int,
        op: Op,
        inputs: tuple[Value, ...],
        slots: tuple[str, ...],
        types: Sequence[TensorType],
        path: str | None,
        origins: tuple[Origin, ...],
        bodies: tuple[Graph, ...] = (),
    ) -> None:
        self.id = id
        self.op = op
        self.inputs = inputs
        self.slots = slots
        self.path = path
        self.origins = origins
        self.bodies = bodies
        self.results = tuple(Value(self, index, type) for index, type in enumerate(types))

    @property
    def region(self) -> Region | None:
        """The innermost block call that the node belongs to."""
        return self.origins[0].region if self.origins else None

    @property
    def effects(self) -> frozenset[str]:
        """What the node does besides its results: subset of {"random", "state"}, bodies included."""
        own = self.op.effects
        for body in self.bodies:
            for node in body.nodes:
                own = own | node.effects
        return own

    def operands(self) -> dict[str, Any]:
        """The inputs by slot name, as the operator's rules take them; a list operand is a list."""
        return self.op.arrange(self.slots, self.inputs)

    def __repr__(self) -> str:
        return f"<{self.op} {self.path or ''}#{self.id}>"


@dataclass(frozen=True, eq=False)
class Weight:
    """An entry of the weight table.

    `kind` is "param" or "buffer"; `trainable` is false for frozen parameters. `init` is an initialiser or a
    graph without inputs whose one output is the initial content.
    """

    path: str
    type: TensorType
    init: Init | Graph
    kind: str = "param"
    trainable: bool = True
    persistent: bool = True


# Results of a program keep their written structure: a value, a tuple, a list or a record of such.
Tree: TypeAlias = "Value | tuple[Tree, ...] | list[Tree] | dict[str, Tree] | int | float | bool | str | None"


def leaves(tree: Tree) -> Iterator[Value]:
    """The values of a result structure in order."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)


def map_leaves(tree: Tree, function: Any) -> Any:
    """The same structure with `function` applied to each value."""
    if isinstance(tree, Value):
        return function(tree)
    if isinstance(tree, tuple):
        return tuple(map_leaves(item, function) for item in tree)
    if isinstance(tree, list):
        return [map_leaves(item, function) for item in tree]
    if isinstance(tree, dict):
        return {key: map_leaves(item, function) for key, item in tree.items()}
    return tree


@dataclass(frozen=True, eq=False)
class Graph:
    """A frozen graph: nodes in an order that respects their data, inputs, results.

    `weights` holds the table entries that the graph reads, by path.
    """

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    input_names: tuple[str, ...]
    output: Tree
    weights: Mapping[str, Weight]
    guards: tuple[Guard, ...] = ()

    @cached_property
    def facts(self) -> Assumptions:
        """What may be assumed of the sizes, since the guards are checked."""
        return facts_of(self.guards)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The result values, flattened."""
        return tuple(leaves(self.output))

    def users(self) -> dict[Value, list[Node]]:
        """For each value, the nodes that read it, in order; computed afresh."""
        found: dict[Value, list[Node]] = {value: [] for node in self.nodes for value in node.results}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found[value].append(node)
        return found

    def operators(self) -> Iterator[Node]:
        """The nodes that compute: neither inputs nor weights."""
        return (node for node in self.nodes if not node.op.source)

    def __deepcopy__(self, memo: object) -> Graph:
        return self  # immutable

    def __reduce__(self) -> tuple[Any, ...]:
        # Flat, so that the depth of a network is not the depth of the pickle.
        number = {value: (at, value.index) for at, node in enumerate(self.nodes) for value in node.results}
        rows = [
            (
                node.op,
                tuple(number[value] for value in node.inputs),
                node.slots,
                tuple(value.type for value in node.results),
                node.path,
                node.origins,
                node.bodies,
            )
            for node in self.nodes
        ]

        def refer(value: Value) -> _Reference:
            return _Reference(*number[value])

        output = map_leaves(self.output, refer)
        inputs = tuple(number[value] for value in self.inputs)
        return _rebuild, (self.name, rows, inputs, self.input_names, output, dict(self.weights), self.guards)


class _Reference(NamedTuple):
    """A value in a pickled graph: the node's place and the result's number."""

    node: int
    result: int


def _rebuild(
    name: str,
    rows: list[Any],
    inputs: tuple[tuple[int, int], ...],
    input_names: tuple[str, ...],
    output: Any,
    weights: dict[str, Weight],
    guards: tuple[Guard, ...],
) -> Graph:
    nodes: list[Any] = []
    for op, operands, slots, types, path, origins, bodies in rows:
        values = tuple(nodes[at].results[index] for at, index in operands)
        nodes.append(Node(len(nodes), op, values, slots, types, path, origins, bodies))

    def restore(tree: Any) -> Any:
        if isinstance(tree, _Reference):
            return nodes[tree.node].results[tree.result]
        if isinstance(tree, dict):
            return {key: restore(item) for key, item in cast("dict[str, Any]", tree).items()}
        if isinstance(tree, (tuple, list)):
            items = [restore(item) for item in cast("list[Any]", tree)]
            return tuple(items) if isinstance(tree, tuple) else items
        return tree

    entry = tuple(nodes[at].results[index] for at, index in inputs)
    return Graph(name, tuple(nodes), entry, input_names, restore(output), weights, guards)
