"""Arithmetic of which torch refuses what the lowering would let pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from support.references import reference


@reference("sub")
def sub(op: Any, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Torch's operator, which has no difference of booleans: the lowering makes numbers of them first."""
    other = op.scalar if y is None else y
    return other - x if op.reverse else x - other
