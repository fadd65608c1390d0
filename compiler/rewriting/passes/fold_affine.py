"""Scales and shifts folded into the weights of the linear map before or after them.

With y = s*(W x + b) + t the weights are s*W and s*b + t; with y = W (s*x + t) + b they are W*s and W t + b.
The second needs that the map sees t everywhere, which zero padding does not show it.
"""

from __future__ import annotations

from ...graph.graph import Node, Value
from ...sizes.dims import at_least, prod, total
from ..editor import Editor
from ..match import Facts, Match, Reject, op
from ..rule import Rule
from . import affine, linear_maps
from .affine import Affine
from .channels import AxisTrace, trail
from .linear_maps import (
    fixed_weights,
    image_of,
    in_axis,
    operand,
    out_axis,
    out_channels,
    pads_zeros,
    scale_operand,
    scale_results,
    spreads,
    sum_of,
    times,
    vector,
    weight_of,
)

# --- after a linear map ---


def _found_after(match: Match) -> tuple[Affine, AxisTrace, Node] | None:
    found = affine.affine(match.root, match.facts)
    if found is None:
        return None
    way = trail(found.x)
    map = way.start.node
    return (found, way, map) if map.op.name in linear_maps.NAMES else None


def _check_after(match: Match) -> Reject | None:
    found = _found_after(match)
    assert found is not None
    this, way, map = found
    refused = fixed_weights(match, map) or _read_once(match, way)
    if refused is not None:
        return refused
    axis = way.origin_of(this.axis)
    if isinstance(axis, str):
        return Reject(axis, this.node)
    if axis is not None and axis != out_axis(map):
        title = f"{this.node.op.title} works along axis {axis} of what {map.op.title} gives"
        return Reject(f"{title}, whose channels are axis {out_axis(map)}", this.node)
    return _blocked(this, way)


def _read_once(match: Match, way: AxisTrace) -> Reject | None:
    """Nothing else reads what stands between, or the start."""
    for value in (*[node.results[0] for node in way.nodes], way.start):
        refused = match.read_once(value)
        if refused is not None:
            return refused
    return None


def _blocked(this: Affine, way: AxisTrace) -> Reject | None:
    obstacle = way.shift_obstacle() if this.shift is not None else way.scale_obstacle()
    if obstacle is None:
        return None
    what = "shift" if this.shift is not None else "scale"
    return Reject(
        f"what {obstacle.op.title} fills in would miss the {what} of {this.node.op.title}", obstacle
    )


def _fold_after(match: Match, edit: Editor) -> Value:
    found = _found_after(match)
    assert found is not None
    this, way, map = found
    match.cover(map, *way.nodes)
    new: dict[str, Value] = {}
    bias = operand(map, "bias")
    if this.scale is not None:
        scale = this.scale(edit)
        new["weight"] = scale_results(edit, map, scale)
        if bias is not None:
            bias = times(edit, bias, scale, out_channels(map))
    if this.shift is not None:
        bias = sum_of(edit, bias, vector(edit, this.shift(edit), out_channels(map), weight_of(map)))
    if bias is not None:
        new["bias"] = bias
    return retrace(edit, way, edit.with_operands(map, **new).results[0])


def retrace(edit: Editor, way: AxisTrace, value: Value) -> Value:
    """The operators of a trail applied to another start."""
    for node in reversed(way.nodes):
        value = edit.copy(node, value)
    return value


# --- before a linear map ---


def _found_before(match: Match) -> tuple[Affine, AxisTrace, Node] | None:
    way = trail(match.root.inputs[0])
    node = way.start.node
    if node.op.source:
        return None
    found = affine.affine(node, match.facts) or affine.trailing_affine(node, match.facts)
    return None if found is None else (found, way, match.root)


def _is_plain(match: Match) -> bool:
    found = _found_before(match)
    return found is not None and found[0].bare is None


def _is_norm(match: Match) -> bool:
    found = _found_before(match)
    return found is not None and found[0].bare is not None


