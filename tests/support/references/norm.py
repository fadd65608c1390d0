"""Normalisations over axes that torch's functions do not reach by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from support.references import reference


def _trailing(op: Any, x: Tensor, function: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
    """Apply a function of the trailing axes to the axes that the operator names."""
    axes = [op.axis] if isinstance(op.axis, int) else list(op.axis)
    if len({range(x.dim())[axis] for axis in axes}) != len(axes):
        raise ValueError("an axis is named twice")
    source = sorted(range(x.dim())[axis] for axis in axes)
    target = list(range(-len(source), 0))
    moved = torch.movedim(x, source, target)
    return torch.movedim(function(moved, list(moved.shape[-len(source) :])), target, source)


@reference("layer_norm_with")
def layer_norm(op: Any, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    return _trailing(op, x, lambda moved, sizes: F.layer_norm(moved, sizes, weight, bias, op.eps))


@reference("rms_norm_with")
def rms_norm(op: Any, x: Tensor, weight: Tensor | None = None) -> Tensor:
    return _trailing(op, x, lambda moved, sizes: F.rms_norm(moved, sizes, weight, op.eps))
