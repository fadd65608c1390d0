"""Every operator as a kernel against torch: all samples of the registry, in float64 and in float32."""

from __future__ import annotations

import pytest
import torch

from planform.compiler.dtypes import bind
from support.eager import PLAN, run
from support.kernels import REGISTRY, cores_of, kernels, operands_of, to_numpy, to_torch

TOLERANCE = {"f64": {"rtol": 1e-10, "atol": 1e-10}, "f32": {"rtol": 2e-5, "atol": 2e-6}}


@pytest.mark.parametrize("float_as", ["f64", "f32"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    cores = cores_of(name)
    if not cores:
        return
    operands = [operands_of(types, op, float_as) for op, _, types in cores]
    runner = kernels(cores, float_as)
    flat = [to_numpy(x) for each in operands for x in each]
    for (op, slots, types), given, found in zip(cores, operands, runner(*flat), strict=True):
        wanted = run(op, slots, [x.clone() for x in given], float_as)
        for left, right, type in zip(found, wanted, op.infer(types, slots)[0], strict=True):
            assert bind(type.dtype, float_as) == PLAN[right.dtype]
            tensor = to_torch(left, right.dtype)
            assert tensor.shape == right.shape, f"{op}"
            if "random" in op.effects:
                assert not tensor.is_floating_point() or tensor.isfinite().all()
                continue
            torch.testing.assert_close(
                tensor,
                right,
                equal_nan=True,
                msg=lambda text, op=op, types=types: f"{op} {types}: {text}",
                **TOLERANCE[float_as],
            )
