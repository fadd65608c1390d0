"""Stochastic depth by timm; torch's channel dropout at the ranks that its documentation names."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from support.references import reference
from support.torchvision_shim import import_timm


@reference("drop_path")
def drop_path(op: Any, x: Tensor) -> Tensor:
    if not x.is_floating_point() or not 0 <= op.p <= 1:
        raise ValueError("timm's layer lets these pass or fail by device")
    import_timm()
    from timm.layers.drop import drop_path as timms

    return timms(x, op.p, training=True, scale_by_keep=op.scale_by_keep)


@reference("dropout2d")
def dropout2d(op: Any, x: Tensor) -> Tensor:
    if x.dim() != 4:
        raise ValueError("torch warns that other ranks will be an error")
    return F.dropout2d(x, op.p, training=True)


@reference("dropout3d")
def dropout3d(op: Any, x: Tensor) -> Tensor:
    if x.dim() not in (4, 5):
        raise ValueError("torch warns that other ranks will be an error")
    return F.dropout3d(x, op.p, training=True)
