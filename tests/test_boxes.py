"""Sampling of regions against torchvision's own, on boxes inside the image (its Python lets others count)."""

from __future__ import annotations

import inspect

import pytest
import torch

from planform.compiler.ops.roi import RoiAlign
from support.eager import run
from support.torchvision_shim import import_torchvision


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("size", "scale", "ratio"), [((7, 7), 0.25, 2), ((2, 5), 1.0, 3), ((1, 1), 0.5, 1)])
def test_roi_align_agrees_with_torchvision(
    size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> None:
    import_torchvision()
    from torchvision.ops.roi_align import _roi_align

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 11, 13, dtype=torch.float64, generator=generator)
    corners = torch.rand(20, 2, 2, dtype=torch.float64, generator=generator).sort(1).values
    corners = corners * torch.tensor([13.0, 11.0], dtype=torch.float64) / scale
    sample = torch.randint(0, 2, (20, 1), generator=generator).double()
    boxes = torch.cat([sample, corners.flatten(1)], 1)
    # Without the compiler that it is wrapped in.
    wanted = inspect.unwrap(_roi_align)(x, boxes, scale, *size, ratio, aligned)
    op = RoiAlign(size=size, spatial_scale=scale, sampling_ratio=ratio, aligned=aligned)
    torch.testing.assert_close(run(op, ("x", "boxes"), [x, boxes])[0], wanted, rtol=1e-10, atol=1e-10)
