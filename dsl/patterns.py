"""Written types against values: shape patterns bind sizes or check them."""

from __future__ import annotations

from abc import ABC
from typing import Any, cast

from ..compiler.dtypes import is_float
from ..compiler.errors import PlanformError
from ..compiler.graph.graph import Value
from ..compiler.sizes.dims import Dim, Size, equal, render, without_assumptions
from ..compiler.types import TensorType
from . import syntax
from .expressions import Expressions
from .scope import Frame
from .values import BlockValue, DTypeValue, Record, SharedValue, kind_of, show


def holds_tensor(type: syntax.Type | None) -> bool:
    """Whether a parameter of this type is a tensor input."""
    if isinstance(type, syntax.ShapeType):
        return True
    if isinstance(type, syntax.NamedType):
        return type.name == "tensor"
    if isinstance(type, syntax.ListType):
        return holds_tensor(type.element)
    if isinstance(type, syntax.TupleType):
        return any(holds_tensor(item) for item in type.items)
    if isinstance(type, syntax.RecordType):
        return any(holds_tensor(item) for _, item in type.fields)
    if isinstance(type, syntax.UnionType):
        return any(holds_tensor(option) for option in type.options)
    return False


def allows_none(type: syntax.Type | None) -> bool:
    """Whether `none` fits the type."""
    if isinstance(type, syntax.UnionType):
        return any(allows_none(option) for option in type.options)
    return isinstance(type, syntax.NamedType) and type.name == "none"


class Misfit(PlanformError):
    """A value does not fit a written type; the message says how."""

    def __init__(self, message: str, code: str = "E305") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


_STATIC: dict[str, Any] = {
    "float": (int, float),
    "str": str,
    "string": str,
    "record": Record,
    "dtype": DTypeValue,
    "block": (BlockValue, SharedValue),
    "size": (int, Dim),
    "int": (int, Dim),
}


