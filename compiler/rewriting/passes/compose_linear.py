"""Two linear maps with nothing between them made one, where that costs no more.

With y = V (W x + b) + c the map is V W and the bias V b + c. Of two convolutions one has kernels of size 1.
"""

from __future__ import annotations

from typing import Any

from ...graph.graph import Node, Value
from ...sizes.dims import Size, at_least, prod, render
from ..editor import Editor
from ..match import Match, Reject, op
from ..rule import Rule
from .linear_maps import fixed_weights, groups_of, image_of, operand, pads_zeros, sum_of, weight_of


def _pair(match: Match) -> tuple[Node, Node]:
    return match.node("first"), match.root


def _fixed(match: Match) -> Reject | None:
    first, second = _pair(match)
    return fixed_weights(match, first) or fixed_weights(match, second) or match.read_once(first.results[0])


def _costs_more(first: Node, second: Node, weights: Size) -> Reject | None:
    """A refusal unless one map of that many weights provably has no more multiply-adds than the two."""
    one, two = weights * _places(second), _macs(first) + _macs(second)
    if _places(first) == _places(second):
        one, two = weights, prod(weight_of(first).shape) + prod(weight_of(second).shape)
    if at_least(two, one) is True:
        return None
    where = "for each place" if one is weights else "a sample"
    return Reject(f"one map has {render(one)} multiply-adds {where}, and both have {render(two)}", first)


def _macs(node: Node) -> Size:
    return prod(weight_of(node).shape) * _places(node)


def _places(node: Node) -> Size:
    """How often a sample's result applies the weights; rows of linear maps are as many before as after."""
    return 1 if node.op.name == "linear_with" else prod(node.results[0].shape[2:])


# --- linear and linear ---


def _check_linear(match: Match) -> Reject | None:
    first, second = _pair(match)
    inner, outer = weight_of(first).shape, weight_of(second).shape
    return _fixed(match) or _costs_more(first, second, prod((outer[0], inner[1])))


def _join_linear(match: Match, edit: Editor) -> Value:
    first, second = _pair(match)
    weight = edit.add("matmul", weight_of(second), weight_of(first))
    return _joined(edit, first, second, weight, second.op)


def _joined(edit: Editor, first: Node, second: Node, weight: Value, op: Any) -> Value:
    """One map under the first one's path with that weight, whose bias is what the second makes of the
    first's.
    """
    bias, own = operand(first, "bias"), operand(second, "bias")
    moved = None if bias is None else image_of(edit, second, bias)
    return edit.apply(op, first.inputs[0], weight, sum_of(edit, moved, own), path=first.path).results[0]


# --- convolution and convolution ---


def _is_point(node: Node) -> bool:
    """Kernels of size 1, on every channel, at every place."""
    op: Any = node.op
    taps = weight_of(node).shape[2:]
    stride, _, _ = op.window(node.inputs[0].shape[2:], taps)
    return all(size == 1 for size in taps) and all(step == 1 for step in stride) and not pads_zeros(node)


def _check_conv(match: Match) -> Reject | None:
    first, second = _pair(match)
    refused = _fixed(match)
    if refused is not None:
        return refused
    if not (_is_point(first) or _is_point(second)):
        return Reject(
            "neither convolution is 1x1 at every place: one kernel would be larger than both", first
        )
    if groups_of(first) != 1 or groups_of(second) != 1:
        node = first if groups_of(first) != 1 else second
        return Reject("a grouped convolution does not see all channels of the other", node)
    if not _is_point(second) and pads_zeros(second) and operand(first, "bias") is not None:
        return Reject("conv pads with zeros, which the bias of the convolution before does not reach", second)
    inner, outer = weight_of(first).shape, weight_of(second).shape
    return _costs_more(first, second, prod((outer[0], *inner[1:], *outer[2:])))


def _join_conv(match: Match, edit: Editor) -> Value:
    first, second = _pair(match)
    inner, outer = weight_of(first), weight_of(second)
    if _is_point(second):
        # V [O, M, 1..] after W [M, I, k..]: rows of W as vectors over inputs and taps.
        flat = edit.add("reshape", inner, sizes=(inner.shape[0], -1))
        rows = edit.add("reshape", outer, sizes=outer.shape[:2])
        weight = edit.add("reshape", edit.add("matmul", rows, flat), sizes=(outer.shape[0], *inner.shape[1:]))
        return _joined(edit, first, second, weight, first.op)
    # V [O, M, k..] after W [M, I, 1..]: the channels of V come last.
    axes = tuple(range(2, len(outer.shape)))
    last = edit.add("permute", outer, axes=(0, *axes, 1))
    columns = edit.add("reshape", inner, sizes=inner.shape[:2])
    product = edit.add("matmul", last, columns)
    back = (0, len(outer.shape) - 1, *range(1, len(outer.shape) - 1))
    return _joined(edit, first, second, edit.add("permute", product, axes=back), second.op)


RULES = (
    Rule(
        "join consecutive linear maps",
        "operators",
        op("linear_with", x=op("linear_with", bind="first")),
        _join_linear,
        check=_check_linear,
    ),
    Rule(
        "join consecutive convolutions",
        "operators",
        op("conv_with", x=op("conv_with", bind="first")),
        _join_conv,
        check=_check_conv,
    ),
)
