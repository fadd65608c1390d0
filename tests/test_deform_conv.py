"""Deformable convolution where it must equal a plain one of torch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from planform.compiler.ops.deform_conv import DeformConvWith
from support.eager import run

SLOTS = ("x", "offset", "weight", "mask")


def _tensors() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 4, 7, 6, dtype=torch.float64), torch.randn(6, 2, 3, 2, dtype=torch.float64)


def test_without_offsets_it_is_the_grouped_convolution() -> None:
    x, weight = _tensors()
    wanted = F.conv2d(x, weight, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
    offset = torch.zeros(2, 2 * 2 * 6, *wanted.shape[2:], dtype=torch.float64)
    mask = torch.full((2, 2 * 6, *wanted.shape[2:]), 0.25, dtype=torch.float64)
    op = DeformConvWith(stride=(2, 1), pad=(1, 0), dilation=(1, 2))
    (found,) = run(op, SLOTS, [x, offset, weight, mask])
    torch.testing.assert_close(found, 0.25 * wanted, rtol=1e-12, atol=1e-12)


def test_whole_offsets_shift_the_input() -> None:
    """Offsets (1, -2) everywhere read one row below and two columns before: the input moved the other way."""
    x, weight = _tensors()
    moved = F.pad(x, (2, -2, -1, 1))
    wanted = F.conv2d(moved, weight, groups=2)
    offset = torch.tensor([1.0, -2.0], dtype=torch.float64).repeat(6)[None, :, None, None]
    (found,) = run(DeformConvWith(), SLOTS[:3], [x, offset.expand(2, -1, *wanted.shape[2:]), weight])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_half_offsets_average_neighbours() -> None:
    x, _ = _tensors()
    weight = torch.eye(4, dtype=torch.float64)[:, :, None, None]
    offset = torch.zeros(2, 2, 7, 6, dtype=torch.float64)
    offset[:, 0] = 0.5
    (found,) = run(DeformConvWith(), SLOTS[:3], [x, offset, weight])
    below = F.pad(x, (0, 0, 0, 1))[:, :, 1:]
    torch.testing.assert_close(found, (x + below) / 2, rtol=1e-12, atol=1e-12)
