"""Deep layer aggregation against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/dla.plan"


def test_basic_units_are_timms(timm: ModuleType) -> None:
    widths = [4, 4, 16, 16, 32, 32]
    build = partial(timm.create_model, "dla34", channels=widths, num_classes=10)
    ours = planform.load(FILE, plan="dla34", widths=widths, classes=10)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)


def test_deep_trees_are_timms(timm: ModuleType) -> None:
    """A tree of 16 blocks, and roots with the residual path."""
    widths = [4, 4, 8, 16, 16, 16]
    dla = timm.models.dla
    reference = dla.DLA(
        (1, 1, 1, 4, 2, 1), widths, num_classes=10, block=dla.DlaBottleneck, shortcut_root=True
    )
    ours = planform.load(FILE, plan="dla102", depths=[1, 4, 2, 1], widths=widths, classes=10)
    assert_parity(ours, reference)


def test_grouped_bottlenecks_are_timms(timm: ModuleType) -> None:
    widths = [4, 4, 32, 32, 64, 64]
    build = partial(timm.create_model, "dla60x", levels=(1, 1, 1, 1, 1, 1), channels=widths, num_classes=10)
    ours = planform.load(FILE, plan="dla60x", depths=[1, 1, 1, 1], widths=widths, classes=10)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "dla34",
        "dla46_c",
        "dla46x_c",
        "dla60x_c",
        "dla60",
        "dla60x",
        "dla102",
        "dla102x",
        "dla102x2",
        "dla169",
    ],
)
def test_is_timms(name: str, timm: ModuleType) -> None:
    assert_parity(planform.load(FILE, plan=name), timm.create_model(name))
