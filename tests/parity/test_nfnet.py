"""Normaliser-free networks against timm."""

from __future__ import annotations

from dataclasses import replace
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

FILE = Path(__file__).parents[2] / "examples/convnets/nfnet.plan"
DEPTHS = [2, 1, 0, 0]
"""Two stages, and in the first one a block whose shape does not change."""


def still(name: str, **parameters: Any) -> Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, dropout_rate=0.0, drop_path_rate=0.0, **parameters)


def timms(timm: ModuleType, name: str, depths: list[int] = DEPTHS) -> nn.Module:
    """A network of timm's with few blocks."""
    nfnet = timm.models.nfnet
    return nfnet.NormFreeNet(replace(nfnet.model_cfgs[name], depths=tuple(depths)))


@pytest.mark.parametrize("name", ["dm_nfnet_f0", "nfnet_f0"])
def test_is_timms(name: str, timm: ModuleType) -> None:
    build = partial(timms, timm, name)
    model = still(name, depths=DEPTHS)
    assert_parity(model, build(), size=32)
    assert_initialised_alike(model, build)


def test_odd_sides_are_timms(timm: ModuleType) -> None:
    """Convolutions with stride 2 and the pooling beside them must agree on the sizes."""
    image = images(1, 45)[..., :38]
    for name in ("dm_nfnet_f0", "nfnet_f0"):
        assert_parity(still(name, depths=DEPTHS), timms(timm, name), [image], modes=["eval"])


def test_stochastic_depth_grows_as_timms(timm: ModuleType) -> None:
    with torch.device("meta"):
        reference = timm.create_model("dm_nfnet_f1")
    depths = [len(stage) for stage in reference.stages]
    wanted = timm.layers.calculate_drop_path_rates(0.25, depths, stagewise=True)
    graph = planform.load(FILE, plan="dm_nfnet_f1").program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert found == pytest.approx([rate for stage in wanted for rate in stage][1:])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dm_nfnet_f0", "nfnet_f0"])
def test_all_stages_are_timms(name: str, timm: ModuleType) -> None:
    """With few blocks, because nothing keeps signals small where weights are drawn by the test."""
    depths = [1, 1, 2, 1]
    assert_parity(still(name, depths=depths), timms(timm, name, depths), size=64, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*[f"dm_nfnet_f{number}" for number in range(1, 7)], "nfnet_f7"])
def test_weights_are_timms(name: str, timm: ModuleType) -> None:
    """The larger ones have more of the same blocks: names and shapes of all weights."""
    with torch.device("meta"):
        reference = timm.create_model(name)
    wanted = {path: tuple(weight.shape) for path, weight in reference.state_dict().items()}
    program = planform.load(FILE, plan=name).program
    assert {path: weight.type.shape for path, weight in program.weights.items()} == wanted
