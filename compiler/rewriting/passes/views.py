"""Views of views, and operators that change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from ...graph.graph import Value
from ...ops.core.rules import axis_of
from ...types import Shape
from ..editor import Editor
from ..match import Match, Pattern, anything, op
from ..rule import Rule

# The same elements in the same order, in other axes.
RESHAPES = ("reshape", "flatten", "unflatten", "squeeze", "unsqueeze")
PERMUTES = ("permute", "transpose")
# f(f(x)) = f(x).
_IDEMPOTENT = ("relu", "relu6", "abs", "sign", "floor", "ceil", "trunc", "round", "detach")
# f(f(x)) = x.
_INVOLUTIONS = ("neg", "conj")
_SAME_SHAPE = (
    *RESHAPES,
    *("expand", "broadcast_to", "slice", "narrow", "tile", "repeat_interleave", "pad", "resize"),
)


def same_shape(left: Shape, right: Shape) -> bool:
    """Whether two shapes are written alike; sizes have a normal form, and proofs would cost too much here."""
    return left == right


def axes_order(value: Value) -> tuple[int, ...]:
    """For each axis of a permute's or transpose's result, the axis of the operand that it is."""
    op: Any = value.node.op
    rank = len(value.shape)
    if op.name == "permute":
        return tuple(axis_of(axis, rank) for axis in op.axes)
    order = list(range(rank))
    if order:
        a, b = axis_of(op.a, rank), axis_of(op.b, rank)
        order[a], order[b] = order[b], order[a]
    return tuple(order)


def _operand(match: Match, editor: Editor) -> Value:
    return match["x"]


def _inner(match: Match, editor: Editor) -> Value:
    return match["inner"]


def _keeps_shape(match: Match) -> bool:
    return same_shape(match.root.results[0].shape, match["x"].shape)


def _does_nothing(match: Match) -> bool:
    op: Any = match.root.op
    # Of these operators three can keep the shape and move elements all the same.
    if op.name == "slice" and op.step != 1:
        return False
    if op.name in ("pad", "resize") and not op.unchanged([match["x"].type]):
        return False
    return _keeps_shape(match)


def _keeps_order(match: Match) -> bool:
    return _in_order(axes_order(match.root.results[0]))


def _in_order(order: Sequence[int]) -> bool:
    return tuple(order) == tuple(range(len(order)))


def _keeps_type(match: Match) -> bool:
    return match.root.results[0].type.dtype == match["x"].type.dtype


def _same_op(match: Match) -> bool:
    return match.root.op == match.node("inner").op


def _composed(match: Match) -> tuple[int, ...]:
    """The order of axes that a permute of a permute gives."""
    outer, inner = axes_order(match.root.results[0]), axes_order(match["inner"])
    return tuple(inner[axis] for axis in outer)


def _restores_order(match: Match) -> bool:
    return _in_order(_composed(match))


def _permute(match: Match, editor: Editor) -> Value:
    return editor.add("permute", match["x"], axes=_composed(match))


def _reshape(match: Match, editor: Editor) -> Value:
    return editor.add("reshape", match["x"], sizes=match.root.results[0].shape)


def _flips_back(match: Match) -> bool:
    rank = len(match["x"].shape)
    outer, inner = (
        {axis_of(axis, rank) for axis in _axes(node.op)} for node in (match.root, match.node("inner"))
    )
    return outer == inner


def _axes(op: Any) -> tuple[int, ...]:
    axis: int | tuple[int, ...] = op.axis
    return axis if isinstance(axis, tuple) else (axis,)


def _pads_alike(match: Match) -> bool:
    outer: Any = match.root.op
    inner: Any = match.node("inner").op
    alike = outer.mode == inner.mode == "constant" and outer.value == inner.value
    # Cropping what was padded, or padding what was cropped, is not one pad.
    return alike and all(
        isinstance(amount, int) and amount >= 0 for amount in (*outer.amounts, *inner.amounts)
    )


def _pad(match: Match, editor: Editor) -> Value:
    outer: Any = match.root.op
    inner: Any = match.node("inner").op
    pairs = zip_longest(outer.amounts, inner.amounts, fillvalue=0)
    return editor.add("pad", match["x"], amounts=tuple(a + b for a, b in pairs), value=outer.value)


def _slices_on(match: Match) -> bool:
    outer: Any = match.root.op
    inner: Any = match.node("inner").op
    rank = len(match["x"].shape)
    known = all(
        end is None or (isinstance(end, int) and end >= 0)
        for end in (outer.start, outer.stop, inner.start, inner.stop)
    )
    return known and axis_of(outer.axis, rank) == axis_of(inner.axis, rank)


def _slice(match: Match, editor: Editor) -> Value:
    outer: Any = match.root.op
    inner: Any = match.node("inner").op
    first = inner.start or 0
    stop = inner.stop
    if outer.stop is not None:
        end = first + outer.stop * inner.step
        stop = end if stop is None else min(stop, end)
    start, step = first + (outer.start or 0) * inner.step, inner.step * outer.step
    return editor.add("slice", match["x"], axis=outer.axis, start=start, stop=stop, step=step)


_X = anything("x")


def _twice(*names: str, once: bool = False) -> Pattern:
    """One of the operators on the result of one of them."""
    return op(*names, x=op(*names, x=_X, bind="inner", once=once))


RULES = (
    Rule("drop the identity", "operators", op("identity", x=_X), _operand),
    Rule("drop what keeps the shape", "operators", op(*_SAME_SHAPE, x=_X), _operand, _does_nothing),
    Rule("drop a permute that keeps the order", "operators", op(*PERMUTES, x=_X), _operand, _keeps_order),
    Rule("drop a cast to the same type", "operators", op("cast", x=_X), _operand, _keeps_type),
    Rule("undo a reshape", "operators", _twice(*RESHAPES), _operand, _keeps_shape),
    Rule("join reshapes", "operators", _twice(*RESHAPES, once=True), _reshape),
    Rule("undo a permute", "operators", _twice(*PERMUTES), _operand, _restores_order),
    Rule("join permutes", "operators", _twice(*PERMUTES, once=True), _permute),
    Rule("join pads", "operators", _twice("pad", once=True), _pad, _pads_alike),
    Rule("join slices", "operators", _twice("slice", once=True), _slice, _slices_on),
    Rule("undo a flip", "operators", _twice("flip"), _operand, _flips_back),
    *(Rule(f"undo {name}", "operators", _twice(name), _operand) for name in _INVOLUTIONS),
    *(Rule(f"drop {name} of {name}", "operators", _twice(name), _inner, _same_op) for name in _IDEMPOTENT),
)
