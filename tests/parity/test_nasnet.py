"""NASNet-A against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/nasnet.plan"


def test_narrow_network_is_timms(timm: ModuleType) -> None:
    """With odd and even sides on the way, on which TensorFlow's padding and the shifted path differ."""
    build = partial(timm.models.nasnet.NASNetALarge, num_classes=10, stem_size=6, num_features=24 * 4)
    ours = planform.load(FILE, plan="nasnetalarge", width=4, stem=6, classes=10, dropout_rate=0.0)
    assert_parity(ours, build(), size=75)


@pytest.mark.slow
def test_nasnetalarge_is_timms(timm: ModuleType) -> None:
    build = partial(timm.create_model, "nasnetalarge")
    ours = planform.load(FILE, plan="nasnetalarge", dropout_rate=0.0)
    assert_parity(ours, build())
    assert_initialised_alike(ours, build)
