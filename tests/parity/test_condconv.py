"""EfficientNets with conditionally parameterised convolutions against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/convnets/condconv.plan"


def still(name: str) -> Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, dropout_rate=0.0, drop_path_rate=0.0)


def test_is_timms(timm: ModuleType) -> None:
    """Three samples, each with kernels of its own."""
    build = partial(timm.create_model, "efficientnet_cc_b0_4e")
    model = still("efficientnet_cc_b0_4e")
    assert_parity(model, build(), size=32, batch=3)
    assert_initialised_alike(model, build)


def test_of_the_authors_is_timms(timm: ModuleType) -> None:
    """Odd and even sides, for which TensorFlow pads differently."""
    reference = timm.create_model("tf_efficientnet_cc_b0_4e")
    assert_parity(still("tf_efficientnet_cc_b0_4e"), reference, [images(2, 65)[..., :48]], modes=["eval"])


def test_stochastic_depth_grows_as_timms(timm: ModuleType) -> None:
    """Each block drops with the probability that timm gives it."""
    reference = timm.create_model("efficientnet_cc_b0_4e", drop_path_rate=0.2)
    blocks = [module for module in reference.modules() if getattr(module, "has_skip", False)]
    wanted = [block.drop_path.drop_prob for block in blocks]
    graph = planform.load(FILE, plan="efficientnet_cc_b0_4e").program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert found == pytest.approx(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("port", ["", "tf_"])
@pytest.mark.parametrize("name", ["b0_4e", "b0_8e", "b1_8e"])
def test_variant_is_timms(port: str, name: str, timm: ModuleType) -> None:
    name = f"{port}efficientnet_cc_{name}"
    assert_parity(still(name), timm.create_model(name), size=71)
