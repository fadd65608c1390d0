"""Samples of operators as kernels, to be held against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower
from planform.backends.tvm.runtime.runner import Runner
from planform.compiler.dtypes import bind
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Graph
from planform.compiler.ops import Op, registry
from planform.compiler.types import TensorType

from .eager import PLAN, run, tensors
from .opcases import samples

REGISTRY = registry()
TOLERANCE = {"f64": {"rtol": 1e-10, "atol": 1e-10}, "f32": {"rtol": 2e-5, "atol": 2e-6}}
Core = tuple[Op, tuple[str, ...], tuple[TensorType, ...]]


def cores_of(name: str) -> list[Core]:
    """The samples as core operators in eval mode; those that move state or are the identity are left out."""
    found: list[Core] = []
    for application in samples(REGISTRY[name]):
        op, slots, types = application.core()
        other = op.in_mode("eval")
        if other is not None and "state" not in other.effects:
            found.append((other, slots, types))
    return found


def operands_of(types: tuple[TensorType, ...], op: Op, float_as: str) -> list[torch.Tensor]:
    """Random operands of these types, in the operator's domain."""
    given = [(type.dtype, tuple(int(size) for size in type.shape)) for type in types]
    found = tensors(given, float_as)
    domain = getattr(op, "domain", None)
    if domain is not None:
        low, high = domain
        found = [low + (high - low) * torch.rand_like(x) if x.is_floating_point() else x for x in found]
    return found


def graph_of(cores: list[Core]) -> Graph:
    """One graph with all of them side by side."""
    builder = Builder("samples")
    results: list[Any] = []
    for number, (op, slots, types) in enumerate(cores):
        operands = [builder.input(f"x{number}_{at}", type) for at, type in enumerate(types)]
        results.append(builder.add(op, operands, slots).results)
    return builder.freeze(tuple(results))


def kernels(cores: list[Core], float_as: str) -> Runner:
    """One program with all of them side by side."""
    lowered = lower(graph_of(cores), host(), float_as)
    return Runner(lowered.program, build(lowered, host()), {})


def assert_equal_torch(
    cores: list[Core], operands: list[list[torch.Tensor]], answers: Any, float_as: str
) -> None:
    """Hold the answers of a program against torch: types, shapes and, but for random ones, elements."""
    for (op, slots, types), given, found in zip(cores, operands, answers, strict=True):
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


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """The elements where they lie; those of bfloat16 as bits."""
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def to_torch(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """The elements where they lie, of bits where the type is bfloat16."""
    found = torch.from_numpy(x)
    return found.view(torch.bfloat16) if dtype == torch.bfloat16 else found
