"""HaloNets against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn

import planform
from planform.api import Model
from planform.dsl.values import Record
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/convnets/halonet.plan"


def small(timm: ModuleType, halo: int = 3) -> nn.Module:
    """One block of convolutions, two of attention, the first with stride."""
    byo = timm.models.byobnet
    config = byo.ByoModelCfg(
        blocks=(
            byo.ByoBlockCfg(type="bottle", d=1, c=64, s=1, gs=0, br=0.25),
            byo.ByoBlockCfg(type="self_attn", d=2, c=128, s=2, gs=0, br=0.25),
        ),
        stem_chs=16,
        stem_type="tiered",
        stem_pool="maxpool",
        act_layer="silu",
        self_attn_layer="halo",
        self_attn_kwargs={"block_size": 8, "halo_size": halo, "num_heads": 4},
    )
    return byo.ByobNet(config, num_classes=10)


def ours(halo: int = 3) -> Model:
    """The plan with the stages of `small`."""
    stages = [
        Record(width=64, depth=1, attends=[], heads=4),
        Record(width=128, depth=2, attends=[0, 1], heads=4),
    ]
    return planform.load(FILE, plan="halonet50ts", stages=stages, stem=[6, 8, 16], halo=halo, classes=10)


def test_halonet_is_timms(timm: ModuleType) -> None:
    assert_parity(ours(), small(timm))
    assert_initialised_alike(ours(), partial(small, timm))


def test_halonet_of_an_oblong_image_is_timms(timm: ModuleType) -> None:
    """Blocks and neighbourhoods of rows and of columns are not mixed up, whatever the halo."""
    assert_parity(ours(halo=1), small(timm, halo=1), [images(2, 128)[..., :64, :]], modes=["eval"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["halonet_h1", "halonet26t", "halonet50ts"])
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    # With weights drawn anew, logits of H1's attentions grow to 1e5: its results depend on their last digits.
    rtol = 1e-6 if name == "halonet_h1" else 1e-9
    assert_parity(planform.load(FILE, plan=name), timm.create_model(name), size=256, batch=1, rtol=rtol)
