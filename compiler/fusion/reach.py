"""How far a part of a result reaches back: which part of each operand a run of positions along an axis needs.

For an axis of a node's result, `reach` gives for each operand the axis along which the operand is needed in
step, with the window: p positions of the result need `scale*p + extra` of the operand. Where there is no such
axis the operand is needed as a whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph.graph import Node, Value
from ..ops.conv import ConvWith
from ..ops.conv_transpose import ConvTransposeWith
from ..ops.core.base import Op
from ..ops.core.rules import ShapeError, axes_of, axis_of
from ..ops.einops import PatternOp
from ..ops.einsum import Einsum, parse
from ..ops.layout import Permute, Transpose
from ..ops.norm_rows import L2Normalize, OverAxes
from ..ops.pool import Windows
from ..ops.pool_adaptive import AdaptivePool, GlobalPool
from ..ops.reduce import Reduction
from ..ops.softmax import AlongAxis
from ..sizes.dims import equal, prod
from ..types import Shape
from .roles import role_of


class Step(NamedTuple):
    """Along `axis` of an operand, p positions of the result need scale*p + extra."""

    axis: int
    scale: float = 1.0
    extra: float = 0.0

    def after(self, later: Step) -> Step:
        """The step from what follows `later` to what comes before this."""
        return Step(self.axis, self.scale * later.scale, self.scale * later.extra + self.extra)


def reach(node: Node, result: Value, axis: int) -> dict[Value, Step | None]:
    """For each operand the step along which it is needed; None where it is needed as a whole."""
    found: dict[Value, Step | None] = {}
    for slot, value in zip(node.slots, node.inputs, strict=True):
        step = _along(node, slot, value, result, axis)
        if value in found and found[value] != step:
            step = None  # read in two ways
        found[value] = step
    return found


def _along(node: Node, slot: str, value: Value, result: Value, axis: int) -> Step | None:
    op, shape, rank = node.op, value.shape, len(value.shape)
    same = Step(axis) if axis < rank and equal(shape[axis], result.shape[axis]) is True else None
    if isinstance(op, (ConvWith, ConvTransposeWith, Windows)):
        if slot not in ("x", node.slots[0]):
            return None
        if axis < 2:
            return same if axis == 0 or isinstance(op, Windows) else None
        return _window(node, value, result, axis)
    match op.name:
        case "linear_with":
            return same if slot == "x" and axis < rank - 1 else None
        case "batch_norm_with":
            channels = slot == "x" and axis == axis_of(_axis(op), rank)
            return same if slot == "x" and (channels or role_of(node) == "elementwise") else None
        case "matmul" | "scaled_dot_product_attention":
            return _product(node, slot, value, result, axis)
        case "unfold" | "fold":
            return same if axis == 0 and rank == (4 if op.name == "unfold" else 3) else None
        case "pad":
            return Step(axis) if getattr(op, "mode", "circular") != "circular" else same
        case "resize":
            return _resized(op, shape, result.shape, axis)
        case "pixel_shuffle" | "pixel_unshuffle":
            return _proportion(shape, result.shape, axis, axis) if axis != rank - 3 else None
        case "glu":
            return same if axis not in axes_of(_axis(op), rank) else None
        case "concat" | "channel_shuffle" | "group_norm_with" | "instance_norm_with":
            return same if slot != "weight" and slot != "bias" and _keeps(node, axis) else None
        case "select" | "unbind":
            gone = axis_of(_axis(op), rank)
            return Step(axis + (axis >= gone))
        case "roll" | "flip" | "slice" | "narrow" | "split" | "chunk" | "cumsum" | "cumprod":
            return same if axis not in axes_of(_axis(op), rank) else None
        case _:
            return _by_class(node, slot, value, result, axis, same)


def _axis(op: Any) -> Any:
    """The argument of that name, of operators that have one."""
    return op.axis


def _by_class(
    node: Node, slot: str, value: Value, result: Value, axis: int, same: Step | None
) -> Step | None:
    op, rank = node.op, len(value.shape)
    if isinstance(op, (AlongAxis, OverAxes, L2Normalize)):
        return same if slot == "x" and axis not in axes_of(op.axis, rank) else None
    if isinstance(op, (GlobalPool, AdaptivePool)):
        return same if axis < 2 else None
    if isinstance(op, Reduction):
        gone = set(axes_of(op.axis, rank))
        kept = [number for number in range(rank) if op.keepdim or number not in gone]
        return Step(kept[axis]) if kept[axis] not in gone else None
    if isinstance(op, Permute):
        return Step(axes_of(op.axes, rank)[axis])
    if isinstance(op, Transpose):
        a, b = axis_of(op.a, rank), axis_of(op.b, rank)
        return Step({a: b, b: a}.get(axis, axis))
    if isinstance(op, Einsum):
        return _named(op, node, value, slot, axis)
    if isinstance(op, PatternOp):
        return _pattern(op, value.shape, result.shape, axis)
    role = role_of(node)
    if role == "elementwise":
        return _aligned(value.shape, result.shape, axis)
    if op.name in ("expand", "broadcast_to"):
        return _aligned(value.shape, result.shape, axis)
    return _reshaped(value.shape, result.shape, axis) if role == "view" else None


def _keeps(node: Node, axis: int) -> bool:
    match node.op.name:
        case "concat":
            return axis != axis_of(_axis(node.op), len(node.results[0].shape))
        case "group_norm_with":
            return axis == 0
        case "instance_norm_with":
            return axis < 2
        case _:
            return axis != 1


def _aligned(shape: Shape, out: Shape, axis: int) -> Step | None:
    """Broadcasting aligns the last axes."""
    own = axis - (len(out) - len(shape))
    return Step(own) if own >= 0 and equal(shape[own], out[axis]) is True else None


def _proportion(shape: Shape, out: Shape, own: int, axis: int) -> Step | None:
    """Positions that are split into several or merged from several: k to 1, or 1 to k."""
    before, after = shape[own], out[axis]
    if equal(before, after) is True:
        return Step(own)
    if not (isinstance(before, int) and isinstance(after, int) and before and after):
        return None
    if before % after == 0:
        return Step(own, before / after)
    # p positions that begin anywhere touch at most (p - 2)/k + 2 of those that k came from.
    return Step(own, before / after, 2 - 2 * before / after) if after % before == 0 else None


def _resized(op: Op, shape: Shape, out: Shape, axis: int) -> Step | None:
    """Interpolation takes 1, 2 or 4 neighbours; where it smooths, those of the coarser grid."""
    before, after = shape[axis], out[axis]
    if axis < 2 or equal(before, after) is True:
        return Step(axis)
    if not (isinstance(before, int) and isinstance(after, int) and after):
        return None
    ratio = max(before / after, (before - 1) / max(after - 1, 1))
    taps = {"nearest": 1, "bicubic": 4}.get(str(getattr(op, "mode", "")), 2)
    return Step(axis, ratio, taps * max(1.0, ratio) + 1 - ratio)


def _window(node: Node, value: Value, result: Value, axis: int) -> Step | None:
    """Stride and extent of a window along a spatial axis."""
    op, rank = node.op, len(value.shape) - 2

    def entry(given: object) -> int | None:
        each = given if isinstance(given, tuple) else (given,) * rank  # pyright: ignore[reportUnknownVariableType]
        size: object = each[axis - 2] if len(each) == rank else each[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return size if isinstance(size, int) else None

    weight = node.operands().get("weight")
    kernel = entry(weight.shape[-rank:]) if weight is not None else entry(getattr(op, "kernel", None))
    stride = entry(getattr(op, "stride", None)) or kernel
    dilation = entry(getattr(op, "dilation", 1))
    if kernel is None or stride is None or dilation is None:
        return None
    reached = dilation * (kernel - 1)
    if isinstance(op, ConvTransposeWith):
        return Step(axis, 1 / stride, (reached - 1) / stride + 1)
    return Step(axis, float(stride), float(reached + 1 - stride))


def _product(node: Node, slot: str, value: Value, result: Value, axis: int) -> Step | None:
    """Rows of a product come from rows of the first operand, columns from those of the second."""
    shape, out = value.shape, result.shape
    back = axis - len(out)
    if any(len(each.shape) < 2 for each in node.inputs[:2]):
        # A single row or column: the result lacks its axis.
        return Step(axis) if slot == "x" and len(shape) > 1 else None
    if -back > len(shape):
        return None
    attention = node.op.name == "scaled_dot_product_attention"
    if back >= -2:
        row, column = back == -2, back == -1
        if attention:
            return (
                Step(len(shape) + back)
                if (slot in ("q", "mask") and row) or (slot == "v" and column)
                else None
            )
        first = slot == "x"
        return Step(len(shape) + back) if (first and row) or (not first and column) else None
    return _aligned(shape, out, axis)


def _named(op: Einsum, node: Node, value: Value, slot: str, axis: int) -> Step | None:
    equation = parse(op.pattern)
    if "..." in equation.output or any("..." in term for term in equation.inputs):
        return None
    name = equation.output[axis]
    places = [
        term.index(name)
        for term, each in zip(equation.inputs, node.inputs, strict=True)
        if each is value and name in term
    ]
    terms = [term for term, each in zip(equation.inputs, node.inputs, strict=True) if each is value]
    return Step(places[0]) if len(places) == len(terms) == 1 else None


def _pattern(op: PatternOp, shape: Shape, out: Shape, axis: int) -> Step | None:
    """The axis of the input that the axis of the result begins with, in proportion of their sizes."""
    try:
        found = op.solve(shape)
    except ShapeError:
        return None
    group = found.right[axis]
    for own, names in enumerate(found.left):
        shorter, longer = sorted((names, group), key=len)
        if shorter and longer[: len(shorter)] == shorter:
            return _proportion(shape, out, own, axis)
    return None


def _reshaped(shape: Shape, out: Shape, axis: int) -> Step | None:
    """The axis of the input that begins where the axis of the result begins, in proportion of their sizes."""
    if equal(prod(shape), prod(out)) is not True:
        return None
    before, size = prod(out[:axis]), out[axis]
    for own, given in enumerate(shape):
        if equal(prod(shape[:own]), before) is not True or (given == 1 and size != 1):
            continue
        return _proportion(shape, out, own, axis)
    return None
