"""Recurrences, one position after another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from support.references import reference


@reference("linear_recurrence")
def linear_recurrence(op: Any, a: Tensor, b: Tensor, state: Tensor | None = None) -> Tensor:
    given = [a, b] if state is None else [a, b, state]
    if any(x.dtype != a.dtype for x in given) or not (a.is_floating_point() or a.is_complex()):
        raise TypeError("one type of real or complex numbers")
    if a.shape != b.shape:
        raise ValueError("factors and inputs of one shape")
    positions = range(a.size(op.axis))
    h = torch.zeros_like(a.select(op.axis, 0)) if state is None else state
    if h.shape != a.select(op.axis, 0).shape:
        raise ValueError("a state for each row")
    found: dict[int, Tensor] = {}
    for at in reversed(positions) if op.reverse else positions:
        h = found[at] = a.select(op.axis, at) * h + b.select(op.axis, at)
    return torch.stack([found[at] for at in positions], op.axis)


@reference("selective_scan")
def selective_scan(
    op: Any,
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor | None = None,
    delta_bias: Tensor | None = None,
) -> Tensor:
    given = [x for x in (u, delta, a, b, c, d, delta_bias) if x is not None]
    if any(x.dtype != u.dtype for x in given) or not u.is_floating_point():
        raise TypeError("one type of real numbers")
    batch, channels, length = u.shape
    states = a.shape[1]
    if delta.shape != u.shape or a.dim() != 2 or a.shape[0] != channels:
        raise ValueError("delta as u, and a row of a for each channel")
    if any(x is not None and x.shape != (channels,) for x in (d, delta_bias)):
        raise ValueError("a number for each channel")

    def spread(matrix: Tensor) -> Tensor:
        """[B, D, N, L], each channel with the matrix of its group."""
        if matrix.dim() == 3:
            matrix = matrix[:, None]
        groups = matrix.shape[1]
        if matrix.shape != (batch, groups, states, length) or channels % groups:
            raise ValueError("matrices for groups of channels")
        return torch.stack([matrix[:, channel // (channels // groups)] for channel in range(channels)], 1)

    b, c = spread(b), spread(c)
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    if op.softplus:
        delta = F.softplus(delta)
    h = torch.zeros_like(b[..., 0])
    found: list[Tensor] = []
    for at in range(length):
        step = delta[:, :, at, None]
        h = torch.exp(step * a) * h + step * b[..., at] * u[:, :, at, None]
        found.append(torch.einsum("bdn,bdn->bd", c[..., at], h))
    y = torch.stack(found, -1)
    return y if d is None else y + d[:, None] * u
