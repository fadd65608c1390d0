"""RepVGG against timm, with the branches that training sees."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/repvgg.plan"
DEPTHS = [1, 2, 3, 1]


def ours(name: str, **parameters: Any) -> Model:
    return planform.load(FILE, plan=name, **parameters)


def timms(timm: ModuleType, depths: list[int], a: float, b: float, groups: int = 0) -> nn.Module:
    """A network of timm's family with other depths, widths or groups than those that it names."""
    byobnet = timm.models.byobnet
    blocks = byobnet._rep_vgg_bcfg(d=tuple(depths), wf=(a, a, a, b), groups=groups)
    stem = min(64, int(64 * a))
    return byobnet.ByobNet(byobnet.ByoModelCfg(blocks=blocks, stem_type="rep", stem_chs=stem))


def test_is_timms(timm: ModuleType) -> None:
    build = partial(timms, timm, DEPTHS, 0.75, 1)
    assert_parity(ours("repvgg_a0", depths=DEPTHS, b=1), build())
    assert_initialised_alike(ours("repvgg_a0", depths=DEPTHS, b=1), build)


def test_groups_are_timms(timm: ModuleType) -> None:
    model = ours("repvgg_b1g4", depths=DEPTHS, a=1, b=1)
    assert_parity(model, timms(timm, DEPTHS, 1, 1, groups=4))
    assert_initialised_alike(model, partial(timms, timm, DEPTHS, 1, 1, groups=4))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a0", "a1", "a2", "b0", "b1", "b1g4", "b2", "b2g4", "b3", "b3g4"])
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    assert_parity(ours(f"repvgg_{name}"), timm.create_model(f"repvgg_{name}"), size=32)


@pytest.mark.slow
def test_two_groups_are_timms(timm: ModuleType) -> None:
    reference = timms(timm, [4, 6, 16, 1], 2, 4, groups=2)
    assert_parity(ours("repvgg_b1g2"), reference, size=32)
