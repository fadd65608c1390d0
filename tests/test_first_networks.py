"""Networks as a reader of the documents writes them, against timm and torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from support.parity import assert_parity

POOLFORMER = """planform 1

use std (layer_scale, patch_embed)

norm = group_norm(1)

block pooling(x: [B, C, H, W]) {
    return (x -> avg_pool(3, stride=1, pad=1, count_include_pad=false)) - x
}

block conv_mlp(x: [B, C, H, W], ratio: int = 4) {
    return x -> fc1: conv(ratio * C, 1, bias=true) -> gelu() -> fc2: conv(C, 1, bias=true)
}

block poolformer_block(x: [B, C, H, W], scale: float, drop_rate: float) {
    x = x + (x -> norm1: norm() -> token_mixer: pooling() -> layer_scale(scale, "layer_scale1.scale", axis=1) -> drop_path(drop_rate))
    return x + (x -> norm2: norm() -> mlp: conv_mlp() -> layer_scale(scale, "layer_scale2.scale", axis=1) -> drop_path(drop_rate))
}

model poolformer(image: [B, 3, H, W], depths: list[int], widths: list[int], scale: float = 1e-5, classes: int = 1000) -> [B, classes] {
    x = image -> "stem.conv": conv(widths[0], 7, stride=4, pad=2, bias=true)
    for i, depth in enumerate(depths) {
        x = x -> "stages.{i}.downsample.conv": conv(widths[i], 3, stride=2, pad=1, bias=true) when i > 0
        for j in range(depth) {
            x = x -> "stages.{i}.blocks.{j}": poolformer_block(scale, 0.0)
        }
    }
    return x -> mean(axis=[2, 3], keepdim=true) -> "head.norm": norm() -> flatten(1) -> "head.fc": linear(classes)
}

plan p = poolformer([1, 2, 1], [8, 12, 16], classes=5)
"""

UNET = """planform 1

use std (conv_norm_act, sequence)

block double(x: [B, C, H, W], width: int) {
    return x -> sequence([conv_norm_act(width, 3), conv_norm_act(width, 3)])
}

model unet(image: [B, C, H, W], widths: list[int] = [32, 64, 128], classes: int = 2) -> [B, classes, H, W] {
    steps = 2**(len(widths) - 1)
    x = image -> pad([0, -W % steps, 0, -H % steps])
    skips = []
    for i, width in enumerate(widths) {
        x = x -> max_pool(2, stride=2) when i > 0
              -> "down.{i}": double(width)
        skips = skips + [x]
    }
    for i in reversed(range(len(widths) - 1)) {
        x = x -> "up.{i}": conv_transpose(widths[i], 2, stride=2, bias=true)
        x = concat([skips[i], x], axis=1) -> "merge.{i}": double(widths[i])
    }
    return (x -> head: conv(classes, 1, bias=true))[:, :, :H, :W]
}

plan p = unet([4, 6, 8]) at (C=3)
"""


def test_poolformer_is_that_of_timm(timm: Any) -> None:
    from timm.models.metaformer import GroupNorm1, MetaFormer, Pooling

    theirs = MetaFormer(
        depths=(1, 2, 1),
        dims=(8, 12, 16),
        num_classes=5,
        token_mixers=Pooling,
        mlp_act=nn.GELU,
        mlp_bias=True,
        norm_layers=GroupNorm1,
        layer_scale_init_values=1e-5,
        res_scale_init_values=None,
        use_mlp_head=False,
        downsample_norm=None,
        output_norm=GroupNorm1,
    )
    assert_parity(Model(PlanFile.from_text(POOLFORMER), "p", {}), theirs, size=32)


class Double(nn.Sequential):
    def __init__(self, width: int, out: int) -> None:
        def unit(channels: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {"conv": nn.Conv2d(channels, out, 3, padding=1, bias=False), "bn": nn.BatchNorm2d(out)}
            )

        super().__init__(unit(width), unit(out))

    def forward(self, x: Tensor) -> Tensor:
        for unit in self:
            x = torch.relu(unit["bn"](unit["conv"](x)))
        return x


class UNet(nn.Module):
    """Ronneberger et al. with padded convolutions; the image is padded to a multiple of 4 at its far ends."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([Double(3, 4), Double(4, 6), Double(6, 8)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(6, 4, 2, 2), nn.ConvTranspose2d(8, 6, 2, 2)])
        self.merge = nn.ModuleList([Double(8, 4), Double(12, 6)])
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        x = F.pad(image, (0, -width % 4, 0, -height % 4))
        skips = []
        for i, double in enumerate(self.down):
            x = double(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for i in (1, 0):
            x = self.merge[i](torch.cat([skips[i], self.up[i](x)], 1))
        return self.head(x)[:, :, :height, :width]


def test_a_unet_that_pads_takes_images_of_any_size() -> None:
    model = Model(PlanFile.from_text(UNET), "p", {})
    for size in ((13, 18), (8, 8), (1, 3)):
        image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        assert_parity(model, UNet(), [image], modes=("eval",))
