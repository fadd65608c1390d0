"""Experts, one position after another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from support.references import reference


@reference("expert_linear_with")
def expert_linear(op: Any, x: Tensor, chosen: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if chosen.dtype != torch.int64 or x.dtype != weight.dtype or (bias is not None and bias.dtype != x.dtype):
        raise TypeError("positions as i64, and one type of numbers")
    experts, out, features = weight.shape
    if chosen.shape != x.shape[:-1] or x.shape[-1] != features or not chosen.shape[-1] <= experts:
        raise ValueError("a choice for each position, of experts that there are")
    if bias is not None and bias.shape != (experts, out):
        raise ValueError("a bias for each expert")
    if x.device.type == "meta":
        return x.new_empty((*x.shape[:-1], out))
    rows = zip(x.flatten(0, -2), chosen.flatten().tolist(), strict=True)
    found = [weight[e] @ row + (0 if bias is None else bias[e]) for row, e in rows]
    return torch.stack(found).reshape(*x.shape[:-1], out) if found else x.new_empty((*x.shape[:-1], out))
