"""What a graph computes in float64, and how far rounding may take it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from planform.backends.torch.leaves import register
from planform.backends.torch.lower import GraphLowering
from planform.compiler.graph import Graph, Weight
from support.random_graphs import tensors

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

    @torch.no_grad()
    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        return tensors(_Exact(self.module).run(*[x.clone() for x in inputs]))

    @torch.no_grad()
    def rounded(self, inputs: list[Tensor], dtype: torch.dtype, seed: int) -> list[Tensor]:
        """The same with each result rounded to a type, up or down by chance (arXiv:2207.10321)."""
        return tensors(_Rounding(self.module, dtype, seed).run(*[x.clone() for x in inputs]))


# What they give of equal elements is open.
_ORDERED = frozenset(["sort", "argsort", "topk", "argmax", "argmin", "cummax", "cummin"])


class _Exact(fx.Interpreter):
    """Raises ValueError where the result would not be defined."""

    def run_node(self, n: fx.Node) -> Any:
        name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
        if name in _ORDERED or "with_indices" in name:
            x = self.fetch_args_kwargs_from_env(n)[0][0]
            if isinstance(x, Tensor) and not x.is_complex() and x.unique().numel() < x.numel():
                raise ValueError(f"{name} of equal elements")
        return super().run_node(n)


class _Rounding(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, dtype: torch.dtype, seed: int) -> None:
        super().__init__(module)
        self.kind = dtype
        self.generator = torch.Generator().manual_seed(seed)

    def run_node(self, n: fx.Node) -> Any:
        return self._round(super().run_node(n))

    def _round(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(self._round(each) for each in value)
        if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
            return value
        if value.dtype == torch.complex128:
            pairs = torch.view_as_real(value.resolve_conj())
            return torch.view_as_complex(self._round(pairs).contiguous())
        if value.dtype != torch.float64 or not value.numel():
            return value
        exact = value.to(self.kind).double()
        # What is a number of the type already was copied, chosen or counted.
        if torch.equal(exact.nan_to_num(), value.nan_to_num()):
            return value
        step = torch.finfo(self.kind).eps
        chance = torch.rand(value.shape, generator=self.generator, dtype=torch.float64) * 2 - 1
        moved = (value * (1 + step * chance)).to(self.kind).double()
        return torch.where(exact == value, value, moved)


def shapes_of(program: RandomProgram) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """The element type and shape of each value of a program, where they are written in sizes alone."""
    from planform import PlanError
    from planform.api import PlanFile

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
