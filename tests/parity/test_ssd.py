"""SSD300 against torchvision, up to the boxes among which suppression chooses."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from support.eager import in_double
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/detection/ssd300.plan"


class Detector(nn.Module):
    """Torchvision's parts in its order."""

    def __init__(self, detection: Any) -> None:
        super().__init__()
        network = detection.ssd300_vgg16(weights=None, weights_backbone=None)
        self.backbone = network.backbone
        self.head = network.head
        self.anchors = network.anchor_generator
        self.coder = network.box_coder
        self.image_list = detection.image_list.ImageList
        # Computed in single precision otherwise.
        self.anchors._wh_pairs = self.anchors._generate_wh_pairs(6, dtype=torch.float64)

    def forward(self, image: Tensor) -> Any:
        maps = list(self.backbone(image).values())
        found = self.head(maps)
        deltas = found["bbox_regression"]
        with in_double():  # which the places of anchors are computed in
            anchors = self.anchors(self.image_list(image, [(300, 300)] * len(image)), maps)
        boxes = [self.coder.decode_single(d, a) for d, a in zip(deltas.detach(), anchors, strict=True)]
        return [found["cls_logits"], deltas, torch.stack(boxes)]


@pytest.fixture(scope="module")
def detector(torchvision: ModuleType) -> Detector:
    """Torchvision's network with initial weights."""
    return Detector(torchvision.models.detection)


def test_is_torchvisions(detector: Detector) -> None:
    """One image: all maps down to a single place need 300 pixels."""
    ours = planform.load(FILE, plan="ssd300_vgg16")
    assert_parity(ours, detector, [images(1, 300)], modes=["eval"])


@pytest.mark.slow
def test_trains_as_torchvisions(detector: Detector) -> None:
    assert_parity(planform.load(FILE, plan="ssd300_vgg16"), detector, [images(1, 300)], modes=["train"])


@pytest.mark.slow
def test_initial_weights(detector: Detector) -> None:
    assert_initialised_alike(planform.load(FILE, plan="ssd300_vgg16"), lambda: detector)
