"""Elaborating a plan in one mode: from a model and its bindings to a graph."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from ..compiler.graph.builder import Builder
from ..compiler.graph.graph import Graph, Value
from ..compiler.ops.core.base import Mode
from ..compiler.sizes.dims import Dim, Size, assuming, symbol
from ..compiler.sizes.limits import MAX_PROOF_WORK, proving
from ..compiler.types import TensorType
from . import limits, syntax
from .blocks import walk
from .budget import Budget
from .diagnostics import PlanError
from .run import Run
from .scope import Frame
from .statements import Statements
from .suggest import did_you_mean
from .values import BlockDef, BlockValue, Bound, Poisoned, Record, kind_of


class Elaboration(Statements):
    """One elaboration of a plan in one mode."""

    def __init__(
        self, name: str, mode: Mode, builder: Builder | None = None, budget: Budget | None = None
    ) -> None:
        Run.__init__(self, name, mode, budget)
        if sys.getrecursionlimit() < limits.RECURSION:
            sys.setrecursionlimit(limits.RECURSION)
        if builder is not None:
            self.builder = builder
        # Sizes that are declared as `P >= 0`; another axis of that name may be empty too.
        self._may_be_empty: set[str] = set()

    def bindings(self, arguments: tuple[syntax.Argument, ...], frame: Frame) -> dict[str, Any]:
        """The sizes of an `at (...)`; raises `PlanError`."""
        found: dict[str, Any] = {}
        for argument in arguments:
            value = self.evaluate(argument.value, frame)
            if argument.name is None:
                raise self.error(
                    "E206", argument, name="`at`", wanted="named sizes", got="this one has no name"
                )
            parts = cast("list[Any]", value) if isinstance(value, (list, tuple)) else [value]
            if not all(isinstance(part, int) and not isinstance(part, bool) and part >= 0 for part in parts):
                got = str(parts[0]) if isinstance(value, int) else kind_of(value)
                raise self.error(
                    "E201", argument, what="a bound size", wanted="an int of at least 0", got=got
                )
            found[argument.name] = value
        return found

    def model(self, plan: BlockValue, bindings: Mapping[str, Any], overrides: Mapping[str, Any]) -> Graph:
        """The graph of a plan; raises `PlanError` with everything that is wrong."""
        block = cast("BlockDef", plan.target)
        frame = Frame(block.file)
        at = block.syntax.target
        try:
            with self._proving(), assuming(self.builder.facts):
                self._check_bindings(block, bindings)
                arguments = {**plan.arguments, **{name: Bound(value) for name, value in overrides.items()}}
                inner = Frame(block.file, "", None, None, block.name)
                inputs = {
                    param.name: self._entry(param, bindings, arguments, inner) for param in block.inputs
                }
                inner.names.clear()
                inner.sizes.clear()
                self.bind_parameters(block, inputs, arguments, inner, at)
                result = self.run_block(block, inner, at)
                self._only_tensors(result, block, frame)
        except PlanError as error:
            self.report_all(error)
            raise type(error)(self.diagnostics) from None
        except Poisoned:
            raise PlanError(self.diagnostics) from None
        if self.diagnostics:
            raise PlanError(self.diagnostics)
        return self.builder.freeze(result)

    @contextmanager
    def _proving(self) -> Generator[None]:
        """Proofs and formulas inside are paid from the budget."""
        self.budget.spend(limits.ELABORATION)
        with proving(min(MAX_PROOF_WORK, max(0, self.budget.left) // limits.PROOF)) as allowance:
            try:
                yield
            finally:
                self.budget.spend(limits.PROOF * allowance.spent)

    def _check_bindings(self, block: BlockDef, bindings: Mapping[str, Any]) -> None:
        named = {
            axis.size.id
            for param in block.inputs
            if param.type is not None
            for axis in walk(param.type)
            if isinstance(axis, syntax.Axis) and isinstance(axis.size, syntax.Name)
        }
        for name in bindings:
            if name not in named:
                help = did_you_mean(name, named) or (
                    [f"its sizes are {', '.join(sorted(named))}"] if named else []
                )
                raise self.error("E505", block.syntax.target, name=name, help=help)

    def _entry(
        self, param: syntax.Param, bindings: Mapping[str, Any], arguments: Mapping[str, Bound], frame: Frame
    ) -> Any:
        """The program's input(s) for a parameter of a model."""
        for name, bound in arguments.items():
            frame.names.setdefault(name, bound.value)
        return self._entry_of(cast("syntax.Type", param.type), param.name, bindings, frame, param)

    def _entry_of(
        self, type: syntax.Type, name: str, bindings: Mapping[str, Any], frame: Frame, node: syntax.Node
    ) -> Any:
        if isinstance(type, syntax.ShapeType):
            shape = self._entry_shape(type, name, bindings, frame)
            dtype = "i64" if type.dtype == "int" else type.dtype or "float"
            return self.builder.input(name, TensorType(shape, dtype), self.origin(node, frame))
        if isinstance(type, syntax.RecordType):
            return Record(
                {key: self._entry_of(part, key, bindings, frame, node) for key, part in type.fields}
            )
        if isinstance(type, syntax.TupleType):
            parts = enumerate(type.items)
            return tuple(self._entry_of(part, f"{name}_{at}", bindings, frame, node) for at, part in parts)
        if isinstance(type, syntax.UnionType):
            return None
        what = f"`{name}`, whose type `{' '.join(type.span.text.split())}`"
        raise self.error("E306", node, what=f"shape of {what}", help=["write a shape: `x: [B, C, H, W]`"])

    def _entry_shape(
        self, type: syntax.ShapeType, name: str, bindings: Mapping[str, Any], frame: Frame
    ) -> tuple[Size, ...]:
        sizes: list[Size] = []
        for number, axis in enumerate(type.axes):
            if axis.kind == "any":
                sizes.append(symbol(f"{name}_{number}"))
            elif axis.kind == "leading" or axis.size is None:
                help = ["write the axes out: `[B, N, C]`"]
                raise self.error("E306", axis, what=f"number of axes of `{name}`", help=help)
            elif axis.kind == "spread":
                key = cast("syntax.Name", axis.size).id
                if key not in bindings:
                    help = [f"bind it: `plan NAME = model() at ({key}=[224, 224])`"]
                    raise self.error("E306", axis, what=f"number of axes of `{name}`", help=help)
                bound = bindings[key]
                sizes.extend(cast("list[Size]", bound) if isinstance(bound, (list, tuple)) else [bound])
            else:
                sizes.append(self._entry_axis(axis, bindings, frame))
        return tuple(sizes)

    def _entry_axis(self, axis: syntax.Axis, bindings: Mapping[str, Any], frame: Frame) -> Size:
        for part in _names(axis):
            if part.id not in frame.names and part.id not in frame.file.names:
                bound = bindings.get(part.id)
                frame.names[part.id] = symbol(part.id, axis.minimum) if bound is None else bound
                if axis.minimum == 0:
                    self._may_be_empty.add(part.id)
        value = self.evaluate(cast("syntax.Expr", axis.size), frame)
        if isinstance(value, bool) or not isinstance(value, (int, Dim)):
            raise self.error("E201", axis, what="an axis of a shape", wanted="a size", got=kind_of(value))
        minimum = (
            0 if isinstance(axis.size, syntax.Name) and axis.size.id in self._may_be_empty else axis.minimum
        )
        if isinstance(value, int) and value < minimum:
            raise self.error("E201", axis, what="a size", wanted=f"at least {axis.minimum}", got=str(value))
        return value

    def _only_tensors(self, result: Any, block: BlockDef, frame: Frame) -> None:
        pending = [result]
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                pending.extend(cast("dict[str, Any]", item).values())
            elif isinstance(item, (list, tuple)):
                pending.extend(cast("list[Any]", item))
            elif not isinstance(item, Value):
                raise self.error("E506", block.syntax.target, got=kind_of(item))


def _names(node: syntax.Node) -> list[syntax.Name]:
    return [part for part in walk(node) if isinstance(part, syntax.Name)]
