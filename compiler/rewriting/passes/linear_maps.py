"""Convolution, transposed convolution and linear alike: maps whose weights passes compute new weights from.

Whatever is built here depends on weights alone: it is evaluated once, when a model is prepared.
"""

from __future__ import annotations

from typing import Any

from ...graph.graph import Node, Value
from ...sizes.dims import Size
from ...types import Shape
from ..editor import Editor
from ..match import Match, Reject

NAMES = ("conv_with", "conv_transpose_with", "linear_with")
# A factor or term for each channel, or one for all.
PerChannel = Value | float


def operand(node: Node, slot: str) -> Value | None:
    """The operand of that slot."""
    return next((value for name, value in zip(node.slots, node.inputs, strict=True) if name == slot), None)


def weight_of(node: Node) -> Value:
    """The weight of a linear map."""
    found = operand(node, "weight")
    assert found is not None
    return found


def out_axis(node: Node) -> int:
    """The axis of the result's channels."""
    return len(node.results[0].shape) - 1 if node.op.name == "linear_with" else 1


def in_axis(node: Node) -> int:
    """The axis of the operand's channels."""
    return len(node.inputs[0].shape) - 1 if node.op.name == "linear_with" else 1


def groups_of(node: Node) -> int:
    """The number of groups of channels."""
    op: Any = node.op
    return getattr(op, "groups", 1)


def pads_zeros(node: Node) -> bool:
    """Whether the map sees zeros beyond the edges of its input."""
    op: Any = node.op
    if op.name != "conv_with":
        return False
    taps = weight_of(node).shape[2:]
    if op.pad == "tf_same":
        return any(size != 1 for size in taps)
    _, _, pads = op.window(node.inputs[0].shape[2:], taps)
    return any(size != 0 for pair in pads for size in pair)


def spreads(node: Node) -> bool:
    """Whether results differ in how many taps of the kernel reach them: a transposed convolution's do."""
    op: Any = node.op
    return op.name == "conv_transpose_with" and any(size != 1 for size in weight_of(node).shape[2:])


def fixed_weights(match: Match, node: Node) -> Reject | None:
    """A refusal where the weight is computed at run time, or there is one for each sample."""
    for slot in ("weight", "bias"):
        value = operand(node, slot)
        if value is not None and not match.facts.is_static(value):
            return Reject(f"the {slot} of {node.op.title} is computed from the input", node)
    rank = len(node.inputs[0].shape)
    if node.op.name != "linear_with" and len(weight_of(node).shape) != rank:
        return Reject("there is a kernel for each sample", node)
    return None


# --- arithmetic on weights ---


def times(edit: Editor, value: Value, factor: PerChannel, *sizes: Size) -> Value:
    """The value times a factor, which is given the sizes if it has as many elements."""
    if isinstance(factor, (int, float)):
        return edit.add("mul", value, scalar=factor)
    return edit.add("mul", value, shaped(edit, edit.cast(factor, value), sizes))


def shaped(edit: Editor, value: Value, sizes: Shape) -> Value:
    """The value in these sizes, or, if it is one number for all, in as many axes of size 1."""
    wanted = tuple(1 for _ in sizes) if _is_one(value) else tuple(sizes)
    return value if value.shape == wanted else edit.add("reshape", value, sizes=wanted)


def _is_one(value: Value) -> bool:
    return all(size == 1 for size in value.shape)


def vector(edit: Editor, value: PerChannel, size: Size, like: Value) -> Value:
    """The numbers for each of `size` channels: [size]."""
    if isinstance(value, (int, float)):
        return edit.add("full", sizes=(size,), value=value, dtype=like.type.dtype)
    value = shaped(edit, edit.cast(value, like), (size,))
    return value if value.shape == (size,) else edit.add("expand", value, sizes=(size,))


def sum_of(edit: Editor, *values: Value | None) -> Value | None:
    """The sum of what is given."""
    given = [value for value in values if value is not None]
    total = given[0] if given else None
    for value in given[1:]:
        assert total is not None
        total = edit.add("add", total, value)
    return total


def scale_results(edit: Editor, node: Node, factor: PerChannel) -> Value:
    """The weight that makes results `factor` times as large, channel by channel."""
    weight = weight_of(node)
    shape = weight.shape
    ones = (1,) * (len(shape) - 2)
    if node.op.name != "conv_transpose_with":
        return times(edit, weight, factor, shape[0], 1, *ones)
    groups = groups_of(node)
    if groups == 1 or isinstance(factor, (int, float)):
        return times(edit, weight, factor, 1, shape[1], *ones)
    parted = edit.add("reshape", weight, sizes=(groups, shape[0] // groups, *shape[1:]))
    return edit.add("reshape", times(edit, parted, factor, groups, 1, shape[1], *ones), sizes=shape)


def scale_operand(edit: Editor, node: Node, factor: PerChannel) -> Value:
    """The weight that gives the same results for operands that are not multiplied by `factor` any more."""
    weight = weight_of(node)
    shape = weight.shape
    ones = (1,) * (len(shape) - 2)
    if node.op.name == "conv_transpose_with":
        return times(edit, weight, factor, shape[0], 1, *ones)
    groups = groups_of(node)
    if groups == 1 or isinstance(factor, (int, float)):
        return times(edit, weight, factor, 1, shape[1], *ones)
    parted = edit.add("reshape", weight, sizes=(groups, shape[0] // groups, *shape[1:]))
    return edit.add("reshape", times(edit, parted, factor, groups, 1, shape[1], *ones), sizes=shape)


def image_of(edit: Editor, node: Node, shift: PerChannel) -> Value:
    """What the map, without its bias, makes of an operand that is `shift` everywhere: [K]."""
    weight, groups = weight_of(node), groups_of(node)
    if node.op.name == "conv_transpose_with":
        # Of kernels of size 1 only, which are matrices [C, K/groups] for each group.
        rows, columns = weight.shape[0] // groups, weight.shape[1]
        matrices = edit.add("reshape", weight, sizes=(groups, rows, columns))
        moved = times(edit, matrices, shift, groups, rows, 1)
        return edit.add("reshape", edit.add("sum", moved, axis=1), sizes=(groups * columns,))
    rank = len(weight.shape)
    rows, columns = weight.shape[0] // groups, weight.shape[1]
    if rank > 2:
        weight = edit.add("sum", weight, axis=tuple(range(2, rank)))
    matrices = edit.add("reshape", weight, sizes=(groups, rows, columns)) if groups > 1 else weight
    sizes = (groups, 1, columns) if groups > 1 else (1, columns)
    total = edit.add("sum", times(edit, matrices, shift, *sizes), axis=-1)
    return edit.add("reshape", total, sizes=(groups * rows,)) if groups > 1 else total


def out_channels(node: Node) -> Size:
    """The number of the result's channels."""
    return node.results[0].shape[out_axis(node)]
