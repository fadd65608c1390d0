"""A graph under construction: types are inferred, and constraints kept, as nodes are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..sizes.dims import Assumptions, Size, assuming, cleared, contradictory, holds, simplified
from ..sizes.guards import Contradiction, Guard, conflicting, facts_of
from ..types import TensorType

if TYPE_CHECKING:
    from ..ops.core.base import Op
from .graph import Graph, Node, Origin, Tree, Value, Weight, leaves


def _simplified(type: TensorType) -> TensorType:
    return TensorType(tuple(map(simplified, type.shape)), type.dtype)


class Builder:
    """Makes a graph: types are inferred as nodes are added; weights are entered once by path."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.inputs: list[Value] = []
        self.input_names: list[str] = []
        self.weights: dict[str, Weight] = {}
        self.guards: dict[tuple[str, Size, Size], Guard] = {}
        self.facts = Assumptions()
        self.weight_values: dict[str, Value] = {}

    def input(self, name: str, type: TensorType, origin: Origin | None = None) -> Value:
        """Add an input of the program."""
        from ..ops.source import Input

        (value,) = self._append(Input(label=name), (), (), (type,), None, origin).results
        self.inputs.append(value)
        self.input_names.append(name)
        return value

    def weight(self, weight: Weight, origin: Origin | None = None) -> Value:
        """Read a weight; the first reading enters it into the table, later ones give the same value."""
        from ..ops.source import ReadWeight

        value = self.weight_values.get(weight.path)
        if value is None:
            self.weights[weight.path] = weight
            node = self._append(ReadWeight(path=weight.path), (), (), (weight.type,), weight.path, origin)
            value = self.weight_values[weight.path] = node.results[0]
        return value

    def add(
        self,
        op: Op,
        inputs: Sequence[Value],
        slots: tuple[str, ...],
        path: str | None = None,
        origin: Origin | None = None,
        bodies: tuple[Graph, ...] = (),
    ) -> Node:
        """Apply an operator; raises `ShapeError` where the operands do not fit.

        Undecided constraints become guards of the graph, and are known to hold from there on; raises
        `Contradiction` where they cannot.
        """
        with assuming(self.facts):
            types, undecided = op.infer(tuple([value.type for value in inputs]), slots, bodies)
        for relation, left, right, message in undecided:
            self.require(Guard(relation, left, right, message, origin))
        if self.facts.facts:
            with assuming(self.facts):
                types = tuple(map(_simplified, types))
                if undecided:
                    # What is known of them only now may be what the operator is made by: an axis of one.
                    for value in inputs:
                        value.type = _simplified(value.type)
        return self._append(op, tuple(inputs), slots, types, path, origin, bodies)

    def copy(self, node: Node, inputs: Sequence[Value]) -> Node:
        """The application that a node of another graph is, to other operands of the same types."""
        types = [value.type for value in node.results]
        made = self._append(node.op, tuple(inputs), node.slots, types, node.path, None, node.bodies)
        made.origins = node.origins
        return made

    def require(self, guard: Guard) -> None:
        """Keep a constraint for run time unless those that are kept imply it; raises `Contradiction`."""
        with assuming(self.facts):
            verdict = holds(guard.relation, guard.left, guard.right)
        if verdict:
            return
        if guard.relation == ">=":
            left, right = cleared(guard.left, guard.right)
            guard = replace(guard, left=left, right=right)
        if verdict is None:
            with assuming(self.facts), assuming(facts_of([guard])):
                verdict = False if contradictory() else None
        if verdict is False:
            known = tuple(self.guards.values())
            raise Contradiction(guard, conflicting(known, guard) or known)
        self.guard(guard)

    def known(self) -> int:
        """How much is asked so far, for `forget`."""
        return len(self.guards)

    def forget(self, known: int) -> None:
        """Drop what was asked since: of a reading that did not fit after all."""
        for key in list(self.guards)[known:]:
            del self.guards[key]
            self.facts.drop(*key)

    def guard(self, guard: Guard) -> None:
        """Keep a constraint for run time; the same constraint is kept once."""
        key = guard.relation, guard.left, guard.right
        if key not in self.guards:
            self.guards[key] = guard
            self.facts.assume(*key)

    def _append(
        self,
        op: Op,
        inputs: tuple[Value, ...],
        slots: tuple[str, ...],
        types: Sequence[TensorType],
        path: str | None,
        origin: Origin | None,
        bodies: tuple[Graph, ...] = (),
    ) -> Node:
        node = Node(len(self.nodes), op, inputs, slots, types, path, (origin,) if origin else (), bodies)
        self.nodes.append(node)
        return node

    def freeze(self, output: Tree, keep: Sequence[Value] = ()) -> Graph:
        """The finished graph: only what reaches the output stays, and all inputs."""
        alive: set[Node] = {value.node for value in self.inputs}
        stack = [value.node for value in leaves(output)] + [value.node for value in keep]
        while stack:
            node = stack.pop()
            if node in alive and node.inputs == ():
                continue
            if node not in alive:
                alive.add(node)
                stack.extend(value.node for value in node.inputs)
        nodes = tuple(node for node in self.nodes if node in alive)
        if self.facts.facts:
            # What was asked late is known of what was made early too: equal sizes stay written alike.
            with assuming(self.facts):
                for value in (value for node in nodes if node.op.name != "input" for value in node.results):
                    value.type = _simplified(value.type)
        read = [str(node.path) for node in nodes if node.op.name == "weight"]
        weights = {path: self.weights[path] for path in read}
        for number, node in enumerate(nodes):
            node.id = number
        return Graph(
            self.name,
            nodes,
            tuple(self.inputs),
            tuple(self.input_names),
            output,
            weights,
            tuple(self.guards.values()),
        )
