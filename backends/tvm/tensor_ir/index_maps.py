"""From an index of a main operator's result to that of a value behind views, as expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from ....compiler.graph.graph import Node
from ....compiler.ops.layout import Permute, Transpose
from ....compiler.ops.shift import Roll
from ..grouping.aliases import order_of
from ..grouping.epilogue import Path, _common
from .indices import index_const
from .loops import CURRENT, Expr

Index = tuple[Expr, ...]


IndexMap = Callable[[Index], Index]


def index_map(path: Path) -> IndexMap:
    """From an index of the main operator's result to that of a value behind these views."""

    def run(index: Index) -> Index:
        for node in path:
            index = _through(node, index)
        return index

    return run


def _through(node: Node, index: Index) -> Index:
    if isinstance(node.op, (Permute, Transpose)):
        return tuple(index[axis] for axis in order_of(node))
    if isinstance(node.op, Roll):
        rolled = list(index)
        for axis, by in _shifts(node):
            size: Any = node.results[0].shape[axis]
            at = _simple(rolled[axis])
            rolled[axis] = tirx.Select(at >= size - by, at + (by - size), at + by)
        return tuple(rolled)
    operand, result = node.inputs[0].shape, node.results[0].shape
    first, last = _common(operand, result)
    end, stop = len(operand) - last, len(result) - last
    return (*index[:first], *_regroup(index[first:end], operand[first:end], result[first:stop]), *index[end:])


def _shifts(node: Node) -> list[tuple[int, int]]:
    """For each axis that a roll moves by how many elements forwards; only of known sizes."""
    assert isinstance(node.op, Roll)
    shape: Any = node.results[0].shape
    by: dict[int, Any] = node.op.by_axis(len(shape))
    return [(axis, shift % shape[axis]) for axis, shift in by.items() if shift % shape[axis]]


def _regroup(index: Sequence[Expr], before: Sequence[Any], after: Sequence[Any]) -> list[Expr]:
    """An index of some axes as one of others with the same elements in the same order."""
    flat: Any = index_const(0)
    for at, size in zip(index, before, strict=True):
        flat = flat * int(size) + at
    found: list[Expr] = []
    for size in reversed(after[1:]):
        found.append(_simple(tirx.floormod(flat, int(size))))
        flat = tirx.floordiv(flat, int(size))
    return [_simple(flat), *reversed(found)] if after else []


def _simple(value: Expr) -> Expr:
    """With what is known of the loops: lanes that stay neighbours are seen to be."""
    loops = CURRENT.get()
    return value if loops is None else loops.simplify(value)
