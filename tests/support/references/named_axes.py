"""Operators of named axes, by einops itself."""

from __future__ import annotations

from typing import Any

import einops
import torch

from . import reference


def _einops(function: Any, op: Any, x: torch.Tensor, *more: Any) -> torch.Tensor:
    result = function(x, op.pattern, *more, **dict(op.sizes))
    # What it gives for a tensor without elements is not of the pattern's shape in every case.
    return result


@reference("rearrange")
def rearrange(op: Any, x: torch.Tensor) -> torch.Tensor:
    return _einops(einops.rearrange, op, x)


@reference("reduce")
def reduce(op: Any, x: torch.Tensor) -> torch.Tensor:
    return _einops(einops.reduce, op, x, op.reduction)


@reference("repeat")
def repeat(op: Any, x: torch.Tensor) -> torch.Tensor:
    return _einops(einops.repeat, op, x)
