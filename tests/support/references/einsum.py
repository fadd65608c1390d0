"""Einsum by torch.einsum on operands of one type."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from support.references import reference


@reference("einsum")
def einsum(op: Any, *xs: Tensor) -> Tensor:
    pattern = op.pattern
    for letter, word in enumerate(("row", "chan")):
        pattern = pattern.replace(word, "rc"[letter])
    common = torch.empty(0, dtype=xs[0].dtype)
    for x in xs[1:]:
        common = torch.empty(0, dtype=torch.promote_types(common.dtype, x.dtype))
    return torch.einsum(pattern, *(x.to(common.dtype) for x in xs)).to(common.dtype)
