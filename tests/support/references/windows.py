"""Pooling whose lowering is composed, from its definition: every window cut out and reduced."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch

from . import reference


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) * (rank // len(value)) if isinstance(value, tuple) else (value,) * rank


def _same(op: Any, x: torch.Tensor, reduce: Any) -> torch.Tensor:
    """TensorFlow's "SAME": ceil(S / stride) windows, of which only what lies inside the input is reduced."""
    rank = x.dim() - 2
    kernel = _each(op.kernel, rank)
    stride = kernel if op.stride is None else _each(op.stride, rank)
    dilation = _each(getattr(op, "dilation", 1), rank)
    assert min(kernel) > 0 and min(stride) > 0 and min(dilation) > 0 and min(x.shape[1:]) > 0
    per_axis: list[list[list[int]]] = []
    for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        count = (size + s - 1) // s
        before = max((count - 1) * s + d * (k - 1) + 1 - size, 0) // 2
        starts = [number * s - before for number in range(count)]
        per_axis.append([[i for i in range(a, a + d * k, d) if 0 <= i < size] for a in starts])
    windows: list[torch.Tensor] = []
    for taps in product(*per_axis):
        window = x
        for axis, indices in enumerate(taps):
            window = window.index_select(2 + axis, torch.tensor(indices, device=x.device))
        windows.append(reduce(window.flatten(2)))
    return torch.stack(windows, -1).reshape(*x.shape[:2], *(len(windows) for windows in per_axis))


@reference("max_pool")
def max_pool(op: Any, x: torch.Tensor) -> torch.Tensor:
    rank = x.dim() - 2
    assert rank in (1, 2, 3)
    if op.pad != "tf_same":
        function = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)[rank - 1]
        stride = () if op.stride is None else op.stride
        return function(x, op.kernel, stride, op.pad, op.dilation, op.ceil_mode)
    assert x.dtype.is_floating_point
    return _same(op, x, lambda window: window.amax(-1))


@reference("global_avg_pool")
def global_avg_pool(op: Any, x: torch.Tensor) -> torch.Tensor:
    assert x.dim() > 2
    pooled = x.flatten(2).mean(-1)
    return pooled.reshape(*pooled.shape, *(1,) * (x.dim() - 2)) if op.keepdim else pooled


@reference("global_max_pool")
def global_max_pool(op: Any, x: torch.Tensor) -> torch.Tensor:
    assert x.dim() > 2
    pooled = x.flatten(2).max(-1).values
    return pooled.reshape(*pooled.shape, *(1,) * (x.dim() - 2)) if op.keepdim else pooled


@reference("avg_pool")
def avg_pool(op: Any, x: torch.Tensor) -> torch.Tensor:
    rank = x.dim() - 2
    assert rank in (1, 2, 3)
    if op.pad == "tf_same" and not op.count_include_pad and op.divisor_override is None:
        assert x.dtype.is_floating_point or x.dtype == torch.int64
        return _same(op, x, lambda window: window.sum(-1) / window.shape[-1])
    functions = (
        torch.nn.functional.avg_pool1d,
        torch.nn.functional.avg_pool2d,
        torch.nn.functional.avg_pool3d,
    )
    more = {} if op.divisor_override is None else {"divisor_override": op.divisor_override}
    pad = 0
    if op.pad == "tf_same":
        kernel = _each(op.kernel, rank)
        stride = kernel if op.stride is None else _each(op.stride, rank)
        amounts: list[int] = []
        for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
            missing = max(((size + s - 1) // s - 1) * s + k - size, 0)
            amounts = [missing // 2, missing - missing // 2, *amounts]
        x = torch.nn.functional.pad(x, amounts)
    else:
        pad = op.pad
    stride = op.kernel if op.stride is None else op.stride
    return functions[rank - 1](x, op.kernel, stride, pad, op.ceil_mode, op.count_include_pad, **more)


@reference("take")
def take(op: Any, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    assert index.dtype in (torch.int64, torch.int32) and -x.dim() <= op.axis < x.dim()
    return x[(*(slice(None),) * (op.axis % x.dim()), index.long())]
