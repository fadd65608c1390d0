"""The convolutional networks of the atlas against timm and torchvision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import nn

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity, images

FOLDER = Path(__file__).parents[2] / "examples/convnets"
STILL = {"dropout_rate": 0.0, "drop_path_rate": 0.0}

# torchvision's names -> timm's.
MOBILENET_V2 = """
    features.0.0 -> conv_stem
    features.0.1 -> bn1
    features.18.0 -> conv_head
    features.18.1 -> bn2
    classifier.1 -> classifier

    # The first block has no expansion.
    features.1.conv.0.0 -> blocks.0.0.conv_dw
    features.1.conv.0.1 -> blocks.0.0.bn1
    features.1.conv.1 -> blocks.0.0.conv_pw
    features.1.conv.2 -> blocks.0.0.bn2

    features.{n}.conv.0.0 -> features.{n}.conv_pw
    features.{n}.conv.0.1 -> features.{n}.bn1
    features.{n}.conv.1.0 -> features.{n}.conv_dw
    features.{n}.conv.1.1 -> features.{n}.bn2
    features.{n}.conv.2 -> features.{n}.conv_pwl
    features.{n}.conv.3 -> features.{n}.bn3

    # Its blocks are numbered throughout.
    features.2 -> blocks.1.0
    features.3 -> blocks.1.1
    features.4 -> blocks.2.0
    features.5 -> blocks.2.1
    features.6 -> blocks.2.2
    features.7 -> blocks.3.0
    features.8 -> blocks.3.1
    features.9 -> blocks.3.2
    features.10 -> blocks.3.3
    features.11 -> blocks.4.0
    features.12 -> blocks.4.1
    features.13 -> blocks.4.2
    features.14 -> blocks.5.0
    features.15 -> blocks.5.1
    features.16 -> blocks.5.2
    features.17 -> blocks.6.0
"""

EFFICIENTNET = """
    features.0.0 -> conv_stem
    features.0.1 -> bn1
    features.8.0 -> conv_head
    features.8.1 -> bn2
    classifier.1 -> classifier

    # The first stage has no expansion.
    features.1.{j}.block.0.0 -> blocks.0.{j}.conv_dw
    features.1.{j}.block.0.1 -> blocks.0.{j}.bn1
    features.1.{j}.block.1.fc1 -> blocks.0.{j}.se.conv_reduce
    features.1.{j}.block.1.fc2 -> blocks.0.{j}.se.conv_expand
    features.1.{j}.block.2.0 -> blocks.0.{j}.conv_pw
    features.1.{j}.block.2.1 -> blocks.0.{j}.bn2

    features.{i}.{j}.block.0.0 -> blocks.{i-1}.{j}.conv_pw
    features.{i}.{j}.block.0.1 -> blocks.{i-1}.{j}.bn1
    features.{i}.{j}.block.1.0 -> blocks.{i-1}.{j}.conv_dw
    features.{i}.{j}.block.1.1 -> blocks.{i-1}.{j}.bn2
    features.{i}.{j}.block.2.fc1 -> blocks.{i-1}.{j}.se.conv_reduce
    features.{i}.{j}.block.2.fc2 -> blocks.{i-1}.{j}.se.conv_expand
    features.{i}.{j}.block.3.0 -> blocks.{i-1}.{j}.conv_pwl
    features.{i}.{j}.block.3.1 -> blocks.{i-1}.{j}.bn3
