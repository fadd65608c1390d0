"""What an operator is to fusion: how its result follows from its operands, apart from what it computes."""

from __future__ import annotations

from typing import Literal

from ..graph import Node
from ..ops.activation import Rrelu
from ..ops.base import Op
from ..ops.constant import Constant, Tril
from ..ops.einops import PatternOp
from ..ops.join import Move
from ..ops.norm_rows import OverAxes
from ..ops.pointwise import Binary, Unary
from ..ops.pool import Windows
from ..ops.pool_adaptive import AdaptivePool, GlobalPool
from ..ops.reduce import Reduction
from ..ops.softmax import AlongAxis

Role = Literal["elementwise", "view", "move", "reduction", "window", "contraction", "opaque"]

# elementwise   one element of the result for each element of the operands, which broadcast
# view          other axes over the same memory
# move          elements in another place: what reads the result can read the operand instead
# reduction     rows are read as a whole
# window        a window of the operand for each element, without weights
# contraction   sums of products: convolutions, linear maps, matrix products, attention
# opaque        anything else: sorting, transforms, recurrences, random numbers, state
_NAMES: dict[str, Role] = {
    **dict.fromkeys(
        (
            "batch_norm_with",
            "cast",
            "complex",
            "polar",
            "prelu_with",
            "where",
            "clamp",
            "lerp",
            "masked_fill",
        ),
        "elementwise",
    ),
    **dict.fromkeys(
        (
            *("rearrange", "repeat", "pad", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
            *("index_select", "take", "gather", "take_along_axis", "embedding_with", "one_hot"),
        ),
        "move",
    ),
    **dict.fromkeys(
        ("argmax", "argmin", "group_norm_with", "instance_norm_with", "l2_normalize", "reduce"), "reduction"
    ),
    **dict.fromkeys(
        (
            *("conv_with", "conv_transpose_with", "deform_conv_with", "linear_with", "bilinear_with"),
            *("matmul", "einsum", "scaled_dot_product_attention"),
        ),
        "contraction",
    ),
    **dict.fromkeys(("resize", "local_response_norm", "glu"), "window"),
    **dict.fromkeys(("max_pool_indices", "max_unpool", "unfold", "fold"), "opaque"),
}
_CLASSES: tuple[tuple[type[Op], Role], ...] = (
    (Unary, "elementwise"),
    (Binary, "elementwise"),
    (Rrelu, "elementwise"),
    (Tril, "elementwise"),
    (Constant, "move"),
    (Move, "move"),
    (PatternOp, "move"),
    (Reduction, "reduction"),
    (GlobalPool, "reduction"),
    (AdaptivePool, "reduction"),
    (AlongAxis, "reduction"),
    (OverAxes, "reduction"),
    (Windows, "window"),
)


# Reductions that a kernel can build up beside its tiles, in any order.
_ACCUMULATE = frozenset(
    ("sum", "mean", "amax", "amin", "any", "all", "prod", "global_avg_pool", "global_max_pool")
)


def accumulates(node: Node) -> bool:
    """Whether a reduction combines elements in any order, as they are made."""
    return node.op.name in _ACCUMULATE


def role_of(node: Node) -> Role:
    """The role of a node's operator; what has effects or bodies is opaque, and so is what is not known."""
    if node.bodies or node.effects:
        return "opaque"
    if node.op.view:
        return "view"
    if node.op.name == "batch_norm_with" and "running_mean" not in node.slots:
        return "reduction"  # over the batch itself
    known = _NAMES.get(node.op.name)
    if known is not None:
        return known
    for base, role in _CLASSES:
        if isinstance(node.op, base):
            return role
    return "opaque"
