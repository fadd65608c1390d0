"""Following one axis back through operators that only move, pad or average elements."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...graph.graph import Node, Value
from ...ops.core.rules import axes_of, axis_of
from ...sizes.dims import prod
from .views import PERMUTES, RESHAPES, axes_order

# A scale of one axis can be applied before these as well as after, and a shift too but for some pads.
TRANSPARENT = (
    *RESHAPES,
    *PERMUTES,
    "rearrange",
    "detach",
    "roll",
    "flip",
    "pad",
    "global_avg_pool",
    "adaptive_avg_pool",
)


class AxisTrace(NamedTuple):
    """Transparent operators behind a value, the last one first, and the value before them."""

    nodes: tuple[Node, ...]
    start: Value

    def origin_of(self, axis: int | None) -> int | str | None:
        """The axis of the start that an axis of the end is; or why it is none.

        None is every element alike.
        """
        for node in self.nodes:
            if axis is not None:
                found = _axis_before(node, axis)
                if isinstance(found, str):
                    return found
                axis = found
        return axis

    def shift_obstacle(self) -> Node | None:
        """A pad that fills with a number, which a shift before it would miss."""
        return next((node for node in self.nodes if _fills(node)), None)

    def scale_obstacle(self) -> Node | None:
        """A pad that fills with a number other than 0, which a scale before it would miss."""
        return next((node for node in self.nodes if _fills(node) and _value(node) != 0), None)


def trail(value: Value) -> AxisTrace:
    """The transparent operators behind a value."""
    nodes: list[Node] = []
    while value.node.op.name in TRANSPARENT:
        nodes.append(value.node)
        value = value.node.inputs[0]
    return AxisTrace(tuple(nodes), value)


def _axis_before(node: Node, axis: int) -> int | str:
    op: Any = node.op
    before, after = node.inputs[0].shape, node.results[0].shape
    if op.name in PERMUTES:
        return axes_order(node.results[0])[axis]
    if op.name in RESHAPES:
        leading = prod(after[:axis])
        for place, size in enumerate(before):
            if size == after[axis] and prod(before[:place]) == leading:
                return place
        return f"{op.title} makes axis {axis} out of others"
    if op.name == "rearrange":
        solution = op.solve(before)
        group = solution.right[axis]
        return (
            solution.left.index(group)
            if group in solution.left
            else f"{op.title} makes axis {axis} out of others"
        )
    if op.name in ("roll", "flip") and axis in axes_of(op.axis, len(before)):
        return f"{op.title} moves elements along axis {axis}"
    if op.name == "pad" and len(before) - 1 - axis < len(op.amounts) // 2:
        number = len(before) - 1 - axis
        if any(op.amounts[2 * number : 2 * number + 2]):
            return f"pad lengthens axis {axis}"
    if op.name.endswith("avg_pool") and axis_of(axis, len(after)) > 1:
        return f"{op.title} averages over axis {axis}"
    return axis


def _fills(node: Node) -> bool:
    op: Any = node.op
    if op.name != "pad" or op.mode != "constant":
        return False
    return not all(isinstance(amount, int) and amount <= 0 for amount in op.amounts)


def _value(node: Node) -> float:
    op: Any = node.op
    return op.value
