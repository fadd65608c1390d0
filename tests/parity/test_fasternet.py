"""FasterNet against timm."""

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
from support.parity import assert_initialised_alike, assert_parity, assert_same, images, randomised

FILE = Path(__file__).parents[2] / "examples/convnets/fasternet.plan"
DEPTHS = [1, 2, 3, 1]
SMALL = {"depths": DEPTHS, "width": 20, "features": 48, "classes": 10}


def still(name: str, **parameters: Any) -> Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, drop_path_rate=0.0, **parameters)


def timms(timm: ModuleType, act: type[nn.Module]) -> nn.Module:
    """A small network of timm's family."""
    return timm.models.fasternet.FasterNet(
        embed_dim=20, depths=DEPTHS, feature_dim=48, num_classes=10, drop_path_rate=0.0, act_layer=act
    )


@pytest.mark.parametrize(("name", "act"), [("fasternet_t0", nn.GELU), ("fasternet_s", nn.ReLU)])
def test_is_timms(name: str, act: type[nn.Module], timm: ModuleType) -> None:
    """A small network with each activation, also on sides that do not divide by 32."""
    build = partial(timms, timm, act)
    ours = still(name, **SMALL)
    assert_parity(ours, build())
    assert_parity(ours, build(), [images(2, 77)[..., :70]])
    assert_initialised_alike(ours, build)


def test_smallest_variant_is_timms(timm: ModuleType) -> None:
    assert_parity(still("fasternet_t0"), timm.create_model("fasternet_t0"))


def test_deployed_is_timms_in_eval_mode(timm: ModuleType) -> None:
    """All norms are merged into convolutions."""
    reference = randomised(timms(timm, nn.ReLU)).eval()
    ours = still("fasternet_s", **SMALL)
    module = ours.to_torch(dtype=torch.float64, mode="deploy", state_dict=reference.state_dict())
    assert not any("norm" in path for path, _ in module.named_parameters())
    with torch.no_grad():
        assert_same(module(images(2, 64)), reference(images(2, 64)), "deployed")


@pytest.mark.parametrize("size", ["t0", "t2", "m", "l"])
def test_stochastic_depth_grows_as_timms(size: str, timm: ModuleType) -> None:
    """Each block drops with the probability that timm gives it."""
    with torch.device("meta"):
        reference = timm.create_model(f"fasternet_{size}")
    wanted = [module.drop_prob for module in reference.modules() if isinstance(module, timm.layers.DropPath)]
    graph = planform.load(FILE, plan=f"fasternet_{size}").program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert [p for p in found if p > 0] == pytest.approx(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["t1", "t2", "s", "m", "l"])
def test_variant_is_timms(size: str, timm: ModuleType) -> None:
    assert_parity(still(f"fasternet_{size}"), timm.create_model(f"fasternet_{size}", drop_path_rate=0.0))
