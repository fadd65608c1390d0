"""STU-Net in one, two and three axes against torch's layers under the names of the authors' code.

The authors' own class, which is for volumes, gives the same counts as the plan claims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

import planform
from planform.dsl.diagnostics import PlanError
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/segmentation/stunet.plan"
FACTORS = [1, 2, 4, 8, 16, 16]
CONV: list[type[Any]] = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
NORM: list[type[Any]] = [nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d]


class Block(nn.Module):
    """Two convolutions with a skip path; `project` puts a convolution there."""

    def __init__(self, rank: int, before: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        conv, norm = CONV[rank - 1], NORM[rank - 1]
        self.conv1 = conv(before, width, 3, stride, 1)
        self.norm1 = norm(width, affine=True)
        self.conv2 = conv(width, width, 3, 1, 1)
        self.norm2 = norm(width, affine=True)
        self.conv3 = conv(before, width, 1, stride) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(leaky_relu(self.norm1(self.conv1(x)), 0.01)))
        return leaky_relu(y + self.conv3(x), 0.01)


def stage(rank: int, before: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """Blocks of which the first changes width and resolution."""
    blocks = [Block(rank, width if j else before, width, 1 if j else stride, not j) for j in range(depth)]
    return nn.Sequential(*blocks)


class STUNet(nn.Module):
    """The whole network; in train mode the results of all levels, finest first."""

    def __init__(self, rank: int, depth: int, width: int, classes: int) -> None:
        super().__init__()
        widths = [width * factor for factor in FACTORS]
        up = widths[::-1]
        conv = CONV[rank - 1]
        self.conv_blocks_context = nn.ModuleList(
            stage(rank, widths[i - 1] if i else 1, widths[i], depth, 2 if i else 1) for i in range(6)
        )
        self.upsample_layers = nn.ModuleList(
            nn.ModuleDict({"conv": conv(up[i], up[i + 1], 1)}) for i in range(5)
        )
        self.conv_blocks_localization = nn.ModuleList(
            stage(rank, 2 * up[i + 1], up[i + 1], depth, 1) for i in range(5)
        )
        self.seg_outputs = nn.ModuleList(conv(up[i + 1], classes, 1) for i in range(5))
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, a=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        maps: list[Tensor] = []
        for contract in self.conv_blocks_context:
            x = contract(x)
            maps.append(x)
        x = maps.pop()
        results: list[Tensor] = []
        for up, expand, head in zip(
            self.upsample_layers, self.conv_blocks_localization, self.seg_outputs, strict=True
        ):
            assert isinstance(up, nn.ModuleDict)
            x = expand(torch.cat([up["conv"](interpolate(x, scale_factor=2)), maps.pop()], 1))
            results.insert(0, head(x))
        return results if self.training else results[0]


def volume(*sizes: int) -> Tensor:
    """Two samples of noise with one channel."""
    return torch.randn(2, 1, *sizes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("plan", "depth", "sizes"),
    [
        ("stunet_s", 1, (96,)),
        ("stunet_l", 2, (64, 32)),
        ("stunet_s", 1, (32, 64, 32)),
        pytest.param("stunet_h", 3, (64, 32, 32), marks=pytest.mark.slow),
    ],
    ids=["1d", "2d", "3d", "3d deep"],
)
def test_in_all_ranks(plan: str, depth: int, sizes: tuple[int, ...]) -> None:
    ours = planform.load(FILE, plan=plan, width=2, classes=3).at(S=list(sizes))
    assert_parity(ours, STUNet(len(sizes), depth, 2, 3), [volume(*sizes)])


def test_initial_weights() -> None:
    ours = planform.load(FILE, plan="stunet_s_2d", width=4, classes=3)
    assert_initialised_alike(ours, lambda: STUNet(2, 1, 4, 3))


def test_refuses_sides_that_do_not_halve() -> None:
    with pytest.raises(PlanError) as caught:
        _ = planform.load(FILE, plan="stunet_s").at(S=[128, 96, 100]).program
    assert "multiples of 32, and not 100" in caught.value.diagnostics[0].message


def test_refuses_an_unknown_rank() -> None:
    with pytest.raises(PlanError) as caught:
        _ = planform.load(FILE, plan="stunet_s").at(S=[32, 32, 32, 32]).program
    assert caught.value.diagnostics[0].code == "E302"
