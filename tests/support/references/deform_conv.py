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
    """Values of [B, C, H, W] at places [B, H', W'], zero outside the plane: [B, C, H', W']."""
    _, channels, height, width = x.shape
    flat = x.flatten(2)
    total = torch.zeros((*x.shape[:2], *y.shape[1:]), dtype=x.dtype, device=x.device)
    for row, column in product((y.floor(), y.floor() + 1), (z.floor(), z.floor() + 1)):
        near = (1 - (y - row).abs()) * (1 - (z - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        values = flat.gather(2, index.flatten(1)[:, None].expand(-1, channels, -1)).unflatten(2, y.shape[1:])
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
    result = torch.zeros((batch, out, rows, columns), dtype=x.dtype, device=x.device)
    base_y = torch.arange(rows, device=x.device)[:, None] * sy - py
    base_x = torch.arange(columns, device=x.device)[None] * sx - px
    per_part = channels // parts
    for tap, (i, j) in enumerate(product(range(kh), range(kw))):
        pieces: list[Tensor] = []
        for part in range(parts):
            field = 2 * (part * kh * kw + tap)
            y = base_y + i * dy + offset[:, field]
            z = base_x + j * dx + offset[:, field + 1]
            piece = _sample(x[:, part * per_part : (part + 1) * per_part], y, z)
            pieces.append(piece if mask is None else piece * mask[:, part * kh * kw + tap, None])
        values = torch.cat(pieces, 1).unflatten(1, (groups, per_group))
        kernels = weight[:, :, i, j].unflatten(0, (groups, out // groups))
        result = result + torch.einsum("bgcyx,goc->bgoyx", values, kernels).flatten(1, 2)
    return result if bias is None else result + bias[None, :, None, None]
