"""Attention in any spelling becomes one operator: softmax(scale * q k^T + mask) v (arXiv:1706.03762, eq. 1).

Products may be written as `matmul` or `einsum`, with their axes in any order; scalars may stand on the scores
or on the queries, and masks are added to the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from ...dtypes import is_float
from ...graph.graph import Node, Value
from ...ops.core.rules import axis_of
from ...ops.einsum import parse
from ..editor import Editor
from ..match import Match, Reject, op
from ..rule import Rule

Names = tuple[str, ...]


class Product(NamedTuple):
    """A sum of products of two tensors, with a name for each axis of the operands and of the result."""

    left: Value
    right: Value
    left_names: Names
    right_names: Names
    names: Names


class Attention(NamedTuple):
    """What was found, in names of the second product's axes: `batch`, queries, keys, features and channels.

    `masks` are added to the scores, whose axes are `scores`; `between` are the nodes replaced on the way.
    """

    q: Value
    k: Value
    v: Value
    q_names: Names
    k_names: Names
    v_names: Names
    scores: Names
    names: Names
    axes: tuple[str, str, str, str]
    batch: Names
    scale: float
    masks: tuple[Value, ...]
    between: tuple[Node, ...]
    scaled_masks: Node | None


def _product(value: Value) -> Product | None:
    """A product read off a node; None where it is none, or where axes broadcast."""
    node: Node = value.node
    op: Any = node.op
    if len(node.inputs) != 2:
        return None
    left, right = node.inputs
    if op.name == "matmul":
        rank = len(left.shape)
        if rank < 2 or len(right.shape) != rank or left.shape[:-2] != right.shape[:-2]:
            return None
        batch = tuple(f"b{axis}" for axis in range(rank - 2))
        return Product(left, right, (*batch, "i", "j"), (*batch, "j", "k"), (*batch, "i", "k"))
    if op.name != "einsum":
        return None
    equation = parse(op.pattern)
    (left_names, right_names), names = equation.inputs, equation.output
    sizes: dict[str, Any] = {}
    for term, operand in zip(equation.inputs, node.inputs, strict=True):
        for name, size in zip(term, operand.shape, strict=False):
            if name == "..." or sizes.setdefault(name, size) != size:
                return None
    if any(len(set(term)) != len(term) for term in (left_names, right_names, names)):
        return None
    return Product(left, right, left_names, right_names, names)


def _read(value: Value) -> Attention | None:
    """The attention that ends in a product, apart from what else reads the values in between."""
    outer = _product(value)
    if outer is None:
        return None
    for probs, probs_names, v, v_names in (
        (outer.left, outer.left_names, outer.right, outer.right_names),
        (outer.right, outer.right_names, outer.left, outer.left_names),
    ):
        node: Any = probs.node
        if node.op.name == "softmax" and is_float(probs.type.dtype):
            keys = probs_names[axis_of(node.op.axis, len(probs_names))]
            found = _scored(probs, probs_names, keys, v, v_names, outer.names)
            if found is not None:
                return found
    return None


def _scored(
    probs: Value, names: Names, keys: str, v: Value, v_names: Names, result: Names
) -> Attention | None:
    scores, scale, masks, between, scaled_masks = _walk(probs.node.inputs[0])
    inner = _product(scores)
    if inner is None or scores.shape != probs.shape:
        return None
    # Names of the first product that its result has become the second's; the summed one is new.
    rename = dict(zip(inner.names, names, strict=True))
    summed = set(inner.left_names) & set(inner.right_names) - set(inner.names)
    if len(summed) != 1:
        return None
    sides = [
        (operand, tuple(rename.get(name, "features") for name in own))
        for operand, own in ((inner.left, inner.left_names), (inner.right, inner.right_names))
    ]
    if keys in sides[0][1]:
        sides.reverse()
    (q, q_names), (k, k_names) = sides
    batch = tuple(name for name in names if name in q_names and name in k_names)
    queries = [name for name in q_names if name not in (*batch, "features")]
    channels = [name for name in v_names if name not in (*batch, keys)]
    if len(queries) != 1 or len(channels) != 1:
        return None
    query, channel = queries[0], channels[0]
    wanted = {
        q_names: {*batch, query, "features"},
        k_names: {*batch, keys, "features"},
        v_names: {*batch, keys, channel},
        result: {*batch, query, channel},
        names: {*batch, query, keys},
    }
    if channel in names or any(set(own) != axes for own, axes in wanted.items()):
        return None
    (q, k), factor, more = _unscaled(q, k)
    nodes = (*between, scores.node, *more)
    axes = (query, keys, "features", channel)
    return Attention(
        *(q, k, v, q_names, k_names, v_names, names, result, axes, batch),
        *(scale * factor, tuple(masks), nodes, scaled_masks),
    )


def _walk(value: Value) -> tuple[Value, float, list[Value], list[Node], Node | None]:
    """Back from the softmax over masks and scalars to the product."""
    scale, masks, between = 1.0, list[Value](), list[Node]()
    scaled_masks: Node | None = None
    late: Node | None = None
    while True:
        node = value.node
        factor = _factor(node)
        if factor is not None:
            scale, late, first = scale * factor, node, node.inputs[0]
        elif node.op.name == "add" and len(node.inputs) == 2:
            whole = [each for each in node.inputs if each.shape == value.shape]
            scored = [each for each in whole if _leads_to_product(each)]
            if len(scored) != 1:
                return value, scale, masks, between, scaled_masks
            first = scored[0]
            masks += [each for each in node.inputs if each is not first]
            scaled_masks = scaled_masks or late
        else:
            return value, scale, masks, between, scaled_masks
        between.append(node)
        value = first


def _leads_to_product(value: Value) -> bool:
    while _factor(value.node) is not None or (value.node.op.name == "add" and len(value.node.inputs) == 2):
        value = value.node.inputs[0]
    return _product(value) is not None


def _factor(node: Node) -> float | None:
    """The number that a node multiplies by, if that is all that it does."""
    op: Any = node.op
    if op.name not in ("mul", "div") or len(node.inputs) != 1 or op.reverse:
        return None
    if not isinstance(op.scalar, (int, float)) or node.results[0].type != node.inputs[0].type:
        return None
    if not op.scalar or not isfinite(op.scalar):
        return None
    return float(op.scalar) if op.name == "mul" else 1 / float(op.scalar)


def _unscaled(q: Value, k: Value) -> tuple[tuple[Value, Value], float, list[Node]]:
    """Queries and keys before a scalar on them, the scalars' product, and the nodes left out."""
    factor, left_out = 1.0, list[Node]()
    found: list[Value] = []
    for value in (q, k):
        own = _factor(value.node)
        if own is not None:
            factor *= own
            left_out.append(value.node)
            value = value.node.inputs[0]
        found.append(value)
    return (found[0], found[1]), factor, left_out


