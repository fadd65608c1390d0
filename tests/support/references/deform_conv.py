"""Deformable convolution from its equation: a sum over taps, each sample from the four pixels around it."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from support.references import reference


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, tuple):
        return value if len(value) == 2 else (value[0], value[0])
    return value, value


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _sample(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Values of [N, C, H, W] at places [N, P], zero outside the plane: [N, C, P]."""
    _, channels, height, width = x.shape
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for row, column in product((y.floor(), y.floor() + 1), (z.floor(), z.floor() + 1)):
        near = (1 - (y - row).abs()) * (1 - (z - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        values = x.flatten(2).gather(2, index[:, None].expand(-1, channels, -1))
        total = total + values * (near * inside)[:, None]
    return total


@reference("deform_conv_with")
def deform_conv_with(
    op: Any, x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    given = [x, offset, weight, *(item for item in (mask, bias) if item is not None)]
    _need(len({item.dtype for item in given}) == 1 and x.is_floating_point(), "one float type")
    _need(x.dim() == offset.dim() == weight.dim() == 4, "four axes")
    (sy, sx), (py, px), (dy, dx) = _pair(op.stride), _pair(op.pad), _pair(op.dilation)
    batch, channels, height, width = x.shape
    out, per_group, kh, kw = weight.shape
    _need(min(sy, sx, dy, dx) > 0 and min(py, px) >= 0, "window")
    _need(min(*x.shape[1:], *weight.shape) > 0, "an empty operand")
    groups, parts = channels // per_group, offset.shape[1] // (2 * kh * kw)
    _need(groups * per_group == channels and out % groups == 0, "groups of the weight")
    _need(
        parts > 0 and parts * 2 * kh * kw == offset.shape[1] and channels % parts == 0, "groups of the offset"
    )
    rows = (height + 2 * py - dy * (kh - 1) - 1) // sy + 1
    columns = (width + 2 * px - dx * (kw - 1) - 1) // sx + 1
    _need(rows > 0 and columns > 0, "the kernel is larger than the input")
    _need(tuple(offset.shape) == (batch, offset.shape[1], rows, columns), "offset")
    _need(mask is None or tuple(mask.shape) == (batch, parts * kh * kw, rows, columns), "mask")
    _need(bias is None or tuple(bias.shape) == (out,), "bias")
    taps = list(product(range(kh), range(kw)))
    move = offset.unflatten(1, (parts, len(taps), 2))
    base_y = torch.tensor(
        [[[i * dy + sy * row - py] for row in range(rows)] for i, _ in taps], device=x.device
    )
    base_x = torch.tensor(
        [[[j * dx + sx * column - px for column in range(columns)]] for _, j in taps], device=x.device
    )
    y, z = (base_y + move[:, :, :, 0]), (base_x + move[:, :, :, 1])
    planes = x.unflatten(1, (parts, channels // parts)).flatten(0, 1)
    values = _sample(planes, y.flatten(0, 1).flatten(1), z.flatten(0, 1).flatten(1))
    values = values.unflatten(2, (len(taps), rows, columns)).unflatten(0, (batch, parts))
    if mask is not None:
        values = values * mask.unflatten(1, (parts, 1, len(taps)))
    values = values.flatten(1, 2).unflatten(1, (groups, per_group))
    kernels = weight.flatten(2).unflatten(0, (groups, out // groups))
    result = torch.einsum("bgctyx,goct->bgoyx", values, kernels).flatten(1, 2)
    return result if bias is None else result + bias[None, :, None, None]
