"""Reading parts: items and fields of static values, slices of lists, subscripts of tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

from ..compiler.graph.graph import Value
from ..compiler.sizes.dims import Dim
from . import syntax
from .foreign import of_method
from .run import Run
from .scope import Frame
from .suggest import did_you_mean
from .values import POISON, BlockValue, Poisoned, Record, SharedValue, kind_of


class Access(Run, ABC):
    """The part of elaboration that reads parts of values."""

    @abstractmethod
    def evaluate(self, node: syntax.Expr, frame: Frame) -> Any:
        """The value of an expression."""

    @abstractmethod
    def apply(self, name: str, inputs: list[Any], node: syntax.Node, frame: Frame, **arguments: Any) -> Any:
        """Apply an operator of the registry to tensors."""

    @abstractmethod
    def operator_names(self) -> list[str]:
        """The names of the registry."""

    @abstractmethod
    def shared_weight(self, shared: SharedValue, node: syntax.Attribute, frame: Frame) -> Any:
        """Read a weight of a shared block."""

    def _eval_Index(self, node: syntax.Index, frame: Frame) -> Any:
        value, item = self.evaluate(node.value, frame), self.evaluate(node.item, frame)
        if isinstance(value, Value):
            if isinstance(item, int) and not isinstance(item, bool):
                return self.apply("select", [value], node, frame, axis=0, index=item)
            if isinstance(item, Value):
                return self.apply("take", [value, item], node, frame, axis=0)
        if isinstance(value, Record) and isinstance(item, str):
            if item not in value:
                help = did_you_mean(item, list(value))
                raise self.error("E202", node, frame, message=f"the record has no field `{item}`", help=help)
            return self._clean(value[item])
        if isinstance(value, (list, tuple)) and isinstance(item, int) and not isinstance(item, bool):
            items = cast("list[Any]", value)
            if not -len(items) <= item < len(items):
                raise self.error(
                    "E202", node, frame, message=f"index {item} is outside the list of {len(items)}"
                )
            return self._clean(items[item])
        raise self.error("E213", node, frame, op="[]", left=kind_of(value), right=kind_of(item))

    def _eval_Slice(self, node: syntax.Slice, frame: Frame) -> Any:
        value = self.evaluate(node.value, frame)
        bounds = [
            None if part is None else self.evaluate(part, frame)
            for part in (node.start, node.stop, node.step)
        ]
        if isinstance(value, Value):
            names = ("start", "stop", "step")
            given = {name: bound for name, bound in zip(names, bounds, strict=True) if bound is not None}
            return self.apply("slice", [value], node, frame, axis=0, **given)
        if not isinstance(value, (list, tuple)):
            raise self.error("E213", node, frame, op="[:]", left=kind_of(value), right="a slice")
        for part, bound in zip((node.start, node.stop, node.step), bounds, strict=True):
            if part is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
                raise self.error(
                    "E201", part, frame, what="a slice bound", wanted="an int", got=kind_of(bound)
                )
        if bounds[2] == 0:
            raise self.error("E202", node, frame, message="the step of a slice is 0")
        return cast("list[Any]", value)[slice(*bounds)]

    def _eval_Subscript(self, node: syntax.Subscript, frame: Frame) -> Any:
        value = self.evaluate(node.value, frame)
        if not isinstance(value, Value):
            called = isinstance(value, BlockValue)
            help = ["arguments of a call stand in round brackets: `conv(x, 64, 3)`"] if called else []
            raise self.error(
                "E213", node, frame, op="[,]", left=kind_of(value), right="several subscripts", help=help
            )
        rests = sum(isinstance(item, syntax.RestAxes) for item in node.items)
        added = sum(isinstance(item, syntax.Constant) and item.value is None for item in node.items)
        rank, used = len(value.shape), len(node.items) - rests - added
        if rests > 1 or used > rank:
            message = f"{len(node.items)} subscripts for a tensor of {rank} axes"
            raise self.error("E202", node, frame, message=message)
        axis = 0
        for item in node.items:
            if isinstance(item, syntax.RestAxes):
                axis += rank - used
            elif isinstance(item, syntax.Extent):
                bounds = {"start": item.start, "stop": item.stop, "step": item.step}
                given = {
                    name: self.evaluate(part, frame) for name, part in bounds.items() if part is not None
                }
                if given:
                    value = self.apply("slice", [value], node, frame, axis=axis, **given)
                axis += 1
            else:
                index = self.evaluate(item, frame)
                if index is None:
                    value = self.apply("unsqueeze", [value], node, frame, axis=axis)
                    axis += 1
                    continue
                if isinstance(index, bool) or not isinstance(index, (int, Dim)):
                    raise self.error(
                        "E201", item, frame, what="a subscript", wanted="an int", got=kind_of(index)
                    )
                value = self.apply("select", [value], node, frame, axis=axis, index=index)
        return value

    def _eval_Attribute(self, node: syntax.Attribute, frame: Frame) -> Any:
        value = self.evaluate(node.value, frame)
        if isinstance(value, Record):
            if node.name not in value:
                help = did_you_mean(node.name, list(value))
                raise self.error(
                    "E202", node, frame, message=f"the record has no field `{node.name}`", help=help
                )
            return self._clean(value[node.name])
        if isinstance(value, SharedValue):
            return self.shared_weight(value, node, frame)
        help = of_method(node.name, self.operator_names()) if isinstance(value, Value) else []
        raise self.error(
            "E202", node, frame, message=f"{kind_of(value)} has no field `{node.name}`", help=help
        )

    def _clean(self, value: Any) -> Any:
        if value is POISON:
            raise Poisoned
        return value
