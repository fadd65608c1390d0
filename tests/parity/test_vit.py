"""Vision transformers, ViT and DeiT, against timm and torchvision."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import planform
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from support.parity import assert_initialised_alike, assert_parity, images

FOLDER = Path(__file__).parents[2] / "examples/transformers"
# 3 heads of 8 features, 2 blocks.
SMALL = {"dim": 24, "depth": 2, "heads": 3, "classes": 10}
TIMM_SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 10}

# torchvision's names -> timm's.
TORCHVISION = """
    conv_proj -> patch_embed.proj
    class_token -> cls_token
    encoder.pos_embedding -> pos_embed
    encoder.layers.encoder_layer_{i} -> blocks.{i}
    blocks.{i}.ln_1 -> blocks.{i}.norm1
    blocks.{i}.ln_2 -> blocks.{i}.norm2
    blocks.{i}.self_attention.in_proj_weight -> blocks.{i}.attn.qkv.weight
    blocks.{i}.self_attention.in_proj_bias -> blocks.{i}.attn.qkv.bias
    blocks.{i}.self_attention.out_proj -> blocks.{i}.attn.proj
    blocks.{i}.mlp.0 -> blocks.{i}.mlp.fc1
    blocks.{i}.mlp.3 -> blocks.{i}.mlp.fc2
    encoder.ln -> norm
    heads.head -> head
"""


def still(name: str, **parameters: Any) -> Model:
    """A plan without randomness."""
    family = name.partition("_")[0]
    if "distilled" not in name:
        parameters["dropout_rate"] = 0.0
    return planform.load(FOLDER / f"{family}.plan", plan=name, drop_path_rate=0.0, **parameters)


# ------------------------------------------------------------ quick: small networks of the family


def test_vit_is_timms(timm: ModuleType) -> None:
    build = partial(timm.models.vision_transformer.VisionTransformer, img_size=64, **TIMM_SMALL)
    ours = still("vit_base_patch16_224", **SMALL).at(H=64, W=64)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)


def test_vit_of_an_oblong_image_is_timms(timm: ModuleType) -> None:
    """Rows and columns of patches are not mixed up."""
    build = timm.models.vision_transformer.VisionTransformer
    reference = build(img_size=(32, 96), patch_size=8, **TIMM_SMALL)
    ours = still("vit_base_patch16_224", patch=8, **SMALL).at(H=32, W=96)
    assert_parity(ours, reference, [images(2, 96)[..., :32, :]])


def test_vit_is_torchvisions(torchvision: ModuleType) -> None:
    reference = torchvision.models.VisionTransformer(
        64, 16, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96, num_classes=10
    )
    ours = still("vit_base_patch16_224", **SMALL).at(H=64, W=64)
    assert_parity(ours, reference, rules=TORCHVISION)


def test_distilled_deit_is_timms(timm: ModuleType) -> None:
    """The mean of both heads in eval mode, both heads in train mode."""

    def build() -> torch.nn.Module:
        reference = timm.models.deit.VisionTransformerDistilled(img_size=64, **TIMM_SMALL)
        reference.set_distilled_training(True)
        return reference

    ours = still("deit_base_distilled_patch16_224", **SMALL).at(H=64, W=64)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)


@pytest.mark.parametrize("rate", ["dropout_rate", "drop_path_rate"])
def test_randomness_stands_where_timms_does(rate: str, timm: ModuleType) -> None:
    """The same rates in the same order, block after block."""
    names = {"dropout_rate": ["pos_drop_rate", "proj_drop_rate"], "drop_path_rate": ["drop_path_rate"]}
    reference = timm.create_model("vit_tiny_patch16_224", **dict.fromkeys(names[rate], 0.3))
    kind = torch.nn.Dropout if rate == "dropout_rate" else timm.layers.DropPath
    wanted = [
        module.p if rate == "dropout_rate" else module.drop_prob
        for module in reference.modules()
        if isinstance(module, kind)
    ]
    rates = {"dropout_rate": 0.0, "drop_path_rate": 0.0} | {rate: 0.3}
    ours = planform.load(FOLDER / "vit.plan", plan="vit_tiny_patch16_224", **rates)
    graph = ours.program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == rate.removesuffix("_rate")]
    # timm's also counts dropout that is switched off: of attention weights, and before the head.
    assert found == pytest.approx([p for p in wanted if p > 0])


def test_block_with_layer_scale_is_timms(timm: ModuleType) -> None:
    """The block of std with the options that none of the plans takes."""
    text = """planform 1
        use std (transformer_block)
        model net(x: [B, N, 24]) {
            return x -> block: transformer_block(3, mlp_ratio=2.5, qkv_bias=false, scale=1e-5)
        }
        plan block = net()
    """
    block = timm.models.vision_transformer.Block(24, 3, mlp_ratio=2.5, qkv_bias=False, init_values=1e-5)
    tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    reference = torch.nn.Sequential(OrderedDict(block=block))
    assert_parity(Model(PlanFile.from_text(text), "block", {}), reference, [tokens])


# ------------------------------------------------------------ slow: all of them, at the published resolution


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"vit_{size}_patch16_224" for size in ("tiny", "small", "base")],
        "vit_base_patch32_224",
        *[f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")],
        *[f"deit_{size}_distilled_patch16_224" for size in ("tiny", "small", "base")],
    ],
)
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    reference = timm.create_model(name)
    if "distilled" in name:
        reference.set_distilled_training(True)
    assert_parity(still(name), reference, [images(1, 224)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "vit_large_patch16_224",
        "vit_large_patch32_224",
        "vit_huge_patch14_224",
        "vit_base_patch16_384",
        "deit_base_patch16_384",
        "deit_base_distilled_patch16_384",
    ],
)
def test_large_variant_is_timms(name: str, timm: ModuleType) -> None:
    """With two of its blocks, which are all alike; the claims count the parameters of the whole."""
    reference = timm.create_model(name, depth=2, num_classes=1000)
    if "distilled" in name:
        reference.set_distilled_training(True)
    assert_parity(still(name, depth=2), reference, [images(1, int(name[-3:]))])
