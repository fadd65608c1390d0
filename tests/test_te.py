"""Every operator as a kernel against torch: all samples of the registry, in float64 and in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from planform.backends.tvm.build import build
from planform.backends.tvm.lower import lower
from planform.backends.tvm.machine import host
from planform.backends.tvm.runtime import Runner
from planform.compiler.dtypes import bind
from planform.compiler.graph import Builder, TensorType
from planform.compiler.ops import Op, registry
from support.eager import TORCH, run, tensors
from support.opcases import samples

REGISTRY = registry()
Core = tuple[Op, tuple[str, ...], tuple[TensorType, ...]]
TOLERANCE = {"f64": {"rtol": 1e-10, "atol": 1e-10}, "f32": {"rtol": 2e-5, "atol": 2e-6}}


def _cores(name: str) -> list[Core]:
    """The samples as core operators in eval mode; those that move state or are the identity are left out."""
    found: list[Core] = []
    for application in samples(REGISTRY[name]):
        op, slots, types = application.core()
        other = op.in_mode("eval")
        if other is not None and "state" not in other.effects:
            found.append((other, slots, types))
    return found


def _operands(types: tuple[TensorType, ...], op: Op, float_as: str) -> list[torch.Tensor]:
    given = [(type.dtype, tuple(int(size) for size in type.shape)) for type in types]
    found = tensors(given, float_as)
    domain = getattr(op, "domain", None)
    if domain is not None:
        low, high = domain
        found = [low + (high - low) * torch.rand_like(x) if x.is_floating_point() else x for x in found]
    return found


def _kernels(cores: list[Core], float_as: str) -> Any:
    """One program with all of them side by side."""
    builder = Builder("samples")
    results = []
    for number, (op, slots, types) in enumerate(cores):
        operands = [builder.input(f"x{number}_{at}", type) for at, type in enumerate(types)]
        results.append(builder.add(op, operands, slots).results)
    lowered = lower(builder.freeze(tuple(results)), host(), float_as)
    return Runner(lowered.program, build(lowered, host()), {})


@pytest.mark.parametrize("float_as", ["f64", "f32"])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    cores = _cores(name)
    if not cores:
        return
    operands = [_operands(types, op, float_as) for op, _, types in cores]
    runner = _kernels(cores, float_as)
    flat = [_to_numpy(x) for each in operands for x in each]
    for (op, slots, types), given, found in zip(cores, operands, runner(*flat), strict=True):
        wanted = run(op, slots, [x.clone() for x in given], float_as)
        for left, right, type in zip(found, wanted, op.infer(types, slots)[0], strict=True):
            assert bind(type.dtype, float_as) == {v: k for k, v in TORCH.items()}[right.dtype]
            tensor = _to_torch(left, right.dtype)
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


def _to_numpy(x: torch.Tensor) -> np.ndarray:
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def _to_torch(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    found = torch.from_numpy(x)
    return found.view(torch.bfloat16) if dtype == torch.bfloat16 else found
