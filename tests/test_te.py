"""Every operator as a kernel against torch: all samples of the registry, in float64 and in float32."""

from __future__ import annotations

import pytest

from support.kernels import REGISTRY, assert_equal_torch, cores_of, kernels, operands_of, to_numpy
from support.timing import Stopwatch


@pytest.mark.parametrize("float_as", ["f64", "f32"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    cores = cores_of(name)
    if not cores:
        return
    operands = [operands_of(types, op, float_as) for op, _, types in cores]
    with Stopwatch() as watch:
        runner = kernels(cores, float_as)
    # The dearest take less than one: no operator may be written in a way that takes TVM long.
    assert watch.seconds < 5
    flat = [to_numpy(x) for each in operands for x in each]
    assert_equal_torch(cores, operands, runner(*flat), float_as)
