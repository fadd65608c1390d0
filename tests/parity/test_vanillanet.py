"""VanillaNet against torch.nn's layers in the order of the paper (arXiv:2305.12972), with the authors' names."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/vanillanet.plan"

RULES = """
    series.weight -> stem2.2.weight
    series.bn -> stem2.2.bn
"""


class Series(nn.Module):
    """Activations summed over 7x7 places of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(channels, 1, 7, 7), std=0.02))
        self.bn = nn.BatchNorm2d(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        # As a product over unfolded windows, which no convolution helps with.
        windows = nn.functional.unfold(x.relu(), 7, padding=3).unflatten(1, (x.shape[1], 49))
        return self.bn(
            torch.einsum("bckn,ck->bcn", windows, self.weight.flatten(1)).unflatten(2, x.shape[2:])
        )


def projection(channels: int, out: int, kernel: int = 1) -> nn.Conv2d:
    """A convolution without overlap."""
    layer = nn.Conv2d(channels, out, kernel, stride=kernel)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


class Layer(nn.Module):
    """Two 1x1 convolutions with a slope between, pooling where channels double, activation."""

    def __init__(self, channels: int, out: int, slope: float) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(projection(channels, channels), nn.BatchNorm2d(channels, eps=1e-6))
        self.conv2 = nn.Sequential(projection(channels, out), nn.BatchNorm2d(out, eps=1e-6))
        self.act = Series(out)
        self.halve = out > channels
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.conv2(torch.where(x > 0, x, self.slope * x))
        return self.act(nn.functional.max_pool2d(x, 2) if self.halve else x)


class VanillaNet(nn.Module):
    """The doubled stem, the layers and the doubled classifier."""

    def __init__(self, widths: list[int], slope: float, classes: int = 10) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.stem1 = nn.Sequential(projection(3, first, 4), nn.BatchNorm2d(first, eps=1e-6))
        self.stem2 = nn.Sequential(projection(first, first), nn.BatchNorm2d(first, eps=1e-6))
        self.series = Series(first)
        self.stages = nn.Sequential(*[Layer(before, after, slope) for before, after in pairwise(widths)])
        # The authors' own lists begin with pooling and dropout.
        self.cls1 = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Identity(),
            projection(last, classes),
            nn.BatchNorm2d(classes, eps=1e-6),
        )
        self.cls2 = nn.Sequential(projection(classes, classes))
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem1(x)
        x = self.series(self.stem2(torch.where(x > 0, x, self.slope * x)))
        x = self.cls1(self.stages(x))
        return self.cls2(torch.where(x > 0, x, self.slope * x)).flatten(1)


def ours(widths: list[int], **parameters: Any) -> planform.Model:
    return planform.load(FILE, plan="vanillanet_6", widths=widths, classes=10, dropout_rate=0.0, **parameters)


@pytest.mark.parametrize("slope", [1.0, 0.0, 0.3])
def test_is_torchs_layers_in_order(slope: float) -> None:
    """At the end, at the start and in the middle of training."""
    widths = [8, 8, 16, 32, 32]
    assert_parity(ours(widths, slope=slope), VanillaNet(widths, slope), rules=RULES)


def test_starts_as_the_authors() -> None:
    widths = [32, 64, 128]
    assert_initialised_alike(ours(widths), lambda: VanillaNet(widths, 1.0), rules=RULES)


@pytest.mark.slow
@pytest.mark.parametrize("number", [5, 9])
def test_whole_network(number: int) -> None:
    widths = [512, 1024, 2048, 4096] if number == 5 else [512, 512, 1024, *[2048] * 3, 4096, 4096]
    model = planform.load(FILE, plan=f"vanillanet_{number}", dropout_rate=0.0)
    assert_parity(model, VanillaNet(widths, 1.0, classes=1000), rules=RULES)
