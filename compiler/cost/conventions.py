"""Which operators a published figure counts.

The literature rarely counts all that a network does: figures for convolutional networks leave out everything
but convolutions and linear layers, and some for transformers leave out the products inside attention.
"""

from __future__ import annotations

from collections.abc import Callable

from .rows import Row

CONVOLUTIONS = frozenset({"conv", "conv_transpose", "deform_conv"})
WITH_LINEAR = CONVOLUTIONS | {"linear"}
WITH_PRODUCTS = WITH_LINEAR | {"matmul", "einsum", "bilinear", "scaled_dot_product_attention"}

CONVENTIONS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    # The MACs of most papers.
    "conv+linear only": lambda row: row.op in WITH_LINEAR,
    # The activations of arXiv:2003.13678: the sizes of what convolutions give.
    "conv only": lambda row: row.op in CONVOLUTIONS,
    # The products of attention too, and no elementwise work.
    "products only": lambda row: row.op in WITH_PRODUCTS,
}
