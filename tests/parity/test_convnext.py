"""ConvNeXt against timm and torchvision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import planform
from planform.api.model import Model
from planform.backends.torch.rename import parse_rules
from planform.backends.torch.weights import load_weights
from support.parity import assert_initialised_alike, assert_parity, assert_same, images, randomised

FILE = Path(__file__).parents[2] / "examples/convnets/convnext.plan"
DEPTHS, WIDTHS = [2, 1, 2, 1], [16, 24, 32, 48]
SMALL = {"depths": DEPTHS, "widths": WIDTHS, "classes": 10}

# torchvision's names -> timm's; its stages and the layers between them are numbered in one list.
TORCHVISION = """
    features.0 -> stem
    features.2 -> stages.1.downsample
    features.4 -> stages.2.downsample
    features.6 -> stages.3.downsample
    features.1 -> stages.0.blocks
    features.3 -> stages.1.blocks
    features.5 -> stages.2.blocks
    features.7 -> stages.3.blocks
    stages.{i}.blocks.{j}.layer_scale -> stages.{i}.blocks.{j}.gamma
    stages.{i}.blocks.{j}.block.0 -> stages.{i}.blocks.{j}.conv_dw
    stages.{i}.blocks.{j}.block.2 -> stages.{i}.blocks.{j}.norm
    stages.{i}.blocks.{j}.block.3 -> stages.{i}.blocks.{j}.mlp.fc1
    stages.{i}.blocks.{j}.block.5 -> stages.{i}.blocks.{j}.mlp.fc2
    classifier.0 -> head.norm
    classifier.2 -> head.fc
"""


def still(name: str, **parameters: Any) -> Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, drop_path_rate=0.0, **parameters)


def assert_torchvisions(ours: Model, reference: torch.nn.Module) -> None:
    """Assert equal results in eval mode; torchvision keeps layer scale as [C, 1, 1]."""
    reference = randomised(reference).eval()
    weights = {
        name: tensor.flatten() if name.endswith("layer_scale") else tensor
        for name, tensor in reference.state_dict().items()
    }
    module = ours.to_torch(dtype=torch.float64).eval()
    load_weights(module, ours.program, weights, parse_rules(TORCHVISION))
    image = images(2, 64)
    with torch.no_grad():
        assert_same(module(image), reference(image), ours.name)


def test_is_timms(timm: ModuleType) -> None:
    """A small network of the family, on sides that do not divide by 32."""
    build = partial(timm.models.convnext.ConvNeXt, depths=DEPTHS, dims=WIDTHS, num_classes=10)
    ours = still("convnext_tiny", **SMALL)
    assert_parity(ours, build())
    assert_parity(ours, build(), [images(2, 77)[..., :70]])
    assert_initialised_alike(ours, build)


def test_is_torchvisions(torchvision: ModuleType) -> None:
    convnext = torchvision.models.convnext
    stages = [
        convnext.CNBlockConfig(*stage) for stage in zip(WIDTHS, [*WIDTHS[1:], None], DEPTHS, strict=True)
    ]
    reference = convnext.ConvNeXt(stages, num_classes=10)
    assert_torchvisions(still("convnext_tiny", **SMALL), reference)


def test_stochastic_depth_grows_as_timms(timm: ModuleType) -> None:
    """Each block drops with the probability that timm gives it."""
    reference = timm.create_model("convnext_tiny", drop_path_rate=0.1)
    wanted = [module.drop_prob for module in reference.modules() if isinstance(module, timm.layers.DropPath)]
    graph = planform.load(FILE, plan="convnext_tiny").program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert found == pytest.approx(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_variant_is_timms(size: str, timm: ModuleType) -> None:
    assert_parity(still(f"convnext_{size}"), timm.create_model(f"convnext_{size}"))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["large", "xlarge"])
def test_large_variant_is_timms(size: str, timm: ModuleType) -> None:
    """With one block a stage, since they are all alike; the claims count the parameters of the whole."""
    reference = timm.create_model(f"convnext_{size}", depths=(1, 1, 1, 1))
    assert_parity(still(f"convnext_{size}", depths=[1, 1, 1, 1]), reference)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_variant_is_torchvisions(size: str, torchvision: ModuleType) -> None:
    reference = getattr(torchvision.models, f"convnext_{size}")(stochastic_depth_prob=0.0)
    assert_torchvisions(still(f"convnext_{size}"), reference)
