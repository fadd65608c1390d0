"""Spikes, as a function with a gradient of its own."""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor

from support.references import reference


class Fire(torch.autograd.Function):
    """A step forwards, the slope of the surrogate backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, surrogate: str, alpha: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = threshold, surrogate, alpha
        return torch.where(x >= threshold, torch.ones_like(x), torch.zeros_like(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        threshold, surrogate, alpha = ctx.settings
        over = x - threshold
        if surrogate == "sigmoid":
            slope = alpha / (2 + torch.exp(alpha * over) + torch.exp(-alpha * over))
        elif surrogate == "atan":
            slope = alpha / 2 / (1 + (pi / 2 * alpha * over) ** 2)
        else:
            slope = alpha * (over.abs() <= 0.5 / alpha).to(x.dtype)
        return gradients[0] * slope, None, None, None


@reference("spike")
def spike(op: Any, x: Tensor) -> Tensor:
    if not x.is_floating_point() or not op.alpha > 0:
        raise TypeError("numbers with a fraction, and a slope")
    return Fire.apply(x, op.threshold, op.surrogate, op.alpha)
