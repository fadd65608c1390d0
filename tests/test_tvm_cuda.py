"""Kernels for GPUs, run on an emulated one: every operator and some networks against torch; nvcc compiles them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from planform.backends.tvm.cuda.build import build
from planform.backends.tvm.cuda.device import Gpu, gpu_of
from planform.backends.tvm.cuda.lower import lower
from planform.backends.tvm.cuda.runtime import GpuRunner
from planform.compiler.dtypes import bind
from planform.compiler.graph import Builder, TensorType
from planform.compiler.ops import Op, registry
from support.cuda_emulation import gpu as emulated_gpu
from support.eager import TORCH, run, tensors
from support.opcases import samples

REGISTRY = registry()
Core = tuple[Op, tuple[str, ...], tuple[TensorType, ...]]
TOLERANCE = {"f64": {"rtol": 1e-10, "atol": 1e-10}, "f32": {"rtol": 2e-5, "atol": 2e-6}}
# One of each way to write a kernel: tiles, rows, elements, programs, numpy.
QUICK = {
    "conv",
    "cumsum",
    "fft",
    "gelu",
    "layer_norm",
    "matmul",
    "max_pool",
    "scaled_dot_product_attention",
    "scatter_add",
    "softmax",
}


def machine() -> Gpu:
    return gpu_of({"kind": "cuda", "arch": "sm_90"})


def _cores(name: str) -> list[Core]:
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
    lowered = lower(builder.freeze(tuple(results)), machine(), float_as)
    return GpuRunner(lowered.program, build(lowered, machine()), {})


@pytest.mark.parametrize(
    ("name", "float_as"),
    [
        pytest.param(name, float_as, marks=() if name in QUICK and float_as == "f32" else pytest.mark.slow)
        for name in sorted(REGISTRY)
        for float_as in ("f32", "f64")
    ],
)
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    cores = _cores(name)
    if not cores:
        return
    operands = [_operands(types, op, float_as) for op, _, types in cores]
    flat = [_to_numpy(x) for each in operands for x in each]
    with emulated_gpu():
        answers = _kernels(cores, float_as)(*flat)
    for (op, slots, types), given, found in zip(cores, operands, answers, strict=True):
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
