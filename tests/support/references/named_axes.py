"""Operators of named axes, by einops itself."""

from __future__ import annotations

from typing import Any

import einops
import torch

from . import reference


def _einops(function: Any, op: Any, x: torch.Tensor, *more: Any) -> torch.Tensor:
    # einops hands a negative size on to torch, which reads it as "keep".
    assert all(size >= 0 for _, size in op.sizes)
    return function(x, op.pattern, *more, **dict(op.sizes))


@reference("rearrange")
def rearrange(op: Any, x: torch.Tensor) -> torch.Tensor:
    return _einops(einops.rearrange, op, x)


@reference("reduce")
def reduce(op: Any, x: torch.Tensor) -> torch.Tensor:
    if op.reduction == "mean" and x.is_complex():
        # Which einops takes of real numbers alone.
        return torch.complex(reduce(op, x.real), reduce(op, x.imag))
    return _einops(einops.reduce, op, x, op.reduction)


@reference("repeat")
def repeat(op: Any, x: torch.Tensor) -> torch.Tensor:
    return _einops(einops.repeat, op, x)
