"""OSNet against what the authors' torchreid computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import planform
from support.recorded import assert_recorded, fill, fingerprint, noise

FILE = Path(__file__).parents[2] / "examples/convnets/osnet.plan"

# `fingerprint(fill(osnet_x1_0(pretrained=False)), noise("image", (3, 3, 64, 32)))` and so on, for the networks of
# torchreid/models/osnet.py in KaiyangZhou/deep-person-reid at f8cd150.
RECORDED = {
    "osnet_x0_25": {
        "params": 714864.0,
        "eval 0": -51422.31874873,
        "train 0": 16.23898227293,
        "gradients": 36768.57246745,
        "state": 62.57511922875,
    },
    "osnet_x0_5": {
        "params": 1143034.0,
        "eval 0": 704894.1026495,
        "train 0": 37.16156916836,
        "gradients": -163687.0080488,
        "state": -6.49939161317,
    },
    "osnet_x0_75": {
        "params": 1798754.0,
        "eval 0": 104543.256095,
        "train 0": -90.66378855544,
        "gradients": 188600.8982646,
        "state": 68.59790311883,
    },
    "osnet_x1_0": {
        "params": 2682508.0,
        "eval 0": -110390.4177961,
        "train 0": 16.84156612679,
        "gradients": 24984.37442954,
        "state": 73.15853488234,
    },
    "osnet_ibn_x1_0": {
        "params": 2683532.0,
        "eval 0": -3458.001333654,
        "train 0": 74.85797933842,
        "gradients": -233181.3048159,
        "state": 61.09275698903,
    },
}


def check(name: str) -> None:
    model = planform.load(FILE, plan=name)
    found = fingerprint(fill(model.to_torch(dtype=torch.float64)), noise("image", (3, 3, 64, 32)))
    assert_recorded(found, RECORDED[name])


def test_smallest_is_torchreids() -> None:
    check("osnet_x0_25")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECORDED if name != "osnet_x0_25"])
def test_is_torchreids(name: str) -> None:
    check(name)
