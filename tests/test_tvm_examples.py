"""Plans of the atlas as machine code against torch running the same plan with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten

import planform
from planform.api.locate import examples
from planform.api.model import Model
from planform.compiler.sizes.symbols import readings

EXAMPLES = {path.stem: path for path in examples()}
# One convolutional network, one with attention, one with a recurrence.
QUICK = ("mobilenet_v2", "deit", "lrcn")
# Yi has billions of parameters. STU-Net's volumes have no template yet, and take minutes.
SLOW = sorted(EXAMPLES.keys() - {*QUICK, "yi", "stunet"})
# Unpadded convolutions, the auxiliary head and regions need room.
SIDES = {"unet": 204, "inception_v3": 299, "biformer": 112, "halonet": 256}


def _inputs(model: Model, side: int) -> list[torch.Tensor]:
    """A batch of two for the plan's inputs, free sides being `side`."""
    generator = torch.Generator().manual_seed(1)
    found: list[torch.Tensor] = []
    for value in model.graph.inputs:
        shape = [
            size if isinstance(size, int) else side if axis > 1 else 2
            for axis, size in enumerate(value.shape)
        ]
        if value.type.dtype in ("float", "f32"):
            found.append(torch.randn(shape, generator=generator))
        else:
            found.append(torch.randint(0, 10, shape, generator=generator))
    return found


def _sizes(model: Model, inputs: list[torch.Tensor]) -> dict[str, int]:
    found = readings([value.shape for value in model.graph.inputs])
    return {
        reading.symbol: (inputs[reading.input].shape[reading.axis] - reading.offset) // reading.factor
        for reading in found.values()
    }


def _compare(stem: str, free: bool) -> None:
    model = planform.load(str(EXAMPLES[stem]))
    inputs = _inputs(model, SIDES.get(stem, 64))
    eager = model.to_torch(seed=0).eval()
    bound = model if free else model.at(**_sizes(model, inputs))
    compiled = bound.to_tvm(eager.state_dict(), cached=False)
    with torch.inference_mode():
        wanted: list[Any] = tree_flatten(eager(*inputs))[0]
    found = tree_flatten(compiled(*inputs))[0]
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        if not isinstance(right, torch.Tensor) or not right.is_floating_point():
            torch.testing.assert_close(left, right)
            continue
        assert left.shape == right.shape
        # Of hundreds of layers in float32, beside the largest result.
        # Networks of spikes that are not trained may be silent.
        error = (left - right).abs().max() / right.abs().max().clamp(min=1e-6) if right.numel() else 0.0
        assert error < 1e-4, f"{stem}: {error}"


@pytest.mark.parametrize("stem", QUICK)
def test_a_plan_computes_the_same_as_machine_code(stem: str) -> None:
    _compare(stem, free=False)


@pytest.mark.parametrize("stem", QUICK[:2])
def test_a_plan_of_free_sizes_computes_the_same(stem: str) -> None:
    _compare(stem, free=True)


@pytest.mark.slow
@pytest.mark.parametrize("stem", SLOW)
def test_the_atlas_computes_the_same_as_machine_code(stem: str) -> None:
    _compare(stem, free=False)


@pytest.mark.slow
@pytest.mark.parametrize("stem", SLOW)
def test_the_atlas_computes_the_same_with_free_sizes(stem: str) -> None:
    _compare(stem, free=True)
