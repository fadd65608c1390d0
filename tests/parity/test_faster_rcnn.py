"""Faster R-CNN on a feature pyramid, against torchvision: trunk, pyramid, proposals, and the head of regions."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/detection/faster_rcnn.plan"


class Proposals(nn.Module):
    """Torchvision's parts in its order, up to the boxes from which proposals are chosen."""

    def __init__(self, detection: Any) -> None:
        super().__init__()
        network = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        # Without downloaded weights torchvision trains the norms; its own builder of the trunk fixes them.
        self.backbone = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, trainable_layers=5
        )
        detection._utils.overwrite_eps(self.backbone, 0.0)
        self.rpn = network.rpn
        self.image_list = detection.image_list.ImageList
        self.flat = detection.rpn.concat_box_prediction_layers

    def forward(self, image: Tensor) -> Any:
        maps = list(self.backbone(image).values())
        objectness, deltas = self.flat(*self.rpn.head(maps))
        sizes = [(image.shape[2], image.shape[3])] * len(image)
        anchors = self.rpn.anchor_generator(self.image_list(image, sizes), maps)
        boxes = self.rpn.box_coder.decode(deltas.detach(), anchors)
        batch = len(image)
        return [*maps, objectness.view(batch, -1), deltas.view(batch, -1, 4), boxes.view(batch, -1, 4)]


class BoxHead(nn.Module):
    """Torchvision's head, called on pooled regions."""

    def __init__(self, detection: Any) -> None:
        super().__init__()
        network = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": network.roi_heads.box_head,
                "box_predictor": network.roi_heads.box_predictor,
            }
        )

    def forward(self, regions: Tensor) -> Any:
        return self.roi_heads["box_predictor"](self.roi_heads["box_head"](regions))


def plan(name: str) -> Model:
    """A plan of the file."""
    return planform.load(FILE, plan=name)


@pytest.fixture(scope="module")
def proposals(torchvision: ModuleType) -> Proposals:
    """Torchvision's network with initial weights."""
    return Proposals(torchvision.models.detection)


def test_proposals_are_torchvisions(proposals: Proposals) -> None:
    """Sides that no level divides evenly: 100 x 66 becomes 25 x 17, 13 x 9, 7 x 5, 4 x 3 and 2 x 2."""
    assert_parity(plan("fasterrcnn_resnet50_fpn"), proposals, [images(2, 100)[..., :66]])


@pytest.mark.slow
def test_box_head_is_torchvisions(torchvision: ModuleType) -> None:
    regions = torch.randn(3, 256, 7, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_parity(plan("fasterrcnn_box_head"), BoxHead(torchvision.models.detection), [regions])


@pytest.mark.slow
def test_initial_weights(torchvision: ModuleType) -> None:
    detection = torchvision.models.detection
    assert_initialised_alike(plan("fasterrcnn_resnet50_fpn"), lambda: Proposals(detection))
    assert_initialised_alike(plan("fasterrcnn_box_head"), lambda: BoxHead(detection))
