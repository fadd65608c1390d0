"""Results that are their operand's memory."""

from __future__ import annotations

from collections.abc import Sequence

from ...compiler.dims import Size, equal, prod
from ...compiler.graph import Node
from ...compiler.ops.layout import Permute, Transpose


def is_alias(node: Node) -> bool:
    """Whether the result is the operand's elements in their order."""
    if not node.op.view or len(node.results) != 1 or len(node.inputs) != 1:
        return False
    operand, result = node.inputs[0], node.results[0]
    if operand.type.dtype != result.type.dtype or equal(prod(operand.shape), prod(result.shape)) is not True:
        return False
    if isinstance(node.op, (Permute, Transpose)):
        return _keeps_order(node.op, operand.shape)
    return True


def _keeps_order(op: Permute | Transpose, shape: Sequence[Size]) -> bool:
    rank = len(shape)
    if isinstance(op, Permute):
        order = [axis % rank for axis in op.axes]
    else:
        order = list(range(rank))
        order[op.a], order[op.b] = order[op.b], order[op.a]
    kept = [axis for axis in order if shape[axis] != 1]
    return kept == sorted(kept)
