"""Samples of operators as kernels, to be held against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from planform.backends.tvm.build import build
from planform.backends.tvm.lower import lower
from planform.backends.tvm.machine import host
from planform.backends.tvm.runtime import Runner
from planform.compiler.graph import Builder, TensorType
from planform.compiler.ops import Op, registry

from .eager import tensors
from .opcases import samples

REGISTRY = registry()
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


def kernels(cores: list[Core], float_as: str) -> Runner:
    """One program with all of them side by side."""
    builder = Builder("samples")
    results: list[Any] = []
    for number, (op, slots, types) in enumerate(cores):
        operands = [builder.input(f"x{number}_{at}", type) for at, type in enumerate(types)]
        results.append(builder.add(op, operands, slots).results)
    lowered = lower(builder.freeze(tuple(results)), host(), float_as)
    return Runner(lowered.program, build(lowered, host()), {})


def to_numpy(x: torch.Tensor) -> np.ndarray:
    """The elements where they lie; those of bfloat16 as bits."""
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def to_torch(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """The elements where they lie, of bits where the type is bfloat16."""
    found = torch.from_numpy(x)
    return found.view(torch.bfloat16) if dtype == torch.bfloat16 else found
