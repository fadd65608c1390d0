"""What a graph computes in float64, and how far rounding may take it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from planform.backends.torch.leaves import register
from planform.backends.torch.lower import GraphLowering
from planform.compiler.graph.graph import Graph, Weight
from support.random_graphs import tensors

from .choices import Exact, Rounding, Shaken
from .text import RandomProgram


class Evaluator:
    """A graph by torch's own operators in float64, without any pass."""

    def __init__(self, graph: Graph, declared: Mapping[str, Weight], weights: Mapping[str, Tensor]) -> None:
        root = nn.Module()
        register(root, declared, {}, lambda weight: weights[weight.path])
        lowering = GraphLowering(torch.float64)
        lowered = lowering.lower(graph)
        for name, loop in lowering.loops.items():
            root.add_module(name, loop)
        self.module = fx.GraphModule(root, lowered)

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        return self.trace(inputs).results

    def trace(self, inputs: list[Tensor], most: float | None = None) -> Trace:
        """The results, and what others there may be; numbers beyond `most` become infinite."""
        return Trace(self.module, inputs, most)


class Trace:
    """One run in float64."""

    @torch.no_grad()
    def __init__(self, module: fx.GraphModule, inputs: list[Tensor], most: float | None = None) -> None:
        self.inputs = inputs
        self.exact = Exact(module, most)
        self.results = tensors(self.exact.run(*[x.clone() for x in inputs]))
        self.errors: dict[fx.Node, float] = {}

    @torch.no_grad()
    def rounded(self, dtype: torch.dtype, seed: int) -> list[Tensor]:
        """The results with each value rounded to a type; whatever was chosen is chosen again."""
        return tensors(Rounding(self.exact, dtype, seed, self.errors).run(*[x.clone() for x in self.inputs]))

    @torch.no_grad()
    def shaken(self, times: float) -> Iterator[list[Tensor]]:
        """Results where choices between numbers fall otherwise that are as near as so many times their error.

        The error is that of the runs with rounding before.
        """
        if not self.exact.choices and not self.exact.overflowing:
            return
        reach = {node: times * error for node, error in self.errors.items()}
        for number in range(2 * self.exact.pairs):
            shaken = Shaken(self.exact, reach, 1000 * (number // 2), turned=bool(number % 2))
            try:
                yield tensors(shaken.run(*[x.clone() for x in self.inputs]))
            except (RuntimeError, IndexError, ValueError):  # no index may come of it
                continue


def shapes_of(program: RandomProgram) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """The element type and shape of each value of a program, where they are written in sizes alone."""
    from planform import PlanError
    from planform.api.plan_file import PlanFile

    names = [name for statement in program.statements for name in statement.results]
    text = replace(program, fold=None).text
    whole = re.sub(r"    return \(.*,\)$", f"    return {{{', '.join(names)}}}", text, flags=re.MULTILINE)
    try:
        graph = PlanFile.from_text(whole, "shapes.plan").program("net", None, None, ("eval",)).graph
    except PlanError:
        return {}
    values = dict(zip(graph.input_names, graph.inputs, strict=True))
    values |= graph.output if isinstance(graph.output, dict) else {}
    found: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    for name, value in values.items():
        sizes = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
        if all(isinstance(size, int) or size.isidentifier() for size in sizes):
            found[name] = value.type.dtype, sizes
    return found
