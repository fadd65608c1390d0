"""Transformers in transformers against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/transformers/tnt.plan"
SMALL = {"dim": 24, "inner_dim": 8, "heads": 3, "inner_heads": 2, "depth": 2, "classes": 10}
TIMM_SMALL = {
    "embed_dim": 24,
    "inner_dim": 8,
    "num_heads_outer": 3,
    "num_heads_inner": 2,
    "depth": 2,
    "num_classes": 10,
}


def small(name: str, height: int, width: int) -> Model:
    """A plan cut down to two narrow blocks."""
    return planform.load(FILE, plan=name, **SMALL).at(H=height, W=width)


@pytest.mark.parametrize("legacy", [False, True])
def test_tnt_is_timms(legacy: bool, timm: ModuleType) -> None:
    """Of an oblong image, so that rows and columns are not mixed up."""
    build = partial(timm.models.tnt.TNT, img_size=(32, 64), legacy=legacy, **TIMM_SMALL)
    ours = small("tnt_s_legacy_patch16_224" if legacy else "tnt_s_patch16_224", 32, 64)
    assert_parity(ours, build(), [images(2, 64)[..., :32, :]])
    assert_initialised_alike(ours, build)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tnt_s_patch16_224", "tnt_b_patch16_224", "tnt_s_legacy_patch16_224"])
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    """At the published resolution, since the positions depend on it."""
    modes = ("eval", "train") if "_s_patch" in name else ("eval",)
    assert_parity(planform.load(FILE, plan=name), timm.create_model(name), [images(1, 224)], modes=modes)
