"""RevCol against what the authors' code computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import planform
from planform.api.model import Model
from support.recorded import assert_recorded, fill, fingerprint, noise

FILE = Path(__file__).parents[2] / "examples/convnets/revcol.plan"
NARROW: dict[str, Any] = {
    "widths": [4, 8, 12, 16],
    "depths": [1, 2, 1, 1],
    "classes": 10,
    "drop_path_rate": 0.0,
}

# `fingerprint(held(fill(network)), noise("image", (2, 3, 64, 64)))` for the networks of models/revcol.py and
# models/revcol_huge.py in megvii-research/RevCol at 1680848, with `save_memory` off and the idle scales of the first
# column no parameters; in eval mode of the last logits alone. With `save_memory` on, the reversible columns give the same
# within rounding.
RECORDED = {
    "narrow": {
        "params": 33044.0,
        "eval 0": 7.355478600581,
        "train 0": -10.07347468702,
        "train 1": -1.092514730248,
        "train 2": 2.244218362033,
        "train 3": -1.90166651457,
        "train 4": -282.5774196037,
        "train 5": -412.6679710248,
        "train 6": -74.53493704937,
        "gradients": -25489.00870224,
        "state": 0.0,
    },
    "eight columns": {
        "params": 61188.0,
        "eval 0": -2.963586530143,
        "train 0": 6.227606683035,
        "train 1": 3.176281212625,
        "train 2": 0.4413899608309,
        "train 3": 3.840872293735,
        "train 4": -304.968016048,
        "train 5": 107.9381573266,
        "train 6": -230.3744881822,
        "gradients": 91457.13733932,
        "state": 0.0,
    },
    "fine-tuned": {
        "params": 56262.0,
        "eval 0": 4.142257978884,
        "train 0": 4.142257978884,
        "gradients": 41.69597010102,
        "state": 0.0,
    },
    "bridge": {
        "params": 56794.0,
        "eval 0": 3.524223494724,
        "train 0": 3.524223494724,
        "gradients": -2178.181835664,
        "state": 0.0,
    },
    "revcol_tiny": {
        "params": 33063024.0,
        "eval 0": -82.55756192901,
        "train 0": -57.92904024143,
        "train 1": -102.4899096362,
        "train 2": 64.51980548664,
        "train 3": 44.54749328762,
        "train 4": -59.0549728087,
        "train 5": 403.5109293655,
        "train 6": -139.9356271438,
        "gradients": -72676.33793669,
        "state": 0.0,
    },
}


def held(module: nn.Module) -> nn.Module:
    """With scales of at least 1e-3, as the authors' code holds them before each step."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "alpha" in name:
                parameter.copy_(parameter.sign() * parameter.abs().clamp(min=1e-3))
    return module


def check(model: Model, name: str) -> None:
    module = held(fill(model.to_torch(dtype=torch.float64)))
    assert_recorded(fingerprint(module, noise("image", (2, 3, 64, 64))), RECORDED[name])


def test_narrow_network_is_the_authors() -> None:
    check(planform.load(FILE, plan="revcol_tiny", **NARROW), "narrow")


def test_bridge_is_the_authors() -> None:
    check(planform.load(FILE, plan="revcol_huge", **NARROW), "bridge")


@pytest.mark.slow
def test_longer_networks_are_the_authors() -> None:
    check(planform.load(FILE, plan="revcol_small", **NARROW), "eight columns")
    check(planform.load(FILE, plan="revcol_large", **NARROW), "fine-tuned")


@pytest.mark.slow
def test_revcol_tiny_is_the_authors() -> None:
    check(planform.load(FILE, plan="revcol_tiny", drop_path_rate=0.0), "revcol_tiny")
