"""Which operators run as one kernel: the groups of fusion, as far as a kernel can run them.

What only looks at elements in other places is read through: each kernel that reads it gets its own copy of
the view, and nothing is written between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ....compiler.dtypes import DType, is_complex
from ....compiler.fusion import Group, Partition, partition
from ....compiler.fusion.fuse import fuse_with_places
from ....compiler.fusion.roles import role_of
from ....compiler.graph.graph import Graph, Node, Value
from ....compiler.ops.fused import Fused
from ....compiler.ops.layout import SameOrder
from .aliases import is_alias, is_to_first, is_to_last
from .canonical import canonical
from .epilogue import axis_behind, paths

Join = Callable[[Graph, Sequence[Group]], tuple[Group, ...]]


@dataclass(frozen=True, eq=False)
class Grouping:
    """The groups that run as one kernel each, of `graph`.

    `parts` is the partition before kernels were asked what they can run; `split` tells of operators that were
    put apart in it why that is.
    """

    graph: Graph
    parts: Partition
    groups: tuple[Group, ...]
    split: Mapping[Node, str]

    def fused(self) -> Graph:
        """The graph with a node for each kernel."""
        return self.with_places()[0]

    def with_places(self) -> tuple[Graph, dict[Node, Group]]:
        """The graph with a node for each kernel, and the group of each."""
        return fuse_with_places(self.graph, replace(self.parts, groups=self.groups))


def grouped(graph: Graph, float_as: DType = "f32", join: Join | None = None) -> Grouping:
    """Cut a graph into what one kernel each runs; `join` may make one group of several."""
    graph = canonical(graph)
    parts = partition(graph, float_as=float_as, blocks=False)
    groups, split = _Grouper(parts).groups()
    return Grouping(graph, parts, groups if join is None else join(graph, groups), split)


def main_of(nodes: Iterable[Node]) -> Node | None:
    """The operator that takes the time; of a block, the first."""
    return next(iter(mains_of(nodes)), None)


def mains_of(nodes: Iterable[Node]) -> list[Node]:
    """The operators that take the time: those that sum products, or else a pool."""
    given = list(nodes)
    found = [node for node in given if role_of(node) == "contraction"]
    pools = [node for node in given if role_of(node) == "window"]
    return found or (pools if len(pools) == 1 else [])


def is_block(node: Node) -> bool:
    """Whether a node is several kernels that run depth first."""
    return isinstance(node.op, Fused) and node.op.kind == "block"


def members_of(node: Node) -> list[Node]:
    """The operators that a node runs: those of its body, if it is a fused group."""
    return list(node.bodies[0].operators()) if isinstance(node.op, Fused) else [node]


def has_te(node: Node) -> bool:
    """Whether a kernel can compute a node."""
    values = (*node.inputs, *node.results)
    return hasattr(node.op, "te") and not any(is_complex(value.type.dtype) for value in values)


class Piece(NamedTuple):
    """A part of a group, and why it is not in one kernel with the rest; empty if it is what the rest left."""

    nodes: list[Node]
    why: str = ""


class _Grouper:
    def __init__(self, parts: Partition) -> None:
        self.parts = parts
        self.users = parts.graph.users()
        self.outputs = set(parts.graph.outputs)
        self.number = {node: number for number, node in enumerate(parts.graph.nodes)}

    def groups(self) -> tuple[tuple[Group, ...], dict[Node, str]]:
        """The groups, in order, and why operators were put apart."""
        pieces = [(group, piece) for group in self.parts.groups for piece in self._pieces(group.nodes)]
        through = self._read_through([piece.nodes for _, piece in pieces])
        found: list[Group] = []
        for group, (piece, _) in pieces:
            if not (len(piece) == 1 and piece[0] in through):
                before = self._chain(piece, through)
                inputs, outputs = self._ends(piece, before)
                found.append(replace(group, nodes=(*before, *piece), inputs=inputs, outputs=outputs))
        return tuple(found), {node: piece.why for _, piece in pieces for node in piece.nodes if piece.why}

    def _pieces(self, nodes: Sequence[Node]) -> list[Piece]:
        """A group as kernels can run it: what does not fit runs alone, before or behind."""
        if len(nodes) == 1:
            return [Piece(list(nodes))]
        if not all(map(has_te, nodes)):
            return [Piece([node], "a library computes one of the operators") for node in nodes]
        main = main_of(nodes)
        if main is None:
            return self._without_ends(nodes)
        found = paths(nodes, main)
        apart = self._apart(nodes, main, found)
        inside = [node for node in nodes if node not in apart]
        # What else is read outside does not follow the main operator: it runs before.
        before: list[Node] = []
        for node in reversed(nodes):
            if node in inside and node.results[0] not in found and self._is_kept(node, inside):
                inside.remove(node)
                before.insert(0, node)
        title, behind = main.op.title, [node for node in nodes if node in apart]
        return [
            *(Piece([node], f"it is read elsewhere too, and does not follow {title}") for node in before),
            Piece(inside),
            *(Piece([node], f"it does not take {title}'s elements one by one") for node in behind),
        ]

    def _apart(self, nodes: Sequence[Node], main: Node, found: Collection[Value]) -> set[Node]:
        """The nodes that run behind a main operator's kernel, and not in it."""
        apart = set[Node]()
        for node in nodes:
            after = any(value in found for value in node.inputs) and node.results[0] not in found
            if node is not main and (after or any(value.node in apart for value in node.inputs)):
                apart.add(node)
        # A view of a result that is written anyway is another look at it.
        for node in reversed(nodes):
            inside = [each for each in nodes if each not in apart]
            last = node.op.view and node.results[0] in found and node in inside and node is not main
            if last and not self._read_by(node, inside) and self._read_outside(node.inputs[0], inside):
                apart.add(node)
        return apart

    def _without_ends(self, nodes: Sequence[Node]) -> list[Piece]:
        """Permutations of channels at the ends stand alone: they may cost nothing."""
        inside = list(nodes)
        before = [node for node in nodes if _turns(node) and node.inputs[0].node not in nodes]
        inside = [node for node in inside if node not in before]
        behind: list[Node] = []
        for node in reversed(nodes):
            if node in inside and _turns(node) and not self._read_by(node, inside):
                behind.insert(0, node)
                inside.remove(node)
        why = "a permutation of channels may cost nothing by itself"
        ends = [[Piece([node], why) for node in each] for each in (before, behind)]
        return [*ends[0], *([Piece(inside)] if inside else []), *ends[1]]

    def _read_by(self, node: Node, inside: Collection[Node]) -> bool:
        return any(user in inside for value in node.results for user in self.users[value])

    def _read_outside(self, value: Value, inside: Collection[Node]) -> bool:
        return value in self.outputs or any(user not in inside for user in self.users[value])

    def _is_kept(self, node: Node, inside: Collection[Node]) -> bool:
        return any(self._read_outside(value, inside) for value in node.results)

    def _read_through(self, pieces: Sequence[Sequence[Node]]) -> set[Node]:
        """Views that stand alone and that all their readers can read through."""
        piece_of = {node: piece for piece in pieces for node in piece}
        found: set[Node] = set()
        for node in reversed(list(self.parts.graph.operators())):
            piece = piece_of.get(node)
            if piece is None or len(piece) > 1 or not node.op.view or not has_te(node):
                continue
            users = [user for value in node.results for user in self.users[value]]
            if not users or any(value in self.outputs for value in node.results):
                continue
            if all(user in found or self._reads_through(piece_of.get(user), node) for user in users):
                found.add(node)
        # What is the operand's memory anyway needs no copy in each reader, unless the operand has no memory.
        for node in self.parts.graph.operators():
            if node in found and is_alias(node) and node.inputs[0].node not in found:
                found.remove(node)
        return found

    def _reads_through(self, piece: Sequence[Node] | None, node: Node) -> bool:
        """Whether a kernel reads neighbours as neighbours behind a view."""
        if piece is None or not all(has_te(each) and role_of(each) != "opaque" for each in piece):
            return False
        if len(piece) == 1 and piece[0].op.view:
            return False
        if keeps_neighbours(node):
            return True
        main = main_of(piece)
        return main is not None and main.op.name == "conv_with" and _turns(node)

    def _chain(self, piece: Sequence[Node], through: Collection[Node]) -> list[Node]:
        """The views that a piece reads through, in order."""
        needed: set[Node] = set()
        stack = [value.node for node in piece for value in node.inputs]
        while stack:
            node = stack.pop()
            if node in through and node not in needed:
                needed.add(node)
                stack += [value.node for value in node.inputs]
        return sorted(needed, key=self.number.__getitem__)

    def _ends(
        self, piece: Sequence[Node], before: Sequence[Node]
    ) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        inside = {*piece, *before}
        inputs = dict.fromkeys(
            value for node in (*before, *piece) for value in node.inputs if value.node not in inside
        )
        outputs = [value for node in piece for value in node.results if self._read_outside(value, piece)]
        return tuple(inputs), tuple(outputs)


def _turns(node: Node) -> bool:
    return is_to_last(node) or is_to_first(node)


def keeps_neighbours(node: Node) -> bool:
    """Whether neighbours along a view's last axis are neighbours in its operand."""
    before, after = node.inputs[0].shape, node.results[0].shape
    if isinstance(node.op, SameOrder):
        return bool(before) and bool(after) and before[-1] == after[-1]
    return bool(before) and axis_behind(node, len(before) - 1) == len(after) - 1
