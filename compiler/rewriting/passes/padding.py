"""Zeros around a convolution's input, which the convolution can take itself."""

from __future__ import annotations

from typing import Any

from ...graph.graph import Value
from ...ops.conv import ConvWith
from ...sizes.dims import Size
from ..editor import Editor
from ..match import Match, anything, op
from ..rule import Rule
from .linear_maps import operand, weight_of


def _pads(match: Match) -> tuple[tuple[Size, Size], ...] | None:
    """The convolution's padding and the pad's together; None where it cannot take that."""
    map: Any = match.root.op
    pad: Any = match.node("pad").op
    taps = weight_of(match.root).shape[2:]
    amounts = pad.amounts
    if pad.mode != "constant" or pad.value != 0 or map.pad == "tf_same" or any(amounts[2 * len(taps) :]):
        return None
    if not all(isinstance(amount, int) and amount >= 0 for amount in amounts):
        return None
    _, _, own = map.window(match["pad"].shape[2:], taps)
    found: list[tuple[Size, Size]] = []
    for axis, (before, after) in enumerate(own):
        at = 2 * (len(taps) - 1 - axis)
        more = amounts[at : at + 2] or (0, 0)
        found.append((before + more[0], after + more[1]))
    return tuple(found)


def _absorb(match: Match, edit: Editor) -> Value:
    map: Any = match.root.op
    pads = _pads(match)
    assert pads is not None
    new = ConvWith(stride=map.stride, pad=pads, dilation=map.dilation, groups=map.groups)
    weight, bias = weight_of(match.root), operand(match.root, "bias")
    return edit.apply(new, match["x"], weight, bias, path=match.root.path).results[0]


RULES = (
    Rule(
        "let the convolution pad",
        "operators",
        op("conv_with", x=op("pad", x=anything("x"), bind="pad", once=True)),
        _absorb,
        lambda match: _pads(match) is not None,
    ),
)
