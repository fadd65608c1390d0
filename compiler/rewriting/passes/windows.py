"""A linear map of windows, which is a convolution: nothing has to be unfolded for it."""

from __future__ import annotations

from typing import Any

from ...graph.graph import Node, Value
from ...ops.conv import ConvWith, per_axis
from ..editor import Editor
from ..match import Match, anything, op
from ..rule import Rule
from .linear_maps import operand, weight_of
from .views import PERMUTES, axes_order


def _is_turned(node: Node) -> bool:
    """Whether a movement gives the windows [B, K, L] as rows [B, L, K]."""
    if len(node.inputs[0].shape) != 3 or len(node.results[0].shape) != 3:
        return False
    if node.op.name in PERMUTES:
        return list(axes_order(node.results[0])) == [0, 2, 1]
    pattern: Any = node.op
    found = pattern.solve(node.inputs[0].shape)
    left, right = found.left, found.right
    return all(map(left.__contains__, right)) and [left.index(group) for group in right] == [0, 2, 1]


def _is_convolution(match: Match) -> bool:
    weight = weight_of(match.root)
    images, fixed = match["x"], match.facts.is_static(weight)
    return fixed and len(weight.shape) == 2 and len(images.shape) == 4


def _convolve(match: Match, edit: Editor) -> Value:
    window: Any = match.node("windows").op
    images, weight, rows = match["x"], weight_of(match.root), match.root.results[0].shape
    batch, count, out = rows
    kernel = edit.add("reshape", weight, sizes=(out, images.shape[1], *per_axis(window.kernel, 2, "kernel")))
    stride, dilation = per_axis(window.stride, 2, "stride"), per_axis(window.dilation, 2, "dilation")
    pad = tuple((size, size) for size in per_axis(window.pad, 2, "pad"))
    convolution = ConvWith(stride=stride, pad=pad, dilation=dilation)
    made = edit.apply(convolution, images, kernel, operand(match.root, "bias"), path=match.root.path)
    flat = edit.add("reshape", made.results[0], sizes=(batch, out, count))
    return edit.add("permute", flat, axes=(0, 2, 1))


RULES = (
    Rule(
        "take a linear map of windows for a convolution",
        "activations",
        op(
            "linear_with",
            x=op(
                *PERMUTES,
                "rearrange",
                x=op("unfold", x=anything("x"), bind="windows", once=True),
                where=_is_turned,
                once=True,
            ),
        ),
        _convolve,
        _is_convolution,
    ),
)
