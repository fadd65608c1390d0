"""What is a scale and a shift of one axis, by weights alone: batch norm at rest, layer scale, bias, mean and
deviation of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any

from ...dtypes import is_float
from ...graph.graph import Node, Value
from ...ops.core.rules import axis_of
from ..editor import Editor
from ..match import Facts
from .linear_maps import PerChannel, operand

# A scalar beyond it stays: weights times it could overflow, or vanish, where what is computed does not.
_MOST = 2.0**32

Make = Callable[[Editor], PerChannel]

# Operators that are nothing but a scale and a shift, if their other operand is fixed.
NAMES = ("batch_norm_with", "mul", "div", "add", "sub", "neg")
# Operators that end with a scale and a shift.
NORMS = ("layer_norm_with", "rms_norm_with", "group_norm_with")


@dataclass(frozen=True)
class Affine:
    """`scale * x + shift` along an axis (None: the same everywhere); what is None does not occur.

    For the weights at the end of a normalisation `x` is its operand, and `bare` makes it without them.
    """

    node: Node
    axis: int | None
    x: Value
    scale: Make | None = None
    shift: Make | None = None
    bare: Callable[[Editor], Value] | None = None

    def base(self, edit: Editor) -> Value:
        """The value that is scaled and shifted."""
        return self.x if self.bare is None else self.bare(edit)


def affine(node: Node, facts: Facts) -> Affine | None:
    """The node as a scale and shift of its first operand (or its second), if that is what it is."""
    if node.op.name == "batch_norm_with":
        return _batch_norm(node, facts)
    if node.op.name == "neg":
        return Affine(node, None, node.inputs[0], lambda edit: -1.0)
    if node.op.name in ("mul", "div", "add", "sub"):
        return _arithmetic(node, facts)
    return None


def trailing_affine(node: Node, facts: Facts) -> Affine | None:
    """The weight and bias at the end of a normalisation over the last axis, or over groups of channels."""
    op: Any = node.op
    if op.name not in NORMS:
        return None
    rank = len(node.results[0].shape)
    weight, bias = operand(node, "weight"), operand(node, "bias")
    given = [value for value in (weight, bias) if value is not None]
    if not given or not all(facts.is_static(value) and len(value.shape) == 1 for value in given):
        return None
    axis = 1
    if op.name != "group_norm_with":
        axes: int | tuple[int, ...] = op.axis
        if not isinstance(axes, int) and len(axes) != 1:
            return None
        axis = axis_of(axes if isinstance(axes, int) else axes[0], rank)

    def bare(edit: Editor) -> Value:
        return edit.apply(node.op, node.inputs[0], path=node.path).results[0]

    return Affine(node, axis, node.inputs[0], _constant(weight), _constant(bias), bare)


def _constant(value: Value | None) -> Make | None:
    return None if value is None else lambda edit: value


def _batch_norm(node: Node, facts: Facts) -> Affine | None:
    op: Any = node.op
    given = dict(zip(node.slots, node.inputs, strict=True))
    x = given.pop("x")
    if op.training or "running_mean" not in given or not all(map(facts.is_static, given.values())):
        return None
    mean, variance = given["running_mean"], given["running_var"]
    weight, bias = given.get("weight"), given.get("bias")

    @cache  # the shift needs it too
    def scale(edit: Editor) -> Value:
        factor = edit.add("rsqrt", edit.add("add", variance, scalar=op.eps))
        return factor if weight is None else edit.add("mul", factor, _flat(edit, weight))

    def shift(edit: Editor) -> Value:
        moved = edit.add("neg", edit.add("mul", mean, scale(edit)))
        return moved if bias is None else edit.add("add", moved, _flat(edit, bias))

    return Affine(node, axis_of(op.axis, len(x.shape)), x, scale, shift)


def _flat(edit: Editor, value: Value) -> Value:
    return value if len(value.shape) == 1 else edit.add("reshape", value, sizes=(-1,))


def _arithmetic(node: Node, facts: Facts) -> Affine | None:
    op: Any = node.op
    out = node.results[0]
    if len(node.inputs) == 1:
        if not isinstance(op.scalar, (int, float)) or node.inputs[0].type != out.type:
            return None
        number = float(op.scalar)
        factor = op.name in ("mul", "div")
        if not isfinite(number) or (factor and not 1 / _MOST <= abs(number) <= _MOST):
            return None
        return _combined(node, node.inputs[0], None, lambda edit: number, op.reverse)
    x, y = node.inputs
    reverse = bool(op.reverse)
    if facts.is_static(x) and not facts.is_static(y):
        x, y, reverse = y, x, not reverse
    if facts.is_static(x) or not facts.is_static(y) or x.type != out.type or not is_float(y.type.dtype):
        return None
    sizes = (*(1,) * (len(out.shape) - len(y.shape)), *y.shape)
    varying = [axis for axis, size in enumerate(sizes) if size != 1]
    if len(varying) > 1 or len(sizes) != len(out.shape):
        return None
    axis = varying[0] if varying else None
    return _combined(node, x, axis, lambda edit: edit.add("reshape", y, sizes=(-1,)), reverse)


def _combined(node: Node, x: Value, axis: int | None, other: Make, reverse: bool) -> Affine | None:
    """The operator applied to x and a fixed operand, in the other order with `reverse`."""

    def negative(edit: Editor) -> PerChannel:
        value = other(edit)
        return -value if isinstance(value, (int, float)) else edit.add("neg", value)

    def inverse(edit: Editor) -> PerChannel:
        value = other(edit)
        return 1.0 / value if isinstance(value, (int, float)) else edit.add("reciprocal", value)

    def minus_one(edit: Editor) -> PerChannel:
        return -1.0

    match node.op.name:
        case "mul":
            return Affine(node, axis, x, scale=other)
        case "add":
            return Affine(node, axis, x, shift=other)
        case "sub" if reverse:
            return Affine(node, axis, x, scale=minus_one, shift=other)
        case "sub":
            return Affine(node, axis, x, shift=negative)
        case "div" if not reverse:
            return Affine(node, axis, x, scale=inverse)
        case _:
            return None
