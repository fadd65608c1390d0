"""DeepLabV3 against torchvision."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import planform
from planform.dsl.diagnostics import PlanError
from support.parity import assert_initialised_alike, assert_parity, images

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples/segmentation/deeplab_v3.plan"
RESNET = ROOT / "examples/convnets/resnet.plan"
STILL = {"dropout_rate": 0.0, "aux_dropout_rate": 0.0}


def build(torchvision: ModuleType, name: str, aux: bool, rate: float | None = None) -> nn.Module:
    """Torchvision's network, with another rate of dropout if given."""
    build: Any = getattr(torchvision.models.segmentation, name)
    network: nn.Module = build(weights=None, weights_backbone=None, aux_loss=aux)
    for module in network.modules():
        if rate is not None and isinstance(module, nn.Dropout):
            module.p = rate
    return network


class Reference(nn.ModuleDict):
    """Torchvision's parts, called as it does, with the auxiliary head in training alone."""

    def forward(self, image: torch.Tensor) -> Any:
        found = self.network(image)
        return found if self.training else found["out"]


@pytest.mark.parametrize(
    "name", ["deeplabv3_resnet50", pytest.param("deeplabv3_resnet101", marks=pytest.mark.slow)]
)
def test_is_torchvisions(name: str, torchvision: ModuleType) -> None:
    reference = Reference({"network": build(torchvision, name, True, 0.0)})
    rules = "\n".join(f"network.{part} -> {part}" for part in ("backbone", "classifier", "aux_classifier"))
    assert_parity(planform.load(FILE, plan=name, **STILL), reference, [images(2, 48)[..., :34]], rules=rules)


@pytest.mark.slow
def test_initial_weights(torchvision: ModuleType) -> None:
    ours = planform.load(FILE, plan="deeplabv3_resnet50")
    assert_initialised_alike(ours, lambda: build(torchvision, "deeplabv3_resnet50", True))


@pytest.mark.slow
def test_trunk_with_an_output_stride_of_16(torchvision: ModuleType) -> None:
    """The other setting of the paper, for which torchvision has a trunk but no name."""
    reference = torchvision.models.resnet50(replace_stride_with_dilation=[False, False, True])
    assert_parity(planform.load(RESNET, plan="resnet50", output_stride=16), reference)


def test_basic_blocks_are_not_dilated() -> None:
    with pytest.raises(PlanError) as caught:
        _ = planform.load(RESNET, plan="resnet18", output_stride=8).program
    assert "only bottlenecks are dilated" in caught.value.diagnostics[0].message
