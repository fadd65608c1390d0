"""What a plan asks of its inputs, checked when the module runs eagerly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.fx
from torch import nn
from torch.jit._trace import is_tracing

from ...compiler.dtypes import DType
from ...compiler.graph.program import Program
from ...compiler.sizes.dims import Dim, Size, free_symbols, render
from ...compiler.sizes.symbols import linear, value_of
from .contract import axes_of, check_inputs
from .errors import InputError


class InputSpec(NamedTuple):
    """An input as the plan declares it."""

    name: str
    shape: tuple[Size, ...]
    dtype: DType


class Constraint(NamedTuple):
    """A relation between sizes that only the actual sizes decide."""

    relation: str
    left: Size
    right: Size
    message: str

    def holds(self, bindings: dict[str, int]) -> bool:
        """Whether it holds for these values of the symbols."""
        left, right = value_of(self.left, bindings), value_of(self.right, bindings)
        if self.relation == "%":
            return right != 0 and left % right == 0
        return left == right if self.relation == "==" else left >= right

    def __str__(self) -> str:
        if self.relation == "%":
            return f"{render(self.left)} must be a multiple of {render(self.right)}"
        verb = "must equal" if self.relation == "==" else "must be at least"
        return f"{render(self.left)} {verb} {render(self.right)}"


class Guards(nn.Module):
    """Checks ranks, types and sizes of the inputs, and the constraints that the plan could not prove.

    It computes nothing and steps aside while torch compiles, exports or traces: then the sizes may be
    symbolic, and the tracer keeps guards of its own.
    """

    # Tells fx's removal of dead code that a call without users is there for a reason.
    _is_impure = True

    def __init__(
        self, plan: str, inputs: Sequence[InputSpec], constraints: Mapping[str, Sequence[Constraint]]
    ) -> None:
        super().__init__()
        self.plan = plan
        self.inputs = tuple(inputs)
        self.constraints = constraints
        self.axes = axes_of([spec.shape for spec in inputs])
        self.accepted: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, program: Program) -> Guards:
        """The guards of a program's graphs, whose inputs agree."""
        graph = next(iter(program.graphs.values()))
        specs = [
            InputSpec(name, value.type.shape, value.type.dtype)
            for name, value in zip(graph.input_names, graph.inputs, strict=True)
        ]
        constraints = {
            mode: tuple(Constraint(g.relation, g.left, g.right, g.message) for g in graph.guards)
            for mode, graph in program.graphs.items()
        }
        return cls(program.name, specs, constraints)

    def forward(self, *inputs: Any) -> None:
        """Raise `InputError` if the inputs do not fit."""
        if torch.compiler.is_compiling() or is_tracing() or any(_is_symbolic(x) for x in inputs):
            return
        given = [(x.shape, x.dtype) if isinstance(x, torch.Tensor) else type(x) for x in inputs]
        seen = self.training, *given
        if seen != self.accepted:
            self._check(inputs)
            self.accepted = seen

    def _check(self, inputs: tuple[Any, ...]) -> None:
        given = [
            (spec.name, value, spec.dtype, axes)
            for spec, value, axes in zip(self.inputs, inputs, self.axes, strict=True)
        ]
        try:
            bindings: dict[str, int] = check_inputs(self.plan, given)
        except ValueError as error:
            raise InputError(str(error)) from None
        # Sizes that are formulas of the symbols wait until all symbols are known.
        for spec, value in zip(self.inputs, inputs, strict=True):
            for axis, size in enumerate(spec.shape):
                if isinstance(size, Dim) and linear(size) is None and free_symbols(size) <= bindings.keys():
                    wanted = value_of(size, bindings)
                    if value.shape[axis] != wanted:
                        known = ", ".join(f"{name} = {bindings[name]}" for name in sorted(free_symbols(size)))
                        raise InputError(
                            f"{self.plan}: {spec.name} has shape {list(value.shape)}, and must be "
                            f"{_text(spec.shape)}: axis {axis} is {value.shape[axis]}, not {wanted} ({known})"
                        )
        mode, other = ("train", "eval") if self.training else ("eval", "train")
        for constraint in self.constraints.get(mode, ()):
            names = free_symbols(constraint.left) | free_symbols(constraint.right)
            if names <= bindings.keys() and not constraint.holds(bindings):
                known = ", ".join(f"{name} = {bindings[name]}" for name in sorted(names))
                both = other not in self.constraints or constraint in self.constraints[other]
                where = self.plan if both else f"{self.plan} in {mode} mode"
                raise InputError(f"{where}: {constraint.message}: {constraint}, and here {known}")

    def extra_repr(self) -> str:
        """The inputs' shapes, for `print(module)`."""
        return ", ".join(f"{spec.name}: {_text(spec.shape)}" for spec in self.inputs)


def _text(shape: tuple[Size, ...]) -> str:
    return "[" + ", ".join(render(size) for size in shape) + "]"


def _is_symbolic(value: Any) -> bool:
    """Whether it stands for a value that is not there yet, as under fx's and export's tracers."""
    if isinstance(value, torch.Tensor):
        return any(not isinstance(size, int) for size in value.shape)
    return isinstance(value, torch.fx.Proxy)
