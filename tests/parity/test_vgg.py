"""VGG against torchvision."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import planform
from support.parity import assert_initialised_alike, assert_parity, assert_same, images, randomised

FILE = Path(__file__).parents[2] / "examples/convnets/vgg.plan"
HIDDEN = 24
NAMES = [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]


def narrow(torchvision: ModuleType, name: str, classes: int = 10) -> nn.Module:
    """torchvision's network, its first two fully connected layers with few units and no dropout."""
    reference: Any = torchvision.models.get_model(name, num_classes=classes, dropout=0.0)
    first, second, last = nn.Linear(512 * 49, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, classes)
    for at, layer in zip((0, 3, 6), (first, second, last), strict=True):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)
        reference.classifier[at] = layer
    return reference


def plan(name: str, **parameters: Any) -> Any:
    return planform.load(FILE, plan=name, hidden=HIDDEN, classes=10, dropout_rate=0.0, **parameters)


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn"])
def test_is_torchvisions(name: str, torchvision: ModuleType) -> None:
    """Sides whose last map is smaller than 7 x 7, and one that 32 does not divide."""
    reference = narrow(torchvision, name)
    assert_parity(plan(name), reference)
    assert_parity(plan(name), reference, [images(2, 77)[..., :45]])


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_is_initialised_as_torchvisions(name: str, torchvision: ModuleType) -> None:
    assert_initialised_alike(plan(name), lambda: narrow(torchvision, name))


def test_deployed_is_torchvisions_in_eval_mode(torchvision: ModuleType) -> None:
    """All norms are merged into convolutions."""
    reference = randomised(narrow(torchvision, "vgg11_bn")).eval()
    module = plan("vgg11_bn").to_torch(dtype=torch.float64, mode="deploy", state_dict=reference.state_dict())
    assert not any(isinstance(each, nn.BatchNorm2d) for each in module.modules())
    with torch.no_grad():
        assert_same(module(images(2, 64)), reference(images(2, 64)), "deployed")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_variant_is_torchvisions(name: str, torchvision: ModuleType) -> None:
    assert_parity(plan(name), narrow(torchvision, name))


@pytest.mark.slow
def test_whole_network_is_torchvisions(torchvision: ModuleType) -> None:
    """With the fully connected layers of the paper, at its resolution."""
    reference = torchvision.models.get_model("vgg11")
    assert_parity(planform.load(FILE, plan="vgg11"), reference, size=224, batch=1, modes=["eval"])
