"""Meta-SpikeFormer against its equations; with a plain neuron the released code gave the same results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import planform
from support.parity import assert_parity
from support.references.spike import Fire

FILE = Path(__file__).parents[2] / "examples/spiking/meta_spikeformer.plan"
SMALL: dict[str, Any] = {"widths": [16, 16, 24, 32], "depths": [1, 1], "steps": 3, "classes": 5}


def fire(x: Tensor, threshold: float = 1.0) -> Tensor:
    """Neurons over the first axis: half of the potential leaks, a spike empties it."""
    v, found = torch.zeros_like(x[0]), []
    for step in x:
        v = (v + step) / 2
        found.append(Fire.apply(v, threshold, "sigmoid", 4.0))
        v = torch.where(found[-1].detach() > 0, torch.zeros_like(v), v)
    return torch.stack(found)


def each(x: Tensor, *layers: nn.Module) -> Tensor:
    """Layers without time, on all steps as one batch."""
    y = x.flatten(0, 1)
    for layer in layers:
        y = layer(y)
    return y.unflatten(0, x.shape[:2])


class RepConv(nn.Module):
    """1x1, norm, 3x3 by channel, 1x1, norm; then another norm. The border is the norm of nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = [nn.Conv2d(width, width, 3, groups=width, bias=False), nn.Conv2d(width, width, 1, bias=False)]
        body = nn.Module()
        body.add_module("0", nn.Conv2d(width, width, 1, bias=False))
        body.add_module("1", nn.ModuleDict({"bn": nn.BatchNorm2d(width)}))
        body.add_module("2", nn.Sequential(*inner, nn.BatchNorm2d(width)))
        self.add_module("0", nn.ModuleDict({"body": body}))
        self.add_module("1", nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        parts = dict(self.named_modules())
        norm = parts["0.body.1.bn"]
        y = norm(parts["0.body.0"](x))
        with torch.no_grad():
            nothing = torch.zeros(1, y.shape[1], 1, 1, dtype=y.dtype)
            border = F.batch_norm(nothing, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        framed = border.repeat(len(y), 1, y.shape[2] + 2, y.shape[3] + 2)
        framed[:, :, 1:-1, 1:-1] = y
        return parts["1"](parts["0.body.2"](framed))


class Down(nn.Module):
    def __init__(self, width: int, out: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.first = kernel == 7
        self.encode_conv = nn.Conv2d(width, out, kernel, stride, kernel // 2)
        self.encode_bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return each(x if self.first else fire(x), self.encode_conv, self.encode_bn)


class Separable(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.pwconv1, self.bn1 = nn.Conv2d(width, 2 * width, 1, bias=False), nn.BatchNorm2d(2 * width)
        self.dwconv = nn.Conv2d(2 * width, 2 * width, 7, padding=3, groups=2 * width, bias=False)
        self.pwconv2, self.bn2 = nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = each(fire(x), self.pwconv1, self.bn1)
        return each(fire(x), self.dwconv, self.pwconv2, self.bn2)


class ConvBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.Conv = Separable(width)
        self.conv1, self.bn1 = (
            nn.Conv2d(width, 4 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        self.conv2, self.bn2 = nn.Conv2d(4 * width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.Conv(x)
        return x + each(fire(each(fire(x), self.conv1, self.bn1)), self.conv2, self.bn2)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_conv, self.k_conv, self.v_conv, self.proj_conv = (RepConv(width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        spikes = fire(x)
        q, k, v = (
            fire(each(spikes, conv)).flatten(3).unflatten(2, (8, -1)).mT
            for conv in (self.q_conv, self.k_conv, self.v_conv)
        )
        y = torch.einsum("tbmie,tbmje,tbmjf->tbmif", q, k, v) / 8
        return each(fire(y.mT.reshape(x.shape), 0.5), self.proj_conv)


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1_conv, self.fc1_bn = nn.Conv1d(width, 4 * width, 1), nn.BatchNorm1d(4 * width)
        self.fc2_conv, self.fc2_bn = nn.Conv1d(4 * width, width, 1), nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = each(fire(x.flatten(3)), self.fc1_conv, self.fc1_bn)
        return each(fire(y), self.fc2_conv, self.fc2_bn).reshape(x.shape)


class AttentionBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(width), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Reference(nn.Module):
    def __init__(self, widths: list[int], depths: list[int], steps: int, classes: int) -> None:
        super().__init__()
        a, b, c, d = widths
        self.steps = steps
        self.downsample1_1, self.ConvBlock1_1 = Down(3, a // 2, 7), nn.Sequential(ConvBlock(a // 2))
        self.downsample1_2, self.ConvBlock1_2 = Down(a // 2, a), nn.Sequential(ConvBlock(a))
        self.downsample2, self.ConvBlock2_1 = Down(a, b), nn.Sequential(ConvBlock(b))
        self.ConvBlock2_2 = nn.Sequential(ConvBlock(b))
        self.downsample3 = Down(b, c)
        self.block3 = nn.Sequential(*(AttentionBlock(c) for _ in range(depths[0])))
        self.downsample4 = Down(c, d, stride=1)
        self.block4 = nn.Sequential(*(AttentionBlock(d) for _ in range(depths[1])))
        self.head = nn.Linear(d, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = image.expand(self.steps, *image.shape)
        for name, stage in self.named_children():
            if name != "head":
                x = stage(x)
        return self.head(fire(x.mean((3, 4)))).mean(0)


def test_meta_spikeformer_is_what_its_equations_say() -> None:
    ours = planform.load(FILE, plan="meta_spikeformer_15m", **SMALL).at(H=32, W=48)
    image = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    module = assert_parity(ours, Reference(**SMALL), [image])
    with torch.no_grad():
        assert float(module(image).std()) > 1e-3, "no neuron fires"
