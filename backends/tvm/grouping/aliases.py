"""Results that are their operand's memory."""

from __future__ import annotations

from ....compiler.graph.graph import Node
from ....compiler.ops.layout import Permute, Transpose
from ....compiler.sizes.dims import equal, prod


def is_alias(node: Node) -> bool:
    """Whether the result is the operand's elements in their order."""
    if not node.op.view or len(node.results) != 1 or len(node.inputs) != 1:
        return False
    operand, result = node.inputs[0], node.results[0]
    if operand.type.dtype != result.type.dtype or equal(prod(operand.shape), prod(result.shape)) is not True:
        return False
    if isinstance(node.op, (Permute, Transpose)):
        return _keeps_order(node)
    return True


def order_of(node: Node) -> list[int]:
    """For each axis of a permutation's result the operand's axis that it is."""
    rank, op = len(node.inputs[0].shape), node.op
    if isinstance(op, Permute):
        return [axis % rank for axis in op.axes]
    assert isinstance(op, Transpose)
    order = list(range(rank))
    if order:
        order[op.a], order[op.b] = order[op.b], order[op.a]
    return order


def is_to_last(node: Node) -> bool:
    """Whether a permutation makes axis 1 the last: [N, C, *S] -> [N, *S, C]."""
    if not isinstance(node.op, (Permute, Transpose)):
        return False
    rank = len(node.inputs[0].shape)
    return rank > 2 and order_of(node) == [0, *range(2, rank), 1]


def is_to_first(node: Node) -> bool:
    """Whether a permutation makes the last axis number 1: [N, *S, C] -> [N, C, *S]."""
    if not isinstance(node.op, (Permute, Transpose)):
        return False
    rank = len(node.inputs[0].shape)
    return rank > 2 and order_of(node) == [0, rank - 1, *range(1, rank - 1)]


def _keeps_order(node: Node) -> bool:
    shape = node.inputs[0].shape
    kept = [axis for axis in order_of(node) if shape[axis] != 1]
    return kept == sorted(kept)