def _check_before(match: Match) -> Reject | None:
    found = _found_before(match)
    assert found is not None
    this, way, map = found
    refused = fixed_weights(match, map)
    if refused is not None:
        return refused
    axis = way.origin_of(in_axis(map))
    if this.axis is not None and axis != this.axis:
        if isinstance(axis, str):
            return Reject(axis, this.node)
        title = f"{this.node.op.title} works along axis {this.axis}"
        return Reject(f"{title}, and the channels of {map.op.title} come from axis {axis}", this.node)
    refused = _blocked(this, way) or _unmoved(this, map)
    if refused is not None:
        return refused
    if not way.nodes and _all_take(this, match.facts):
        return None
    return _read_once(match, way)


def _unmoved(this: Affine, map: Node) -> Reject | None:
    """A refusal where the map's results do not all see the shift alike."""
    if this.shift is None:
        return None
    title = this.node.op.title
    if pads_zeros(map):
        return Reject(f"{map.op.title} pads with zeros, which the shift of {title} does not reach", map)
    if spreads(map):
        return Reject(f"the results of {map.op.title} see the shift of {title} in different numbers", map)
    return None


def _check_norm(match: Match) -> Reject | None:
    return _check_before(match) or _costs_more(match)


def _costs_more(match: Match) -> Reject | None:
    """A refusal where the biases that the maps lack are more to add than what the norm is spared."""
    found = _found_before(match)
    assert found is not None
    this, _, map = found
    result = this.node.results[0]
    spared = ((this.scale is not None) + (this.shift is not None)) * prod(result.shape[1:])
    maps = match.facts.readers(result) if match.facts.uses(result) > 1 else [map]
    lacking = [each for each in maps if operand(each, "bias") is None]
    wanted = total(prod(each.results[0].shape[1:]) for each in lacking)
    if this.shift is None or not lacking or at_least(spared, wanted + 1) is True:
        return None
    return Reject(f"{map.op.title} has no bias: adding one costs more than the weights of the norm", map)


def _all_take(this: Affine, facts: Facts) -> bool:
    """Whether all that read the result are linear maps into which it can be folded."""
    value = this.node.results[0]
    readers = facts.readers(value)
    return facts.uses(value) <= len(readers) and all(
        reader.op.name in linear_maps.NAMES
        and reader.slots[:1] == ("x",)
        and this.axis in (None, in_axis(reader))
        and len(weight_of(reader).shape) == (2 if reader.op.name == "linear_with" else len(value.shape))
        and weight_of(reader).node.op.name == "weight"
        and _unmoved(this, reader) is None
        for reader in readers
    )


def _fold_before(match: Match, edit: Editor) -> Value:
    found = _found_before(match)
    assert found is not None
    this, way, map = found
    match.cover(this.node, *way.nodes)
    new: dict[str, Value] = {"x": retrace(edit, way, this.base(edit))}
    if this.shift is not None:
        like = weight_of(map)
        shift = this.shift(edit)
        shift = shift if isinstance(shift, (int, float)) else edit.cast(shift, like)
        bias = sum_of(edit, operand(map, "bias"), image_of(edit, map, shift))
        assert bias is not None
        new["bias"] = bias
    if this.scale is not None:
        new["weight"] = scale_operand(edit, map, this.scale(edit))
    return edit.with_operands(map, **new).results[0]


RULES = (
    Rule(
        "fold a scale and shift into the linear map before it",
        "operators",
        op(*affine.NAMES),
        _fold_after,
        lambda match: _found_after(match) is not None,
        _check_after,
    ),
    Rule(
        "fold a scale and shift into the linear map after it",
        "operators",
        op(*linear_maps.NAMES),
        _fold_before,
        _is_plain,
        _check_before,
    ),
    Rule(
        "fold the weights of a norm into the linear map after it",
        "operations",
        op(*linear_maps.NAMES),
        _fold_before,
        _is_norm,
        _check_norm,
    ),
)
