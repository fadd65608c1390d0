"""Operators joined where that costs nothing: chains, epilogues, reductions and data movement.

A node joins the kernel that computes its operand where each of its elements needs one element computed there
(an elementwise chain; bias, activation, scale and residual behind a convolution or a matrix product), where
it is a view, or where it moves elements one to one. Rows that are reduced take elementwise operators before
them in. What only moves elements is read through by its one reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Literal, NamedTuple

from ..graph.graph import Graph, Node, Value
from ..ops.core.base import Role
from ..sizes.dims import at_least, equal, prod
from .contract import Contraction, Kernel
from .roles import role_of

# Why two neighbours are not one kernel.
Cause = Literal[
    "opaque",
    "cycle",
    "several readers",
    "larger",
    "tiles",
    "rows",
    "size",
    "memory",
    "no gain",
    "axis",
    "kernel",
]


class Obstacle(NamedTuple):
    """Why a node does not join the kernel of an operand: the cause, and the words for people."""

    cause: Cause
    reason: str


class Kernels:
    """Sweeps a graph into kernels; `result` is what is left of it."""

    def __init__(self, graph: Graph, static: Set[Node]) -> None:
        self.static = static
        self.roles: dict[Node, Role] = {
            node: role_of(node) for node in graph.operators() if node not in static
        }
        self.users: Mapping[Value, list[Node]] = graph.users()
        self.outputs = frozenset(graph.outputs)
        self.result = Contraction(())
        for node, role in self.roles.items():
            kernel = self.result.enter(node, role)
            self._place(node, kernel)

    def _place(self, node: Node, kernel: Kernel) -> None:
        """Join the kernels of the operands, the heaviest first, as far as there is no obstacle."""
        operands = [value for value in dict.fromkeys(node.inputs) if value.node in self.roles]
        operands.sort(key=lambda value: -self.result.kernel_of[value.node].level)
        joined = False
        for value in operands:
            producer = self.result.kernel_of[value.node]
            if producer is kernel or self.obstacle(value, node, joined) is not None:
                continue
            # The first that a node joins leads; what joins later is read on the way.
            lead = producer if not joined and not self._is_read_through(producer, kernel) else kernel
            role = self._role(producer, kernel, lead)
            main = lead.main
            kernel = self.result.join(producer, kernel, lead)
            kernel.role, kernel.main = role, main
            joined = True

    def _is_read_through(self, producer: Kernel, consumer: Kernel) -> bool:
        """Whether what comes first merely supplies elements to what follows."""
        supplies = producer.role in ("move", "elementwise", "view")
        return (supplies and consumer.role in ("reduction", "window", "contraction")) or (
            producer.role in ("move", "view") and consumer.role == "elementwise"
        )

    def _role(self, producer: Kernel, consumer: Kernel, lead: Kernel) -> Role:
        return "move" if {producer.role, consumer.role} == {"move", "view"} else lead.role

    def obstacle(self, value: Value, node: Node, second: bool = False) -> Obstacle | None:
        """Why a node does not join the kernel of its operand; None where it may.

        `second` asks for a further operand of a node that is in another operand's kernel already.
        """
        producer, consumer = self.result.kernel_of[value.node], self.result.kernel_of[node]
        role = self.roles[node]
        found = self._of_roles(value, node, producer, role, second)
        if found is not None:
            return found
        detour = self.result.detour(producer, consumer)
        if detour is not None:
            return Obstacle(
                "cycle",
                f"{_title(detour.main)} reads the one and is read by the other, so it must run between them",
            )
        return None

    def _of_roles(
        self, value: Value, node: Node, producer: Kernel, role: Role, second: bool
    ) -> Obstacle | None:
        for each, kind in ((node, role), (producer.main, producer.role)):
            if kind == "opaque":
                return Obstacle("opaque", f"{_title(each)} is a kernel of its own{_effects(each)}")
        again = producer.role in ("move", "view", "elementwise")
        dear = next((each for each in producer.nodes if again and each.op.searches), None)
        if dear is not None and _reads_often(node, value):
            return Obstacle(
                "tiles",
                f"{_title(node)} reads each element of {_title(dear)} many times, so it must be kept",
            )
        if producer.role in ("move", "view") or second:
            # Reading through repeats the movement (or the arithmetic) for each reader.
            if second and producer.role not in ("move", "view", "elementwise"):
                return Obstacle(
                    "tiles", f"{_title(node)} ends another kernel, and {_title(producer.main)} its own"
                )
            others = self._outside(producer, node)
            if others:
                if role in ("view", "elementwise", "move") and not second and _same_size(value, node):
                    return None
                return Obstacle("several readers", f"{_title(value.node)} is read by {others} too")
            if second and not _same_size(value, node):
                return Obstacle("larger", _broadcast(value, node))
            return None
        if role == "view":
            return None
        source = behind_views(value).node
        if producer.role != "reduction" and source.op.accumulates:
            return Obstacle("rows", f"{_title(source)} is complete only with the last tile")
        if role == "reduction" and node.op.accumulates:
            return None
        if role == "elementwise" or (role == "move" and _moves_one_to_one(node)):
            if not _same_size(value, node):
                return Obstacle("larger", _broadcast(value, node))
            if producer.role != "elementwise" and not _same_size(producer.main.results[0], node):
                return Obstacle(
                    "larger", f"{_title(node)} combines parts of what {_title(producer.main)} gives"
                )
            return None
        if role == "reduction" and producer.role == "elementwise":
            return None
        if role == "reduction":
            return Obstacle(
                "rows", f"{_title(node)} reads whole rows, and {_title(producer.main)} makes tiles"
            )
        if role == "move":
            return Obstacle("larger", f"{_title(node)} takes elements from several places")
        return Obstacle(
            "tiles",
            f"{_title(node)} reads each element of {_title(producer.main)} many times, so it must be kept",
        )

    def _outside(self, producer: Kernel, node: Node) -> str:
        """Who else reads what a kernel computes, in words; empty where only the node does."""
        inside = {*producer.nodes, node, *self.result.kernel_of[node].nodes}
        found = [
            _title(user)
            for member in producer.nodes
            for value in member.results
            for user in self.users[value]
            if user not in inside
        ]
        if any(value in self.outputs for member in producer.nodes for value in member.results):
            found.append("the result")
        return " and ".join(dict.fromkeys(found))


# As often as an element may be worked out again, where else it is written and read.
_FEW = 2


def _reads_often(node: Node, value: Value) -> bool:
    """Whether a node reads each element of an operand more than a few times, or may."""
    op, elements, result = node.op, prod(value.shape), prod(node.results[0].shape)
    match role_of(node):
        case "contraction":
            shapes = node.op.arrange(node.slots, [each.shape for each in node.inputs])
            products = op.call(op.cost, shapes, node.results[0].shape).macs
            # Attention sums two products, and copies what it reads.
            few = op.name != "scaled_dot_product_attention"
            return not few or at_least(_FEW * elements, products) is not True
        case "reduction":
            # What has as many results as elements goes over its rows first, once or twice.
            return at_least(elements, result + 1) is not True and op.name != "fold"
        case "view":
            return False
        case _:
            return at_least(_FEW * elements, result) is not True


def behind_views(value: Value) -> Value:
    """What a value is a view of."""
    while value.node.op.view and value.node.inputs:
        value = value.node.inputs[0]
    return value


def _title(node: Node) -> str:
    return node.op.title


def _effects(node: Node) -> str:
    if node.effects:
        return f": it has effects ({', '.join(sorted(node.effects))})"
    return ": it runs a body" if node.bodies else ""


def _same_size(value: Value, node: Node) -> bool:
    return equal(prod(value.shape), prod(node.results[0].shape)) is True


def _moves_one_to_one(node: Node) -> bool:
    return len(node.inputs) == 1 and _same_size(node.inputs[0], node)


def _broadcast(value: Value, node: Node) -> str:
    return (
        f"{_title(node)} has other elements than {_title(value.node)}: "
        f"{node.results[0].type} and {value.type}"
    )
