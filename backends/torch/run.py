"""Running a plan's module once: inputs by name, outputs by name, and the time it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...compiler.graph.graph import Graph
from .dtypes import torch_dtype
from .module import PlanModule


class Outcome(NamedTuple):
    """The results of a run by name, and the median time of a call in seconds."""

    outputs: dict[str, Tensor]
    seconds: float


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a graph without free sizes: normal numbers, or 0 and 1 where the input holds integers."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, value in zip(graph.input_names, graph.inputs, strict=True):
        shape = [int(size) for size in value.shape]  # pyright: ignore[reportArgumentType]  # sizes are bound
        dtype = torch_dtype(value.type.dtype, torch.float32)
        if dtype.is_floating_point or dtype.is_complex:
            found[name] = torch.randn(shape, dtype=dtype, generator=generator)
        else:
            found[name] = torch.randint(2, shape, generator=generator).to(dtype)
    return found


def run(module: PlanModule, inputs: Mapping[str, Any], budget: float = 0.5, most: int = 10) -> Outcome:
    """Run a module in eval mode on tensors or arrays by name.

    Calls are repeated for the time, after one that is not counted, until `budget` seconds or `most` calls;
    a `budget` of 0 runs once.
    """
    module.eval()
    tensors = [torch.as_tensor(value) for value in inputs.values()]
    with torch.inference_mode():
        start = time.perf_counter()
        result = module(*tensors)
        times = [time.perf_counter() - start]
        if times[0] < budget:
            times.clear()
            while len(times) < most and (not times or sum(times) < budget):
                start = time.perf_counter()
                module(*tensors)
                times.append(time.perf_counter() - start)
    return Outcome(dict(named(result)), median(times))


def named(result: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a result by name: those of records by field, those of lists and tuples by number."""
    if isinstance(result, Tensor):
        yield name or "result", result
    elif isinstance(result, Mapping):
        for key, part in result.items():
            yield from named(part, f"{name}.{key}" if name else str(key))
    elif isinstance(result, (list, tuple)):
        for number, part in enumerate(result):
            yield from named(part, f"{name}.{number}" if name else str(number))
