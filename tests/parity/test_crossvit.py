"""CrossViTs against timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from planform.api.model import Model
from planform.dsl.values import Record
from support.parity import assert_initialised_alike, assert_parity, images

FILE = Path(__file__).parents[2] / "examples/transformers/crossvit.plan"
# Streams of 4 x 4 and of 2 x 2 patches. That a block has fewer heads than features differ shows the other's heads.
SMALL = [
    Record(size=48, patch=12, dim=16, depth=1, heads=2, mlp_ratio=3.0),
    Record(size=32, patch=16, dim=24, depth=2, heads=3, mlp_ratio=2.0),
]
TIMM_SMALL = {
    "img_size": 48,
    "img_scale": (1.0, 32 / 48),
    "patch_size": [12, 16],
    "embed_dim": [16, 24],
    "depth": [[1, 2, 0], [1, 2, 0]],
    "num_heads": [2, 3],
    "mlp_ratio": [3, 2, 1],
    "num_classes": 10,
}


def small(name: str) -> Model:
    """A plan cut down to two encoders of two narrow streams."""
    return planform.load(FILE, plan=name, branches=SMALL, encoders=2, classes=10).at(H=48, W=48)


def test_crossvit_is_timms(timm: ModuleType) -> None:
    build = partial(timm.models.crossvit.CrossVit, **TIMM_SMALL)
    ours = small("crossvit_9_240")
    assert_parity(ours, build(), size=48)
    assert_initialised_alike(ours, build)


def test_crossvit_with_convolutions_is_timms(timm: ModuleType) -> None:
    build = partial(timm.models.crossvit.CrossVit, multi_conv=True, **TIMM_SMALL)
    ours = small("crossvit_9_dagger_240")
    assert_parity(ours, build(), size=48)
    assert_initialised_alike(ours, build)


def test_stochastic_depth_stands_where_timms_does(timm: ModuleType) -> None:
    """Blocks of both streams and the fusions of an encoder share its rates."""
    reference = timm.create_model("crossvit_9_240", drop_path_rate=0.3)
    wanted = [module.drop_prob for module in reference.modules() if isinstance(module, timm.layers.DropPath)]
    graph = planform.load(FILE, plan="crossvit_9_240", drop_path_rate=0.3).program.graphs["train"]
    found = [node.op.p for node in graph.nodes if node.op.name == "drop_path" and node.op.p > 0]
    assert sorted(found) == pytest.approx(sorted(wanted))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *[f"crossvit_{size}_240" for size in ("tiny", "small", "base", "9", "15", "18")],
        *[f"crossvit_{size}_dagger_240" for size in ("9", "15", "18")],
        *[f"crossvit_{size}_dagger_408" for size in ("15", "18")],
    ],
)
def test_variant_is_timms(name: str, timm: ModuleType) -> None:
    """At the published resolution, since the positions depend on it."""
    image = images(1, int(name[-3:]))
    modes = ("eval", "train") if "9" in name else ("eval",)
    assert_parity(planform.load(FILE, plan=name), timm.create_model(name), [image], modes=modes)