class Patterns(Expressions, ABC):
    """The part of elaboration that holds values against written types."""

    def check(self, type: syntax.Type, value: Any, name: str, node: syntax.Node, frame: Frame) -> None:
        """`value` fits `type`, binding the sizes that the type names; raises `PlanError`."""
        try:
            self.fit(type, value, frame, node)
        except Misfit as error:
            wanted = " ".join(type.span.text.split())
            raise self.error(
                "E305", node, frame, error.message, name=name, got=_shown(value), wanted=f"`{wanted}`"
            ) from None

    def fit(self, type: syntax.Type, value: Any, frame: Frame, node: syntax.Node) -> None:
        """As `check`; raises `Misfit`."""
        if isinstance(type, syntax.ShapeType):
            self._fit_shape(type, value, frame, node)
        elif isinstance(type, syntax.NamedType):
            self._fit_named(type.name, value)
        elif isinstance(type, syntax.ListType):
            if not isinstance(value, (list, tuple)):
                raise Misfit("it is not a list")
            for item in cast("list[Any]", value):
                self.fit(type.element, item, frame, node)
        elif isinstance(type, syntax.TupleType):
            if not isinstance(value, (list, tuple)) or len(cast("list[Any]", value)) != len(type.items):
                raise Misfit(f"it is not a tuple of {len(type.items)}")
            for part, item in zip(type.items, cast("list[Any]", value), strict=True):
                self.fit(part, item, frame, node)
        elif isinstance(type, syntax.RecordType):
            if not isinstance(value, Record):
                raise Misfit("it is not a record")
            missing = [name for name, _ in type.fields if name not in value]
            if missing:
                raise Misfit(f"it has no field `{missing[0]}`")
            for name, part in type.fields:
                self.fit(part, value[name], frame, node)
        elif isinstance(type, syntax.UnionType):
            self._fit_union(type, value, frame, node)

    def _fit_union(self, type: syntax.UnionType, value: Any, frame: Frame, node: syntax.Node) -> None:
        problem: Misfit | None = None
        known = self.builder.known()
        for option in type.options:
            try:
                self.fit(option, value, frame, node)
                return
            except Misfit as error:
                self.builder.forget(known)
                problem = problem or error
        raise problem or Misfit("")

    def _fit_named(self, name: str, value: Any) -> None:
        if name == "tensor":
            if not isinstance(value, Value):
                raise Misfit("it is not a tensor")
        elif name == "none":
            if value is not None:
                raise Misfit("it is not none")
        elif name == "bool":
            if not isinstance(value, bool):
                raise Misfit("it is not a bool")
        elif name == "block":
            if not isinstance(value, (BlockValue, SharedValue)):
                raise Misfit("it is not a block")
        elif not isinstance(value, _STATIC[name]) or (isinstance(value, bool) and name != "bool"):
            raise Misfit(f"it is not {'an' if name == 'int' else 'a'} {name}")

    def _fit_shape(self, type: syntax.ShapeType, value: Any, frame: Frame, node: syntax.Node) -> None:
        if not isinstance(value, Value):
            raise Misfit("it is not a tensor")
        found: TensorType = value.type
        wanted = "i64" if type.dtype == "int" else type.dtype
        if wanted is None:
            if not is_float(found.dtype):
                raise Misfit(f"its elements are {found.dtype}, and must be float", "E303")
        elif found.dtype != wanted:
            raise Misfit(f"its elements are {found.dtype}, and must be {wanted}", "E303")
        self.fit_axes(type, found.shape, frame, node)

    def fit_axes(
        self, type: syntax.ShapeType, shape: tuple[Size, ...], frame: Frame, node: syntax.Node
    ) -> None:
        """Bind or check each axis of a shape pattern."""
        axes = type.axes
        open_at = next((at for at, axis in enumerate(axes) if axis.kind in ("leading", "spread")), None)
        if open_at is None:
            if len(shape) != len(axes):
                raise Misfit(f"it has {len(shape)} axes, and must have {len(axes)}", "E302")
            pairs = list(zip(axes, shape, strict=True))
        else:
            behind = len(axes) - open_at - 1
            if len(shape) < open_at + behind:
                raise Misfit(f"it has {len(shape)} axes, and must have at least {open_at + behind}", "E302")
            middle = shape[open_at : len(shape) - behind]
            self._fit_spread(axes[open_at], middle, frame, node)
            pairs = list(zip(axes[:open_at], shape[:open_at], strict=True))
            pairs += list(
                zip(axes[open_at + 1 :], shape[len(shape) - behind :] if behind else (), strict=True)
            )
        for axis, size in pairs:
            self._fit_axis(axis, size, frame, node)

    def _fit_spread(
        self, axis: syntax.Axis, sizes: tuple[Size, ...], frame: Frame, node: syntax.Node
    ) -> None:
        if axis.kind == "leading" or not isinstance(axis.size, syntax.Name):
            return
        name = axis.size.id
        if name not in frame.names:
            frame.names[name] = list(sizes)
            frame.sizes.add(name)
            frame.where[name] = axis
            return
        known = cast("list[Any]", frame.names[name])
        if len(known) != len(sizes) or any(equal(a, b) is False for a, b in zip(known, sizes, strict=True)):
            raise Misfit(f"`{name}` is {show(known)} and {show(list(sizes))}", "E301")
        for size, wanted in zip(sizes, known, strict=True):
            if equal(size, wanted) is None:
                self.guard("==", size, wanted, f"`*{name}`", node, frame)

    def _fit_axis(self, axis: syntax.Axis, size: Size, frame: Frame, node: syntax.Node) -> None:
        if axis.kind == "any":
            return
        expr = axis.size
        if isinstance(expr, syntax.Name) and expr.id not in frame.names and expr.id not in frame.file.names:
            frame.names[expr.id] = size
            frame.sizes.add(expr.id)
            frame.where[expr.id] = axis
            return
        assert expr is not None
        wanted = self.evaluate(expr, frame)
        if isinstance(wanted, bool) or not isinstance(wanted, (int, Dim)):
            raise self.error(
                "E201", expr, frame, what="an axis of a shape", wanted="a size", got=kind_of(wanted)
            )
        verdict = equal(size, wanted)
        if verdict is False:
            with without_assumptions():
                verdict = equal(size, wanted)
        elif verdict:
            return
        if verdict is False:
            text = " ".join(expr.span.text.split())
            meaning = "" if text == render(wanted) else f" = {render(wanted)}"
            raise Misfit(f"`{text}`{meaning} does not agree with {render(size)}", "E301")
        else:
            message = f"`{' '.join(expr.span.text.split())}`"
            self.guard("==", size, wanted, message, node, frame)


def _shown(value: Any) -> str:
    return str(value.type) if isinstance(value, Value) else f"{show(value)}"
