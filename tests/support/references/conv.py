"""Convolutions by torch's own functions and modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from support.references import reference


def _pads(op: Any, x: Tensor, kernel: tuple[int, ...]) -> list[int] | str:
    """What F.pad takes, written out from the definitions of both "same" rules; or what F.conv takes."""
    rank = len(kernel)

    def each(value: Any) -> list[Any]:
        listed = list(value) if isinstance(value, tuple) else [value]
        return listed * rank if len(listed) == 1 else listed

    if op.pad == "same":
        return "same"
    flat: list[int] = []
    for axis in reversed(range(rank)):
        if op.pad == "tf_same":
            size, stride = x.shape[2 + axis], each(op.stride)[axis]
            reach = each(op.dilation)[axis] * (kernel[axis] - 1)
            outputs = -(-size // stride)
            needed = max(0, (outputs - 1) * stride + reach + 1 - size)
            flat += [needed // 2, (needed + 1) // 2]
        else:
            pad = each(op.pad)[axis]
            flat += list(pad) if isinstance(pad, tuple) else [pad, pad]
    if min(flat) < 0:
        raise ValueError("convolution refuses negative padding")
    return flat


def _convolve(op: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rank = x.dim() - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    pads = _pads(op, x, tuple(weight.shape[2:]))
    settings: dict[str, Any] = {"stride": op.stride, "dilation": op.dilation, "groups": op.groups}
    if isinstance(pads, str):
        return function(x, weight, bias, padding=pads, **settings)
    return function(F.pad(x, pads), weight, bias, **settings)


@reference("conv_with")
def conv_with(op: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if weight.dim() == x.dim():
        return _convolve(op, x, weight, bias)
    if weight.dim() != x.dim() + 1 or weight.shape[0] != x.shape[0]:
        raise ValueError("a kernel for each sample")
    if bias is not None and bias.dim() == 2 and bias.shape[0] != x.shape[0]:
        raise ValueError("a bias for each sample")
    return torch.cat(
        [
            _convolve(op, x[i : i + 1], weight[i], bias[i] if bias is not None and bias.dim() == 2 else bias)
            for i in range(x.shape[0])
        ]
    )


@reference("conv")
def conv(op: Any, x: Tensor) -> Tensor:
    build = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[x.dim() - 3]
    kernel = op.kernel if isinstance(op.kernel, tuple) else (op.kernel,) * (x.dim() - 2)
    kernel = kernel * (x.dim() - 2) if len(kernel) == 1 else kernel
    pads = _pads(op, x, kernel)
    if x.shape[1] < 1:
        raise ValueError("torch gives no channels here")
    module = build(
        x.shape[1],
        op.out,
        kernel,
        padding=pads if isinstance(pads, str) else 0,
        stride=op.stride,
        dilation=op.dilation,
        groups=op.groups,
        bias=op.bias,
    )
    return module(x if isinstance(pads, str) else F.pad(x, pads))


@reference("conv_transpose")
def conv_transpose(op: Any, x: Tensor) -> Tensor:
    build = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[x.dim() - 3]
    module = build(
        x.shape[1],
        op.out,
        op.kernel,
        stride=op.stride,
        padding=op.pad,
        output_padding=op.output_padding,
        groups=op.groups,
        bias=op.bias,
        dilation=op.dilation,
    )
    return module(x)


@reference("linear_with")
def linear_with(op: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The module's contract: a weight [O, I] and a bias [O], which F.linear alone would broadcast."""
    out, features = weight.shape
    module = nn.Linear(features, out, bias=bias is not None, device="meta").requires_grad_(False)
    state = {"weight": weight} | ({} if bias is None else {"bias": bias})
    module.load_state_dict(state, assign=True)
    return module(x)
