"""MambaOut against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import planform
from planform.api.model import Model
from support.parity import assert_initialised_alike, assert_parity, assert_same, images, randomised

FILE = Path(__file__).parents[2] / "examples/convnets/mambaout.plan"
DEPTHS, WIDTHS = [1, 2, 2, 1], [16, 22, 30, 40]
SIZES = ["kobe", "tiny", "small", "base"]
LATER = ["small_rw", "base_short_rw", "base_tall_rw", "base_wide_rw", "base_plus_rw"]
SMALL = {"depths": DEPTHS, "widths": WIDTHS, "classes": 10}


def still(name: str, **parameters: Any) -> Model:
    """A plan without randomness."""
    return planform.load(FILE, plan=name, drop_path_rate=0.0, **parameters)


def timms(timm: ModuleType, **options: Any) -> nn.Module:
    """A small network of timm's family; the widths times 8/3 are no integers."""
    return timm.models.mambaout.MambaOut(depths=DEPTHS, dims=WIDTHS, num_classes=10, **options)


def assert_timms(ours: Model, timm: ModuleType, **options: Any) -> None:
    """Assert parity, also on sides that do not divide by 32, and equal initial distributions."""
    build = partial(timms, timm, **options)
    assert_parity(ours, build())
    assert_parity(ours, build(), [images(2, 77)[..., :70]])
    assert_initialised_alike(ours, build)


def test_is_timms(timm: ModuleType) -> None:
    assert_timms(still("mambaout_femto", **SMALL), timm)


def test_later_form_is_timms(timm: ModuleType) -> None:
    options = {"stem_mid_norm": False, "downsample": "conv_nf", "ls_init_value": 1e-6, "head_fn": "norm_mlp"}
    ours = still("mambaout_base_wide_rw", **SMALL)
    assert_timms(ours, timm, expansion_ratio=3.0, conv_ratio=1.5, act_layer="silu", **options)


def test_smallest_variant_is_timms(timm: ModuleType) -> None:
    assert_parity(still("mambaout_femto"), timm.create_model("mambaout_femto"))


def test_deployed_is_timms_in_eval_mode(timm: ModuleType) -> None:
    """Norms over channels divide by what they see; only their scales and shifts are merged."""
    reference = randomised(timms(timm)).eval()
    ours = still("mambaout_femto", **SMALL)
    module = ours.to_torch(dtype=torch.float64, mode="deploy", state_dict=reference.state_dict())
    with torch.no_grad():
        assert_same(module(images(2, 64)), reference(images(2, 64)), "deployed")


def test_stochastic_depth_grows_as_timms(timm: ModuleType) -> None:
    """Each block drops with the probability that timm gives it."""
    with torch.device("meta"):
        reference = timm.create_model("mambaout_small", drop_path_rate=0.4)
    wanted = [module.drop_prob for module in reference.modules() if isinstance(module, timm.layers.DropPath)]
    graph = planform.load(FILE, plan="mambaout_small").program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path"]
    assert [p for p in found if p > 0] == pytest.approx(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("size", [*SIZES, *LATER])
def test_variant_is_timms(size: str, timm: ModuleType) -> None:
    assert_parity(still(f"mambaout_{size}"), timm.create_model(f"mambaout_{size}"))
