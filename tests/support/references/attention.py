"""Attention from its equation, for operands that torch's function accepts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from support.references import reference


@reference("scaled_dot_product_attention")
def attention(op: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    if op.gqa and 0 in (k.shape[-3], v.shape[-3]):
        raise ValueError("torch divides by the number of heads, which ends the process")
    accepted = F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=op.causal, scale=op.scale, enable_gqa=op.gqa
    )
    if op.gqa:
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3)
        v = v.repeat_interleave(q.shape[-3] // v.shape[-3], -3)
    if not q.is_floating_point() or 0 in (*q.shape, *k.shape, *v.shape):
        return accepted
    scale = q.shape[-1] ** -0.5 if op.scale is None else op.scale
    scores = scale * torch.einsum("...nd,...md->...nm", q, k)
    if op.causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
    result = torch.einsum("...nm,...md->...nd", weights, v.to(weights.dtype)).to(accepted.dtype)
    return result.expand(accepted.shape)
