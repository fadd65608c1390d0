"""Boxes: overlap by torchvision, suppression and sampling by their definitions, one box and point at a time."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch

from ..torchvision_shim import import_torchvision
from . import reference


@reference("box_iou")
def box_iou(op: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    assert a.dtype == b.dtype and a.dtype.is_floating_point
    assert a.dim() == b.dim() == 2 and a.shape[1] == b.shape[1] == 4
    found = import_torchvision().ops.box_iou(a.double(), b.double())
    return found.to(a.dtype)


@reference("nms")
def nms(op: Any, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    overlaps = box_iou(op, boxes, boxes)
    assert scores.dtype == boxes.dtype and scores.shape == boxes.shape[:1] and len(scores) > 0
    assert op.max_boxes > 0
    if boxes.is_meta:
        return boxes.new_empty(op.max_boxes, dtype=torch.int64), boxes.new_empty((), dtype=torch.int64)
    kept: list[int] = []
    for candidate in scores.argsort(descending=True, stable=True).tolist():
        if len(kept) < op.max_boxes and all(not overlaps[box, candidate] > op.iou_threshold for box in kept):
            kept.append(candidate)
    padded = kept + [-1] * (op.max_boxes - len(kept))
    return torch.tensor(padded, device=boxes.device), torch.tensor(len(kept), device=boxes.device)


def _point(image: torch.Tensor, y: float, x: float) -> torch.Tensor:
    """All channels of [C, H, W] at a point, as the kernels of Mask R-CNN and torchvision define it."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return image.new_zeros(image.shape[0])
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    found = image.new_zeros(image.shape[0])
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            found = found + image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return found


@reference("roi_align")
def roi_align(op: Any, x: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    assert x.dim() == 4 and boxes.dim() == 2 and boxes.shape[1] == 5 and op.sampling_ratio > 0
    assert x.dtype == boxes.dtype and x.dtype.is_floating_point
    sizes = op.size if isinstance(op.size, tuple) else (op.size,)
    assert len(sizes) in (1, 2)
    high, wide = sizes[0], sizes[-1]
    assert min(high, wide, x.shape[0], x.shape[2], x.shape[3]) > 0
    result = x.new_zeros(len(boxes), x.shape[1], high, wide)
    if x.is_meta or x.dtype == torch.bfloat16:
        return result
    for number, (sample, *corners) in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (corner * op.spatial_scale - (0.5 if op.aligned else 0.0) for corner in corners)
        width, height = x2 - x1, y2 - y1
        if not op.aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        parts = [(part + 0.5) / op.sampling_ratio for part in range(op.sampling_ratio)]
        for row, column in product(range(high), range(wide)):
            points = [
                _point(x[int(sample)], y1 + (row + py) * height / high, x1 + (column + px) * width / wide)
                for py, px in product(parts, parts)
            ]
            result[number, :, row, column] = torch.stack(points).mean(0)
    return result
