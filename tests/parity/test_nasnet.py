"""NASNet-A against timm; its mobile form against what an earlier port computes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

import planform
from support.parity import assert_initialised_alike, assert_parity
from support.recorded import assert_recorded, fill, fingerprint, noise

FILE = Path(__file__).parents[2] / "examples/convnets/nasnet.plan"

# `fingerprint(fill(NASNetAMobile()), noise("image", (2, 3, 224, 224)))` without dropout, of
# pretrainedmodels/models/nasnet_mobile.py in Cadene/pretrained-models.pytorch at 8aae3d8.
MOBILE = {
    "params": 5289978.0,
    "eval 0": -9632884.846166,
    "train 0": -37.45713749835,
    "gradients": 3563.433324151,
    "state": -67.2676826297,
}


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


@pytest.mark.slow
def test_nasnetamobile_is_the_earlier_ports() -> None:
    ours = planform.load(FILE, plan="nasnetamobile", dropout_rate=0.0).to_torch(dtype=torch.float64)
    assert_recorded(fingerprint(fill(ours), noise("image", (2, 3, 224, 224))), MOBILE)
