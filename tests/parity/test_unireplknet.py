"""UniRepLKNet against torch.nn's layers in the order of the paper (arXiv:2311.15599), with the authors' names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/unireplknet.plan"

# Kernel and dilation of the branches that the paper gives a 13x13 kernel, and of those that the authors give others.
BRANCHES = {
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}


def depthwise(channels: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    """A depthwise convolution that keeps sizes."""
    pad = dilation * (kernel - 1) // 2
    return nn.Conv2d(channels, channels, kernel, padding=pad, dilation=dilation, groups=channels, bias=False)


class Dilated(nn.Module):
    """Branches in parallel, each with a norm."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.names = [("lk_origin", "origin_bn")]
        self.lk_origin = depthwise(channels, kernel)
        self.origin_bn = nn.BatchNorm2d(channels)
        for k, r in BRANCHES[kernel]:
            self.names.append((f"dil_conv_k{k}_{r}", f"dil_bn_k{k}_{r}"))
            self.add_module(self.names[-1][0], depthwise(channels, k, r))
            self.add_module(self.names[-1][1], nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([getattr(self, bn)(getattr(self, conv)(x)) for conv, bn in self.names]).sum(0)


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Response(nn.Module):
    """Global response normalisation of [B, H, W, C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        size = x.square().sum((1, 2), keepdim=True).sqrt()
        return x + x * self.gamma * size / (size.mean(3, keepdim=True) + 1e-6) + self.beta


class Block(nn.Module):
    """A residual block; the norms and maps of the authors' lists by their places."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.dwconv = Dilated(channels, kernel) if kernel > 3 else depthwise(channels, kernel)
        self.norm = nn.BatchNorm2d(channels)
        self.se = Gate(channels)
        self.pwconv1 = nn.ModuleDict({"1": nn.Linear(channels, 4 * channels)})
        self.act = nn.ModuleDict({"1": Response(4 * channels)})
        self.pwconv2 = nn.ModuleDict(
            {"0": nn.Linear(4 * channels, channels, bias=False), "2": nn.BatchNorm2d(channels)}
        )
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.norm(self.dwconv(x))).movedim(1, 3)
        y = self.act["1"](nn.functional.gelu(self.pwconv1["1"](y)))
        y = self.pwconv2["2"](self.pwconv2["0"](y).movedim(3, 1))
        return x + y * self.gamma[:, None, None]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, 3)).movedim(3, 1)


def halve(channels: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, stride=2, padding=1), ChannelNorm(out, eps=1e-6)]


class UniRepLKNet(nn.Module):
    """`kernels` lists those of each stage's blocks."""

    def __init__(self, width: int, kernels: list[list[int]], classes: int = 10) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(4)]
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(*halve(3, width // 2), nn.GELU(), *halve(width // 2, width))]
        )
        for i in range(3):
            self.downsample_layers.append(nn.Sequential(*halve(widths[i], widths[i + 1])))
        self.stages = nn.ModuleList(
            nn.Sequential(*[Block(channels, kernel) for kernel in stage])
            for channels, stage in zip(widths, kernels, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(layer(x))
        return self.head(self.norm(x.mean((2, 3))))


def ours(name: str, **parameters: Any) -> planform.Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, drop_path_rate=0.0, **parameters)


def test_is_torchs_layers_in_order() -> None:
    """Every second block of the third stage has a large kernel; the image is smaller than the kernel reaches."""
    model = ours("unireplknet_t", depths=[1, 1, 3, 1], width=16, classes=10)
    build = partial(UniRepLKNet, 16, [[3], [13], [13, 3, 13], [13]])
    assert_parity(model, build())
    assert_initialised_alike(model, build)


@pytest.mark.parametrize("kernel", [7, 9, 11, 15, 17])
def test_branches_of_other_kernels(kernel: int) -> None:
    model = ours("unireplknet_a", depths=[0, 1, 0, 0], width=8, kernel=kernel, classes=10)
    assert_parity(model, UniRepLKNet(8, [[], [kernel], [], []]))


def test_a_kernel_without_branches_is_refused() -> None:
    with pytest.raises(planform.PlanError, match="a kernel of 19 has no branches in the table"):
        _ = ours("unireplknet_a", kernel=19).program


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "kernels"),
    [
        ("a", 40, [[3] * 2, [13] * 2, [13] * 6, [13] * 2]),
        ("t", 80, [[3] * 3, [13] * 3, [13, 3] * 9, [13] * 3]),
        ("s", 96, [[3] * 3, [13] * 3, [13, 3, 3] * 9, [13] * 3]),
    ],
)
def test_whole_network(name: str, width: int, kernels: list[list[int]]) -> None:
    assert_parity(ours(f"unireplknet_{name}"), UniRepLKNet(width, kernels, classes=1000))
