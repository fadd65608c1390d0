"""Swin transformers against timm and torchvision."""

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
from support.parity import assert_initialised_alike, assert_parity, images

FOLDER = Path(__file__).parents[2] / "examples/transformers"
# Maps of 14 x 14 and 7 x 7 tokens: the first shifts its windows of 7 x 7, the second is one window.
SMALL = {"dim": 24, "depths": [2, 2], "heads": [2, 4], "classes": 10}
TIMM_SMALL = {
    "embed_dim": 24,
    "depths": (2, 2),
    "num_heads": (2, 4),
    "num_classes": 10,
    "drop_path_rate": 0.0,
}


def torchvision_rules(stages: int) -> str:
    """torchvision's names -> timm's. There stages and the merges between them are counted as one list."""
    rules = """
        features.{i}.{j}.attn.relative_position_index -> -
        features.{i}.{j}.mlp.0 -> features.{i}.{j}.mlp.fc1
        features.{i}.{j}.mlp.3 -> features.{i}.{j}.mlp.fc2
        features.0.0 -> patch_embed.proj
        features.0.2 -> patch_embed.norm
        head -> head.fc
    """
    for i in range(stages):
        rules += f"features.{2 * i + 1}.{{j}} -> layers.{i}.blocks.{{j}}\n"
        if i > 0:
            rules += f"features.{2 * i} -> layers.{i}.downsample\n"
    return rules


def swin(name: str = "swin_tiny_patch4_window7_224", **parameters: Any) -> Model:
    """A plan of the first version, without randomness."""
    return planform.load(FOLDER / "swin.plan", plan=name, drop_path_rate=0.0, **parameters)


def swin_v2(name: str = "swinv2_tiny_window8_256", **parameters: Any) -> Model:
    """A plan of the second version, without randomness."""
    return planform.load(FOLDER / "swin_v2.plan", plan=name, drop_path_rate=0.0, **parameters)


def build_v2(timm: ModuleType, **arguments: Any) -> nn.Module:
    """timm's second version with its tables of offsets, which it makes in single precision, made in double."""
    reference = timm.models.swin_transformer_v2.SwinTransformerV2(**arguments).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        for module in reference.modules():
            if hasattr(module, "relative_coords_table"):
                module.init_non_persistent_buffers()
    return reference


# ------------------------------------------------------------ quick: small networks of the family


def test_swin_is_timms(timm: ModuleType) -> None:
    build = partial(timm.models.swin_transformer.SwinTransformer, img_size=56, **TIMM_SMALL)
    ours = swin(**SMALL).at(H=56, W=56)
    assert_parity(ours, build(), size=56)
    assert_initialised_alike(ours, build)


def test_swin_of_an_oblong_image_is_timms(timm: ModuleType) -> None:
    """Rows and columns are not mixed up: windows of 7 x 6 and 7 x 3 tokens, shifted along the rows."""
    reference = timm.models.swin_transformer.SwinTransformer(img_size=(56, 24), **TIMM_SMALL)
    ours = swin(**SMALL).at(H=56, W=24)
    assert_parity(ours, reference, [images(2, 56)[..., :24]])


def test_swin_is_torchvisions(torchvision: ModuleType) -> None:
    reference = torchvision.models.SwinTransformer(
        [4, 4], 24, [2, 2], [2, 4], [7, 7], stochastic_depth_prob=0.0, num_classes=10
    )
    assert_parity(swin(**SMALL).at(H=56, W=56), reference, size=56, rules=torchvision_rules(2))


@pytest.mark.parametrize("trained", [None, [3, 2]])
def test_swin_v2_is_timms(trained: list[int] | None, timm: ModuleType) -> None:
    """Maps of 16 x 8 and 8 x 4 tokens in windows of 4 x 4: the last is shifted along its rows alone."""
    known = {} if trained is None else {"pretrained_window_sizes": tuple(trained)}
    build = partial(build_v2, timm, img_size=(64, 32), window_size=4, **TIMM_SMALL, **known)
    ours = swin_v2(window=4, trained=trained or [None, None], **SMALL).at(H=64, W=32)
    assert_parity(ours, build(), [images(2, 64)[..., :32]])
    assert_initialised_alike(ours, build)


@pytest.mark.parametrize("version", ["swin.plan", "swin_v2.plan"])
def test_stochastic_depth_stands_where_timms_does(version: str, timm: ModuleType) -> None:
    """Rates grow from block to block through all stages; both branches of a block have one rate."""
    name = "swin_tiny_patch4_window7_224" if version == "swin.plan" else "swinv2_tiny_window8_256"
    reference = timm.create_model(name, drop_path_rate=0.3)
    wanted = [module.drop_prob for module in reference.modules() if isinstance(module, timm.layers.DropPath)]
    graph = planform.load(FOLDER / version, plan=name, drop_path_rate=0.3).program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert [p for p in found if p > 0] == pytest.approx(wanted)


def test_windows_must_fill_the_map() -> None:
    with pytest.raises(planform.PlanError, match="64 x 64 tokens do not divide into windows of 7 x 7"):
        _ = swin().at(H=256, W=256).program


def test_the_size_of_the_map_must_be_known() -> None:
    """Without it the number of windows, and whether they are shifted, is open."""
    text = (FOLDER / "swin.plan").read_text(encoding="utf-8").partition("\nplan ")[0]
    file = planform.api.model.PlanFile.from_text(text + "\nplan open = tiny()\n")
    with pytest.raises(planform.PlanError, match="depends on the unbound sizes `H` and `W`"):
        _ = Model(file, "open", {}).program


# ------------------------------------------------------------ slow: all of them


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base", "large")],
        *[f"swin_{size}_patch4_window12_384" for size in ("base", "large")],
    ],
)
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    """At the published resolution, since the masks depend on it."""
    reference = timm.create_model(name, num_classes=1000, drop_path_rate=0.0)
    modes = ("eval", "train") if "tiny" in name else ("eval",)
    assert_parity(swin(name), reference, batch=1, size=int(name[-3:]), modes=modes)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_variant_is_torchvisions(size: str, torchvision: ModuleType) -> None:
    reference = getattr(torchvision.models, f"swin_{size[0]}")()
    rules = torchvision_rules(4)
    assert_parity(
        swin(f"swin_{size}_patch4_window7_224"), reference, rules=rules, batch=1, size=224, modes=["eval"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"swinv2_{size}_window{window}_256" for size in ("tiny", "small", "base") for window in (8, 16)],
        *[f"swinv2_{size}_window12_192" for size in ("base", "large")],
        *[f"swinv2_{size}_window12to16_192to256" for size in ("base", "large")],
        *[f"swinv2_{size}_window12to24_192to384" for size in ("base", "large")],
    ],
)
def test_variant_of_v2_is_timms(name: str, timm: ModuleType) -> None:
    """At the published resolution, since the windows depend on it."""
    published = timm.create_model(name, num_classes=1000, drop_path_rate=0.0)
    # timm makes its tables of offsets in single precision.
    assert_parity(swin_v2(name), published, batch=1, size=int(name[-3:]), modes=["eval"], rtol=1e-5)
