"""Which operators a published figure counts.

The literature rarely counts all that a network does: figures for convolutional networks leave out everything
but convolutions and linear layers, and some for transformers leave out the products inside attention.
"""

from __future__ import annotations

from collections.abc import Callable

from .rows import Row

CONVOLUTIONS = frozenset({"conv", "conv_transpose", "deform_conv"})
LINEAR = CONVOLUTIONS | {"linear", "bilinear"}
PRODUCTS = LINEAR | {"matmul", "einsum", "attention", "scaled_dot_product_attention"}

CONVENTIONS: dict[str, Callable[[Row], bool]] = {
    "all": lambda row: True,
    # Outputs of convolutions and linear layers: the activations of arXiv:2003.13678 (section 2) and the usual
    # MACs.
    "conv+linear only": lambda row: row.op in LINEAR,
    "conv only": lambda row: row.op in CONVOLUTIONS,
    # The products of attention too, as fvcore counts activations.
    "products only": lambda row: row.op in PRODUCTS,
}
