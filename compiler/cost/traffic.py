"""Bytes that operators move: each run by itself, and several run together as one kernel.

Alone, an operator reads its operands and writes its results. Together, a kernel reads each value that comes
from outside, at most once as a whole, and writes those of its results that are read outside. A view moves
nothing: who reads it reads what it is a view of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from ..graph.graph import Node, Value
from ..sizes.dims import Size, at_least, minimum, total
from .sizes import Binding


class Moved(NamedTuple):
    """Bytes read and written."""

    read: Size
    written: Size

    @property
    def bytes(self) -> Size:
        """Both together."""
        return self.read + self.written


class Traffic:
    """Counts under one binding; what it counted of a node it keeps."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self._reads: dict[Node, dict[Value, Size]] = {}
        self._writes: dict[Node, Size] = {}

    def bytes_of(self, value: Value) -> Size:
        """The bytes of a value."""
        extent = self.binding.measure(value.type)
        return extent.elements * extent.width

    def reads(self, node: Node) -> dict[Value, Size]:
        """The bytes that a node reads of each operand; of a view nothing."""
        known = self._reads.get(node)
        if known is None:
            self._count(node)
            known = self._reads[node]
        return known

    def writes(self, node: Node) -> Size:
        """The bytes that a node writes; a view nothing."""
        if node not in self._writes:
            self._count(node)
        return self._writes[node]

    def alone(self, nodes: Iterable[Node]) -> Moved:
        """What nodes move where each runs by itself."""
        each = list(nodes)
        read = [size for node in each for size in self.reads(node).values()]
        return Moved(total(read), total([self.writes(node) for node in each]))

    def together(self, nodes: Sequence[Node], kept: Collection[Value]) -> Moved:
        """What one kernel of those nodes, in order, moves; `kept` are its results that are read outside."""
        inside = set(nodes)
        # What is kept of a view of something outside is there already.
        made = [base for base in dict.fromkeys(_base(value, inside) for value in kept) if base.node in inside]
        written = [self._written(value) for value in made]
        return Moved(total(self.read_from_outside(nodes).values()), total(written))

    def read_from_outside(self, nodes: Sequence[Node]) -> dict[Value, Size]:
        """The bytes that a kernel reads of each value from outside."""
        inside = set(nodes)
        found: dict[Value, list[Size]] = {}
        for node in nodes:
            for value, size in self.reads(node).items():
                base = _base(value, inside)
                if base.node not in inside:
                    found.setdefault(base, []).append(size)
        return {value: _least(self.bytes_of(value), total(sizes)) for value, sizes in found.items()}

    def _written(self, value: Value) -> Size:
        """What storing a result costs."""
        return self.writes(value.node) if len(value.node.results) == 1 else self.bytes_of(value)

    def _count(self, node: Node) -> None:
        read: dict[Value, Size] = {}
        written: list[Size] = []
        if not (node.op.view or node.op.source):
            shapes = [self.binding.measure(value.type).type.shape for value in node.inputs]
            arranged = node.op.arrange(node.slots, shapes)
            reads, writes = (self._elements(node, rule, arranged) for rule in ("reads", "writes"))
            written += [self.bytes_of(value) for value in node.results]
            for slot, value in zip(node.slots, node.inputs, strict=True):
                extent = self.binding.measure(value.type)
                read.setdefault(value, self.binding.size(reads.get(slot, extent.elements)) * extent.width)
                if slot in writes:
                    written.append(self.binding.size(writes[slot]) * extent.width)
        self._reads[node], self._writes[node] = read, total(written)

    def _elements(self, node: Node, rule: str, shapes: dict[str, Any]) -> dict[str, Size]:
        method = getattr(node.op, rule, None)
        return {} if method is None else node.op.call(method, shapes)


def _base(value: Value, inside: Collection[Node]) -> Value:
    """What a value is a view of, as far as the views are inside."""
    while value.node in inside and value.node.op.view and value.node.inputs:
        value = value.node.inputs[0]
    return value


def _least(left: Size, right: Size) -> Size:
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    order = at_least(left, right)
    return minimum(left, right) if order is None else right if order else left
