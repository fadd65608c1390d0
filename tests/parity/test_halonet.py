"""HaloNets against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import planform
from planform.api.model import Model
from planform.backends.torch.weights import load_weights
from support.parity import assert_initialised_alike, assert_parity, assert_same, images, randomised

FILE = Path(__file__).parents[2] / "examples/convnets/halonet.plan"


def small(timm: ModuleType, **attention: int) -> nn.Module:
    """One block of convolutions, two of attention, the first of these with stride, and a convolution behind."""
    byo = timm.models.byobnet
    config = byo.ByoModelCfg(
        blocks=(
            byo.ByoBlockCfg(type="bottle", d=1, c=128, s=1, gs=0, br=0.5),
            byo.ByoBlockCfg(type="self_attn", d=2, c=256, s=2, gs=0, br=0.5),
        ),
        stem_chs=16,
        stem_type="tiered",
        stem_pool="maxpool",
        act_layer="silu",
        num_features=24,
        self_attn_layer="halo",
        self_attn_kwargs={"num_heads": 4, **attention},
    )
    return byo.ByobNet(config, num_classes=10)


def ours(**parameters: Any) -> Model:
    """The plan with the stages of `small`."""
    return planform.load(
        FILE,
        plan="halonet50ts",
        depths=[1, 2],
        attends=[[], [0, 1]],
        heads=[0, 4],
        stem=[6, 8, 16],
        widen=2.0,
        features=24,
        classes=10,
        **parameters,
    )


def test_halonet_is_timms(timm: ModuleType) -> None:
    build = partial(small, timm, block_size=8, halo_size=3)
    assert_parity(ours(), build())
    assert_initialised_alike(ours(), build)


def test_halonet_of_an_oblong_image_is_timms(timm: ModuleType) -> None:
    """Blocks and neighbourhoods of rows and of columns are not mixed up, whatever their sizes."""
    reference = small(timm, block_size=4, halo_size=1)
    assert_parity(ours(size=4, halo=1), reference, [images(2, 64)[..., :32, :]], modes=["eval"])


def test_wide_values_are_read_as_equal_ones_are(timm: ModuleType) -> None:
    """The paper's H5 to H7 widen the values, which timm's do not: its network, each value twice."""
    reference = randomised(small(timm, block_size=4, halo_size=1)).eval()
    state = reference.state_dict()
    for j in (0, 1):
        # Of 4 heads with 32 keys and 32 values, then 64; what reads them is halved.
        at = f"stages.1.{j}"
        keys, values = state[f"{at}.self_attn.kv.weight"].unflatten(0, (4, 2, 32)).unbind(1)
        state[f"{at}.self_attn.kv.weight"] = torch.cat([keys, values, values], dim=1).flatten(0, 1)
        for name in ("weight", "bias", "running_mean", "running_var"):
            known = state[f"{at}.post_attn.{name}"].unflatten(0, (4, 32))
            state[f"{at}.post_attn.{name}"] = torch.cat([known, known], dim=1).flatten()
        known = state[f"{at}.conv3_1x1.conv.weight"].unflatten(1, (4, 32)) / 2
        state[f"{at}.conv3_1x1.conv.weight"] = torch.cat([known, known], dim=2).flatten(1, 2)
    model = ours(size=4, halo=1, value_ratio=2.0)
    wide = model.to_torch(dtype=torch.float64).eval()
    load_weights(wide, model.program, state)
    image = images(2, 32)
    with torch.no_grad():
        assert_same(wide(image), reference(image), "with each value twice")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["halonet_h1", "halonet26t", "halonet50ts"])
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    # With weights drawn anew, logits of H1's attentions grow to 1e5: its results depend on their last digits.
    rtol = 1e-6 if name == "halonet_h1" else 1e-9
    assert_parity(planform.load(FILE, plan=name), timm.create_model(name), size=256, batch=1, rtol=rtol)
