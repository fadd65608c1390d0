"""U-Net against torch's own operators, put together as figure 1 of the paper (arXiv:1505.04597) does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

import planform
from planform.dsl.diagnostics import PlanError
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/segmentation/unet.plan"
WIDTHS = [3, 4, 5, 6, 7]

# The names of the authors' layers, level after level, and what each reads.
CONTRACTING = [(f"conv_d{i}a_b", f"conv_d{i}b_c") for i in range(5)]
EXPANSIVE = [
    ("upconv_d4c_u3a", "conv_u3b_c", "conv_u3c_d"),
    ("upconv_u3d_u2a", "conv_u2b_c", "conv_u2c_d"),
    ("upconv_u2d_u1a", "conv_u1b_c", "conv_u1c_d"),
    ("upconv_u1d_u0a", "conv_u0b_c", "conv_u0c_d"),
]


class UNet(nn.Module):
    """Figure 1, without dropout, with layers under the names of the authors' Caffe network."""

    def __init__(self, widths: list[int], classes: int) -> None:
        super().__init__()
        before = 1
        for (first, second), width in zip(CONTRACTING, widths, strict=True):
            self.add_module(first, nn.Conv2d(before, width, 3))
            self.add_module(second, nn.Conv2d(width, width, 3))
            before = width
        for (up, first, second), width in zip(EXPANSIVE, widths[-2::-1], strict=True):
            self.add_module(up, nn.ConvTranspose2d(before, width, 2, stride=2))
            self.add_module(first, nn.Conv2d(2 * width, width, 3))
            self.add_module(second, nn.Conv2d(width, width, 3))
            before = width
        self.conv_u0d_score = nn.Conv2d(before, classes, 1)
        for layer in self.children():
            assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        layer = self.get_submodule
        maps = [image]
        for level, (first, second) in enumerate(CONTRACTING):
            x = max_pool2d(maps[-1], 2) if level else image
            maps.append(relu(layer(second)(relu(layer(first)(x)))))
        x = maps.pop()
        for up, first, second in EXPANSIVE:
            x = layer(up)(x)
            copied = maps.pop()
            border = (copied.shape[2] - x.shape[2]) // 2, (copied.shape[3] - x.shape[3]) // 2
            x = torch.cat([x, copied[:, :, border[0] : -border[0], border[1] : -border[1]]], 1)
            x = relu(layer(second)(relu(layer(first)(x))))
        return self.conv_u0d_score(x)


def test_is_that_of_figure_1() -> None:
    ours = planform.load(FILE, plan="unet_2_classes", widths=WIDTHS, dropout_rate=0.0)
    image = torch.randn(2, 1, 188, 220, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_parity(ours, UNet(WIDTHS, 2), [image])


@pytest.mark.slow
def test_in_full_width() -> None:
    ours = planform.load(FILE, plan="unet_1_class", dropout_rate=0.0)
    image = torch.randn(1, 1, 204, 188, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_parity(ours, UNet([64, 128, 256, 512, 1024], 1), [image])


def test_initial_weights() -> None:
    widths = [16, 16, 32, 32, 64]
    ours = planform.load(FILE, plan="unet_2_classes", widths=widths)
    assert_initialised_alike(ours, lambda: UNet(widths, 2))


def test_refuses_sides_that_do_not_halve() -> None:
    ours = planform.load(FILE, plan="unet_2_classes", widths=WIDTHS)
    with pytest.raises(PlanError) as caught:
        ours.cost(B=1, H=572, W=570)
    assert "16 * n + 12, and not 572 x 570" in caught.value.diagnostics[0].message


def test_two_facts_about_its_sides_prove_all_sizes() -> None:
    """Pooling, crops and concatenations of any valid tile need no other check when it runs."""
    guards = planform.load(FILE, plan="unet_2_classes").graph.guards
    assert {str(guard) for guard in guards} == {
        "(H - 12) % 16 == 0",
        "(W - 12) % 16 == 0",
        "H >= 188",
        "W >= 188",
    }