def _is_attention(match: Match) -> bool:
    return _read(match.root.results[0]) is not None


def _refuse(match: Match) -> Reject | None:
    found = _read(match.root.results[0])
    assert found is not None
    if found.scaled_masks is not None:
        return Reject("the mask is scaled together with the scores", found.scaled_masks)
    for mask in found.masks:
        if mask.type.dtype != found.q.type.dtype:
            return Reject(
                f"the mask is {mask.type.dtype} and the queries are {found.q.type.dtype}", mask.node
            )
    (probs,) = [value for value in match.root.inputs if value.node.op.name == "softmax"][:1]
    products = [
        node for node in found.between if _factor(node) is None or node.results[0].shape == probs.shape
    ]
    for value in (probs, *[node.results[0] for node in products]):
        refused = match.read_once(value)
        if refused is not None:
            return refused
    return None


def _rewrite(match: Match, editor: Editor) -> Value:
    found = _read(match.root.results[0])
    assert found is not None
    query, keys, features, channel = found.axes
    batch = found.batch
    match.cover(
        *[value.node for value in match.root.inputs if value.node.op.name == "softmax"], *found.between
    )
    q = _ordered(editor, found.q, found.q_names, (*batch, query, features))
    k = _ordered(editor, found.k, found.k_names, (*batch, keys, features))
    v = _ordered(editor, found.v, found.v_names, (*batch, keys, channel))
    masks = [_whole(editor, mask, found.scores, (*batch, query, keys)) for mask in found.masks]
    mask = masks[0] if masks else None
    for more in masks[1:]:
        mask = editor.add("add", mask, more)
    made = editor.add("scaled_dot_product_attention", q, k, v, mask, scale=found.scale, empty="nan")
    return _ordered(editor, made, (*batch, query, channel), found.names)


def _ordered(editor: Editor, value: Value, names: Names, wanted: Sequence[str]) -> Value:
    """The value with its axes in another order."""
    order = tuple(names.index(name) for name in wanted)
    if order == tuple(range(len(order))):
        return value
    if order == (*range(len(order) - 2), len(order) - 1, len(order) - 2):
        return editor.add("transpose", value, a=-2, b=-1)
    return editor.add("permute", value, axes=order)


def _whole(editor: Editor, mask: Value, names: Names, wanted: Names) -> Value:
    """A mask with the axes of the scores in another order, those that it lacks added in front."""
    if names == wanted:
        return mask
    while len(mask.shape) < len(names):
        mask = editor.add("unsqueeze", mask, axis=0)
    return _ordered(editor, mask, names, wanted)


RULES = (
    Rule("recognise attention", "activations", op("matmul", "einsum"), _rewrite, _is_attention, _refuse),
)
