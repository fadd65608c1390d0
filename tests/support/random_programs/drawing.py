"""Inputs and weights that show differences: every one random, scales over decades, variances positive."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from planform.compiler.dtypes import is_float
from planform.compiler.graph.graph import Graph, Weight
from support.eager import TORCH

_BELOW = 4
# What some elements of some inputs are instead, by the name that a program has for it.
SPECIAL = {
    "": (),
    "zeros": (0.0, -0.0, 1e-40, -1e-40),
    "nonfinite": (float("nan"), float("inf"), -float("inf"), 0.0, -0.0),
    "huge": (3e38, -3e38, 1e30, -1e20, 1e-30, 1e-40, float("inf"), 0.0),
}


def draw(
    name: str, dtype: str, shape: tuple[int, ...], seed: int, below: int | None = None, special: str = ""
) -> Tensor:
    """An input: floats are normal numbers of float32 in float64, the largest integer is `below` - 1."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name} {shape}".encode()))
    if dtype == "float" or is_float(dtype):
        normal = torch.randn(shape, generator=generator, dtype=torch.float32).double()
        return _sprinkled(normal, SPECIAL[special], generator) if special else normal
    made = torch.complex128 if dtype == "complex" else TORCH[dtype]
    if made.is_complex:
        return torch.randn(shape, generator=generator, dtype=torch.complex64).to(made)
    limit = 2 if made == torch.bool else below or _BELOW
    found = torch.randint(0, limit, shape, generator=generator)
    if found.numel() > 1:
        found.view(-1)[-1] = limit - 1
    return found.to(made)


def _sprinkled(x: Tensor, numbers: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """A tensor with a few of its elements replaced; some are left as they are."""
    if not x.numel() or torch.rand((), generator=generator) < 0.25:
        return x
    count = 1 + x.numel() // 20
    places = torch.randperm(x.numel(), generator=generator)[:count]
    drawn = torch.randint(len(numbers), (count,), generator=generator)[: len(places)]
    x.view(-1)[places] = torch.tensor(numbers, dtype=x.dtype)[drawn].float().double()
    return x


def weights_of(weights: Mapping[str, Weight], seed: int) -> dict[str, Tensor]:
    """All weights of a program in float64 (numbers of float32), by path.

    Maps are scaled by their fan-in, so that values stay near 1; channels differ by a decade.
    """
    return {path: _weight(path, weight, seed) for path, weight in weights.items()}


def _weight(path: str, weight: Weight, seed: int) -> Tensor:
    shape = [int(str(size)) for size in weight.type.shape]
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {path} {shape}".encode()))
    if weight.type.dtype not in ("float", "f16", "bf16", "f32", "f64", "complex", "c64", "c128"):
        return torch.ones(shape, dtype=TORCH[weight.type.dtype])
    normal = torch.randn(shape, generator=generator)
    decade = 10 ** (torch.rand(shape[:1], generator=generator) - 0.7)
    decade = decade.reshape(shape[:1] + [1] * (len(shape) - 1)) if shape else decade.sum()
    if path.endswith("running_var"):
        return ((0.3 + normal.abs()) * decade).double()
    if len(shape) < 2:
        return (normal.sign() * (0.2 + normal.abs()) * decade).double()
    fan = max(normal[0].numel(), 1)
    return (normal * decade / fan**0.5).double()


def inputs_of(
    graph: Graph, sizes: Mapping[str, int], seed: int, below: Mapping[str, int], special: str = ""
) -> list[Tensor]:
    """The inputs of a graph at those sizes of its symbols."""
    found: list[Tensor] = []
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = tuple(sizes[str(size)] if str(size) in sizes else int(str(size)) for size in value.shape)
        found.append(draw(name, value.type.dtype, shape, seed, below.get(name), special))
    return found
