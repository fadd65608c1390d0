"""SegNet: torchvision's VGG encoder, and torch's unpooling in the order of figure 2 of the paper (arXiv:1511.00561)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from support.parity import assert_parity

FILE = Path(__file__).parents[2] / "examples/segmentation/segnet.plan"

# torchvision numbers an encoder's layers throughout; a decoder is a stack of stacks, the lowest first.
RULES = """
    encoder.0 -> conv1_1
    encoder.1 -> conv1_1_bn
    encoder.3 -> conv1_2
    encoder.4 -> conv1_2_bn
    encoder.7 -> conv2_1
    encoder.8 -> conv2_1_bn
    encoder.10 -> conv2_2
    encoder.11 -> conv2_2_bn
    encoder.14 -> conv3_1
    encoder.15 -> conv3_1_bn
    encoder.17 -> conv3_2
    encoder.18 -> conv3_2_bn
    encoder.20 -> conv3_3
    encoder.21 -> conv3_3_bn
    encoder.24 -> conv4_1
    encoder.25 -> conv4_1_bn
    encoder.27 -> conv4_2
    encoder.28 -> conv4_2_bn
    encoder.30 -> conv4_3
    encoder.31 -> conv4_3_bn
    encoder.34 -> conv5_1
    encoder.35 -> conv5_1_bn
    encoder.37 -> conv5_2
    encoder.38 -> conv5_2_bn
    encoder.40 -> conv5_3
    encoder.41 -> conv5_3_bn

    decoder.0.0 -> conv5_3_D
    decoder.0.1 -> conv5_3_D_bn
    decoder.0.3 -> conv5_2_D
    decoder.0.4 -> conv5_2_D_bn
    decoder.0.6 -> conv5_1_D
    decoder.0.7 -> conv5_1_D_bn
    decoder.1.0 -> conv4_3_D
    decoder.1.1 -> conv4_3_D_bn
    decoder.1.3 -> conv4_2_D
    decoder.1.4 -> conv4_2_D_bn
    decoder.1.6 -> conv4_1_D
    decoder.1.7 -> conv4_1_D_bn
    decoder.2.0 -> conv3_3_D
    decoder.2.1 -> conv3_3_D_bn
    decoder.2.3 -> conv3_2_D
    decoder.2.4 -> conv3_2_D_bn
    decoder.2.6 -> conv3_1_D
    decoder.2.7 -> conv3_1_D_bn
    decoder.3.0 -> conv2_2_D
    decoder.3.1 -> conv2_2_D_bn
    decoder.3.3 -> conv2_1_D
    decoder.3.4 -> conv2_1_D_bn
    decoder.4.0 -> conv1_2_D
    decoder.4.1 -> conv1_2_D_bn
    decoder.5 -> conv1_1_D
"""


class SegNet(nn.Module):
    """An encoder of torchvision's VGG16 with the pooling opened, and its mirror."""

    def __init__(self, vgg: Any, widths: Sequence[int], classes: int) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.encoder: nn.Sequential = vgg.make_layers(
            [a, a, "M", b, b, "M", c, c, c, "M", d, d, d, "M", e, e, e, "M"], batch_norm=True
        )
        for number, layer in enumerate(self.encoder):
            if isinstance(layer, nn.MaxPool2d):
                self.encoder[number] = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)
        stages = [(e, e, e, d), (d, d, d, c), (c, c, c, b), (b, b, a), (a, a)]
        self.decoder = nn.Sequential(*[nn.Sequential(*stage(widths)) for widths in stages])
        self.decoder.append(nn.Conv2d(a, classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        pooled: list[tuple[Tensor, torch.Size]] = []
        for layer in self.encoder:
            if isinstance(layer, nn.MaxPool2d):
                before = x.shape
                x, places = layer(x)
                pooled.append((places, before))
            else:
                x = layer(x)
        for layer in self.decoder:
            if pooled:
                places, before = pooled.pop()
                x = nn.functional.max_unpool2d(x, places, [2, 2], output_size=before)
            x = layer(x)
        return x


def stage(widths: Sequence[int]) -> list[nn.Module]:
    """Convolution, norm and activation for each pair of widths."""
    return [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())
    ]


@pytest.mark.parametrize(
    ("widths", "sides"),
    [
        ([4, 5, 6, 7, 8], (45, 64)),
        pytest.param([64, 128, 256, 512, 512], (48, 64), marks=pytest.mark.slow),
    ],
)
def test_is_vgg_and_its_mirror(widths: list[int], sides: tuple[int, int], torchvision: ModuleType) -> None:
    ours = planform.load(FILE, plan="segnet_12_classes", widths=widths)
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, *sides, generator=generator, dtype=torch.float64)
    assert_parity(ours, SegNet(torchvision.models.vgg, widths, 12), [image], rules=RULES)
