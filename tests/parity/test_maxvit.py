"""MaxViTs against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

import planform
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/transformers/maxvit.plan"


def small(timm: ModuleType) -> nn.Module:
    """timm's network with three short and narrow stages for images of 96 x 64: blocks and grids of 3 x 2 tokens."""
    maxvit = timm.models.maxxvit
    config = maxvit.MaxxVitCfg(
        embed_dim=(32, 32, 64),
        depths=(1, 1, 2),
        block_type=("M",) * 3,
        stem_width=8,
        stem_bias=True,
        head_hidden_size=64,
        **maxvit._tf_cfg(),
    )
    return maxvit.MaxxVit(config, img_size=(96, 64), num_classes=10)


def test_maxvit_is_timms(timm: ModuleType) -> None:
    """The second stage halves the map and keeps its width; the third widens it."""
    ours = planform.load(
        FILE, plan="maxvit_tiny_tf_224", stem=8, widths=[32, 32, 64], depths=[1, 1, 2], classes=10
    ).at(H=96, W=64)
    assert_parity(ours, small(timm), [images(2, 96)[..., :64]])
    assert_initialised_alike(ours, partial(small, timm))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"maxvit_{size}_tf_224" for size in ("tiny", "small", "base", "large", "xlarge")],
        *[f"maxvit_tiny_tf_{side}" for side in (384, 512)],
    ],
)
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    """At the published resolution, since blocks and grids depend on it."""
    side = int(name[-3:])
    modes = ("eval", "train") if name == "maxvit_tiny_tf_224" else ("eval",)
    reference = timm.create_model(name, num_classes=1000)
    assert_parity(planform.load(FILE, plan=name), reference, [images(1, side)], modes=modes)
