"""What may follow a main operator in its kernel: elements for its elements, perhaps in another place.

A template works elements out in the main operator's order. What is made of them element by element is written
with them; where views permute axes or give them other names between, the place follows from the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....compiler.fusion.roles import role_of
from ....compiler.graph.graph import Node, Value
from ....compiler.ops.core.rules import axis_of
from ....compiler.ops.join import Narrow, Pieces, Select, Slice, Unbind
from ....compiler.ops.layout import Permute, SameOrder, Transpose
from ....compiler.ops.shift import Roll
from ....compiler.sizes.dims import equal
from .aliases import order_of

Path = tuple[Node, ...]


def follows(nodes: Sequence[Node], outputs: Sequence[Value], main: Node) -> bool:
    """Whether all that is made of the main operator's result has an element for each of its elements."""
    found = paths(nodes, main)
    apart = [node for node in nodes if node is not main and node.results[0] not in found]
    dependent = any(value in found for node in apart for value in node.inputs)
    return all(value in found for value in outputs) and not dependent


def paths(nodes: Sequence[Node], main: Node) -> dict[Value, Path]:
    """For each value that follows the main operator the views between, from the first on."""
    found: dict[Value, Path] = {main.results[0]: ()}
    for node in nodes:
        given = [value for value in node.inputs if value in found]
        if node is main or not given:
            continue
        if role_of(node) == "elementwise":
            path, shape = found[given[0]], node.results[0].shape
            if all(value.shape == shape and found[value] == path for value in given):
                found[node.results[0]] = path
        elif is_bijection(node):
            found[node.results[0]] = (*found[given[0]], node)
    return found


def is_bijection(node: Node) -> bool:
    """Whether a view has each of its operand's elements once, at a place that `index_map` can tell."""
    if isinstance(node.op, (Permute, Transpose)):
        return True
    if isinstance(node.op, Roll):
        shape = node.results[0].shape
        return all(
            isinstance(shift, int) and isinstance(shape[axis], int) and shape[axis] != 0
            for axis, shift in node.op.by_axis(len(shape)).items()
        )
    if not isinstance(node.op, SameOrder):
        return False
    operand, result = node.inputs[0].shape, node.results[0].shape
    first, last = _common(operand, result)
    between = [*operand[first : len(operand) - last], *result[first : len(result) - last]]
    return all(isinstance(size, int) and size > 0 for size in between)


def axis_behind(node: Node, axis: int) -> int | None:
    """The axis of a view's result along which neighbours lie as along an axis of its operand, if any."""
    op, rank = node.op, len(node.inputs[0].shape)
    if isinstance(op, (Permute, Transpose)):
        return order_of(node).index(axis)
    if isinstance(op, (Unbind, Select)):
        gone = axis_of(op.axis, rank)
        return None if gone == axis else axis - (gone < axis)
    if isinstance(op, Slice):
        return axis if op.step == 1 or axis_of(op.axis, rank) != axis else None
    if isinstance(op, (Pieces, Narrow)):
        return axis
    if isinstance(op, Roll):
        return None if axis in op.by_axis(rank) else axis
    if isinstance(op, SameOrder):
        first, last = _common(node.inputs[0].shape, node.results[0].shape)
        if axis < first:
            return axis
        if axis >= rank - last:
            return axis - rank + len(node.results[0].shape)
        # The last of the axes that are grouped anew.
        return len(node.results[0].shape) - last - 1 if axis == rank - last - 1 else None
    return None


def _common(left: Sequence[Any], right: Sequence[Any]) -> tuple[int, int]:
    """How many axes two shapes share at the beginning, and at the end."""
    least = min(len(left), len(right))
    first = 0
    while first < least and equal(left[first], right[first]) is True:
        first += 1
    last = 0
    while last < least - first and equal(left[-1 - last], right[-1 - last]) is True:
        last += 1
    return first, last
