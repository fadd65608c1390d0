"""Reductions and activations that torch has in another form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from support.references import reference


@reference("prod")
def prod(op: Any, x: Tensor) -> Tensor:
    """The reduced axes moved to the end and made one."""
    axes = range(x.dim()) if op.axis is None else (op.axis,) if isinstance(op.axis, int) else op.axis
    if x.dim() == 0:
        assert all(axis in (0, -1) for axis in axes)
        return torch.prod(x)
    if not axes:
        return x if x.is_floating_point() or x.is_complex() else x.long()
    moved = torch.movedim(x, tuple(axes), tuple(range(-len(axes), 0)))
    result = moved.flatten(-len(axes)).prod(-1)
    for axis in sorted(axis % x.dim() for axis in axes) if op.keepdim else ():
        result = result.unsqueeze(axis)
    return result


@reference("quick_gelu")
def quick_gelu(op: Any, x: Tensor) -> Tensor:
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(torch.float32)
    return x / (1 + torch.exp(x * -1.702))


@reference("hard_mish")
def hard_mish(op: Any, x: Tensor) -> Tensor:
    if x.is_complex():
        raise TypeError("complex numbers have no order")
    if not x.is_floating_point():
        x = x.to(torch.float32)
    return torch.where(x >= 0, x, torch.where(x <= -2, torch.zeros_like(x), 0.5 * x * x + x))