"""


def plan(name: str, **parameters: Any) -> Model:
    """A plan of this family."""
    known = ("resnet", "mobilenet", "densenet", "efficientnet")
    family = next(family for family in known if family in name)
    return planform.load(
        FOLDER / f"{family.replace('mobilenet', 'mobilenet_v2')}.plan", plan=name, **parameters
    )


def still(name: str) -> Model:
    """An EfficientNet without randomness."""
    return plan(name, **STILL)


# ------------------------------------------------------------ quick: the smallest of each


def test_resnet18_is_timms(timm: ModuleType) -> None:
    build = partial(timm.create_model, "resnet18", zero_init_last=False)
    assert_parity(plan("resnet18"), build())
    assert_initialised_alike(plan("resnet18"), build)


def test_bottlenecks_are_torchvisions(torchvision: ModuleType) -> None:
    resnet = torchvision.models.resnet
    ours = plan("resnet50", depths=[1, 2, 1, 1], classes=10)
    assert_parity(ours, resnet.ResNet(resnet.Bottleneck, [1, 2, 1, 1], num_classes=10))


def test_mobilenet_v2_is_timms(timm: ModuleType) -> None:
    build = partial(timm.create_model, "mobilenetv2_035")
    assert_parity(plan("mobilenetv2_035"), build())
    assert_initialised_alike(plan("mobilenetv2_035"), build)


def test_mobilenet_v2_is_torchvisions(torchvision: ModuleType) -> None:
    reference = torchvision.models.mobilenet_v2(width_mult=0.35, dropout=0.0)
    assert_parity(plan("mobilenetv2_035"), reference, rules=MOBILENET_V2)


def test_densenet_is_torchvisions(torchvision: ModuleType) -> None:
    build = partial(torchvision.models.DenseNet, 8, (2, 3, 1, 2), 16, num_classes=10)
    ours = plan("densenet121", growth=8, depths=[2, 3, 1, 2], stem=16, classes=10)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)


def test_densenet_for_small_images(torchvision: ModuleType) -> None:
    """Torchvision's network with the stem that the paper gives CIFAR."""
    reference = torchvision.models.DenseNet(12, (16, 16, 16), 24, num_classes=10)
    reference.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    for name in ("norm0", "relu0", "pool0"):
        setattr(reference.features, name, nn.Identity())
    assert_parity(plan("densenet_bc_100_12", dropout_rate=0.0), reference, size=16)


def test_efficientnet_is_timms(timm: ModuleType) -> None:
    build = partial(timm.create_model, "efficientnet_b0")
    assert_parity(still("efficientnet_b0"), build())
    assert_initialised_alike(still("efficientnet_b0"), build)


def test_efficientnet_of_the_authors_is_timms(timm: ModuleType) -> None:
    """Odd and even sides, for which TensorFlow pads differently."""
    ours, reference = still("tf_efficientnet_b0"), timm.create_model("tf_efficientnet_b0")
    assert_parity(ours, reference, size=65, modes=["eval"])
    assert_parity(ours, reference, [images(2, 70)[..., :64]], modes=["eval"])


# ------------------------------------------------------------ slow: all of them

TIMM = [
    *[f"resnet{depth}" for depth in (34, 50, 101, 152)],
    *[f"mobilenetv2_{width}" for width in ("050", "075", "100", "110d", "120d", "140")],
    *[f"densenet{depth}" for depth in (121, 161, 169, 201)],
    *[f"{port}efficientnet_b{number}" for port in ("", "tf_") for number in range(8)],
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_is_timms(name: str, timm: ModuleType) -> None:
    model = still(name) if "efficientnet" in name else plan(name)
    assert_parity(model, timm.create_model(name))


def _torchvision_case(name: str, models: Any) -> tuple[Model, nn.Module, str]:
    if name == "mobilenet_v2":
        return plan("mobilenetv2_100"), models.mobilenet_v2(dropout=0.0), MOBILENET_V2
    if "efficientnet" in name:
        # From B5 on, torchvision's have the authors' epsilon, and a momentum that the plan leaves at torch's.
        ours = plan(name, **STILL, **({"eps": 1e-3} if int(name[-1]) >= 5 else {}))
        reference = getattr(models, name)(dropout=0.0, stochastic_depth_prob=0.0)
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1
        return ours, reference, EFFICIENTNET
    return plan(name), getattr(models, name)(), ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"resnet{depth}" for depth in (18, 34, 50, 101, 152)],
        "mobilenet_v2",
        *[f"densenet{depth}" for depth in (121, 161, 169, 201)],
        *[f"efficientnet_b{number}" for number in range(8)],
    ],
)
def test_is_torchvisions(name: str, torchvision: ModuleType) -> None:
    ours, reference, rules = _torchvision_case(name, torchvision.models)
    assert_parity(ours, reference, rules=rules)
