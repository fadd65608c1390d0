"""Axes of tensors as loops: which may be merged, and along which of them neighbours lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import tvm
from tvm import tirx
from tvm_ffi import structural_equal

from .indices import declared, index_type
from .loops import Expr, Loops, type_of
from .tensors import Access, Extern, Reduced, Source, Tensor, watch

PARALLEL = 1 << 14
"""Elements from which on a loop is worth several threads."""


def index_variables(shape: Sequence[Any], name: str) -> tuple[Expr, ...]:
    """A variable for each axis."""
    return tuple(tirx.Var(f"{name}{axis}", index_type(size)) for axis, size in enumerate(shape))


def reads_of(tensor: Tensor, at: tuple[Expr, ...] = (), reduced: tuple[Expr, ...] = ()) -> list[Access]:
    """What one element of a tensor reads, at these indices."""
    if isinstance(tensor, Source):
        return []
    if isinstance(tensor, Extern):
        outs = [declared(each.shape, each.dtype) for each in tensor.program.results]
        return watch(lambda: tensor.program.emit(Loops(), outs))
    indices = at or index_variables(tensor.shape, "i")
    if isinstance(tensor, Reduced):
        over = reduced or index_variables(tensor.extents, "k")
        return watch(lambda: tensor.function(*indices, *over))
    return watch(lambda: tensor.at(indices))


def lies_along(accesses: Sequence[Access], variable: Expr) -> bool:
    """Whether neighbours in an operand's memory are neighbours along an axis of the result."""
    return any(
        depends_on(access.tensor.place(access.indices)[-1], variable)
        for access in accesses
        if is_in_memory(access.tensor)
    )


def same_size(left: Any, right: Any) -> bool:
    """Whether two sizes are known to be the same."""
    if isinstance(left, int) or isinstance(right, int):
        return isinstance(left, int) and isinstance(right, int) and left == right
    return bool(structural_equal(left, right))


def product_of(sizes: Sequence[Any]) -> Any:
    """The sizes multiplied."""
    found: Any = 1
    for size in sizes:
        found = found * size
    return found


def split_index(flat: Expr, extents: Sequence[Any]) -> list[Expr]:
    """The index that a position in the flattened axes stands for."""
    # By truncation, which is the same here: TVM takes (o % 6 + 1) // 2 in an index for (o + 1) % 6 // 2. It
    # leaves those of symbolic extents alone, and then joins the parts again by flooring only. But of extents
    # like 2n - 1 it must not see that they are split again: it fails where it cannot prove that twice an
    # extent is a multiple of it.
    found: list[Expr] = []
    rest = flat
    for extent in reversed(extents[1:]):
        if isinstance(extent, int) and extent == 0:
            extent = 1  # no position is there to be split, and TVM divides at once
        truncated = isinstance(extent, int) or _is_sum(extent)
        found.append((tirx.truncmod if truncated else tirx.floormod)(rest, extent))
        rest = (tirx.truncdiv if truncated else tirx.floordiv)(rest, extent)
    return [rest, *reversed(found)] if extents else []


def _is_sum(extent: Expr) -> bool:
    """Whether TVM writes multiples of a size as sums, which it does not take for multiples."""
    analyzer, zero = tvm.sym.Analyzer(), tirx.const(0, type_of(extent))
    return not analyzer.can_prove_equal(tirx.floormod(analyzer.simplify(extent * 2), extent), zero)


def logical_index(stage: Tensor, prefix: Sequence[Expr], at: Sequence[Expr]) -> tuple[Expr, ...]:
    """The tensor's index for one of the buffer's."""
    return tuple(stage.layout.index([*prefix, *at]))


def merged_axes(
    extents: Sequence[Any], variables: Sequence[Expr], accesses: Sequence[Access]
) -> list[list[int]]:
    """Axes in groups that can be run as one loop: no operand tells them apart. Axes of one are left out."""
    analyzer = tvm.sym.Analyzer()
    for variable, extent in zip(variables, extents, strict=True):
        analyzer.bind(variable, tvm.ir.Range(tirx.const(0, variable.ty.dtype), extent))
    places: list[tuple[list[Expr], list[Any]]] = []
    for tensor, indices in accesses:
        if tensor.buffer is not None or isinstance(tensor, Source):
            # A place that is read from memory is no axis, and may be thousands of operations long.
            simple = [each if _is_read(each) else analyzer.simplify(each) for each in tensor.place(indices)]
            places.append((simple, tensor.layout.shape(tensor.shape[tensor.outer :])))
    groups: list[list[int]] = []
    for axis, extent in enumerate(extents):
        if isinstance(extent, int) and extent == 1:
            continue
        if groups and all(
            _side_by_side(place, shape, variables[groups[-1][-1]], variables[axis], extent)
            for place, shape in places
        ):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _is_read(value: Expr) -> bool:
    """Whether an index depends on what a buffer holds."""
    return not all(isinstance(each.ty, tvm.ir.PrimType) for each in tirx.analysis.undefined_vars(value))


def _side_by_side(place: Sequence[Expr], shape: Sequence[Any], first: Expr, last: Expr, extent: Any) -> bool:
    """Whether an operand has two axes next to each other, or does not depend on either."""
    uses = [p for p, each in enumerate(place) if depends_on(each, first) or depends_on(each, last)]
    if not uses:
        return True
    # Axes of one between them do not keep them apart.
    at = [p for p, size in enumerate(shape) if not (isinstance(size, int) and size == 1)]
    for left, right in pairwise(at):
        if place[left].same_as(first) and place[right].same_as(last):
            return uses == [left, right] and same_size(shape[right], extent)
    return False


def depends_on(value: Expr, variable: Expr) -> bool:
    """Whether an expression has a variable in it."""
    return any(each.same_as(variable) for each in tirx.analysis.undefined_vars(value))


def over(size: Any, part: int) -> Any:
    """The parts of a size, the last of which may not be full."""
    return -(-size // part) if isinstance(size, int) else tirx.floordiv(size + (part - 1), part)


def is_one(size: Any) -> bool:
    """Whether a size is known to be 1."""
    return isinstance(size, int) and size == 1


def divides(part: int, size: Any) -> bool:
    """Whether a size is known to be a multiple."""
    return isinstance(size, int) and size % part == 0


def is_in_memory(tensor: Tensor) -> bool:
    """Whether a tensor is read from a buffer."""
    return tensor.buffer is not None or isinstance(tensor, Source)
