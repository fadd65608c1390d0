"""Explaining shape errors: which operands, what their types are, and where each size came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..compiler.graph.axes import Axis, setting_argument, source_axis
from ..compiler.graph.graph import Node, Value
from ..compiler.ops.core.base import Operator
from ..compiler.ops.core.rules import ShapeError
from ..compiler.sizes.dims import Dim, render
from . import syntax
from .diagnostics import Label
from .scope import Frame, Site
from .source import Span
from .values import Bound, show

if TYPE_CHECKING:
    from .run import Run

_CODES = {"size": "E301", "rank": "E302", "dtype": "E303", "value": "E304"}
_VERBS = {
    "add": "adds",
    "sub": "subtracts",
    "mul": "multiplies",
    "div": "divides",
    "pow": "raises",
    "matmul": "multiplies (`@`)",
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "compares"),
}


def shape_diagnostic(
    run: Run,
    error: ShapeError,
    instance: Operator,
    operands: dict[str, Any],
    bound: dict[str, Bound],
    node: syntax.Node,
    frame: Frame,
    label: str | None,
) -> Exception:
    """The diagnostic of an operator that refuses its operands or arguments."""
    name = instance.title
    where = f"`{label}: {name}`:" if label else f"`{name}`:"
    message = error.message
    if isinstance(node, syntax.Binary) and name in _VERBS:
        where = f"`{frame.block or frame.file.source.name}` {_VERBS[name]} two tensors"
        message = f"whose {message}" if error.kind == "size" else f"and {message}"
    primary: syntax.Node | Span = node
    text = ", ".join(f"{slot}: {_types(value)}" for slot, value in operands.items())
    argument = bound.get(error.argument) if error.argument else None
    if argument is not None and argument.expr is not None:
        primary = argument.expr
        at = getattr(error, "at", None)
        if at is not None and isinstance(primary, syntax.String):
            start = primary.span.start + 1 + at[0]
            primary = Span(primary.span.source, start, start + max(1, at[1] - at[0]))
        elif isinstance(argument.expr, syntax.Number):
            text = ""
    elif isinstance(node, syntax.Binary):
        text = f"{_source(node.left)}: {_side(operands, 0)}   {_source(node.right)}: {_side(operands, 1)}"
    secondary: list[Label] = []
    for slot, axis in error.operands:
        value = operands.get(slot)
        if isinstance(value, Value) and axis is not None and -len(value.shape) <= axis < len(value.shape):
            found = derivation(value, axis % len(value.shape))
            if found is not None and all(found.span != other.span for other in secondary):
                secondary.append(found)
    secondary = [
        found for found in secondary if found.span != (primary if isinstance(primary, Span) else primary.span)
    ]
    if error.mode is not None:
        where = f"{error.mode} mode refuses {where}"
    return run.error(
        _CODES[error.kind] if error.mode is None else "E508",
        primary,
        frame,
        text,
        where=where,
        message=message,
        secondary=secondary,
        help=[error.help] if error.help else [],
    )


def _types(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(str(item.type) for item in cast("list[Value]", value)) + "]"
    return str(value.type) if isinstance(value, Value) else show(value)


def _side(operands: dict[str, Any], at: int) -> str:
    values = list(operands.values())
    return _types(values[at]) if at < len(values) else "a number"


def _source(node: syntax.Node) -> str:
    text = " ".join(node.span.text.split())
    return text if len(text) <= 24 else text[:21] + "..."


def derivation(value: Value, axis: int) -> Label | None:
    """Where the size of an axis was set: the call that makes it, or the input that has it; or None."""
    size = value.shape[axis]
    for _ in range(10_000):
        node = value.node
        site = node.origins[0].place if node.origins else None
        if not isinstance(site, Site):
            return None
        if node.op.source:
            return Label(
                site.span,
                f"{show(size)} is a size of this input" if node.op.name == "input" else f"{show(size)} here",
            )
        source = source_axis(node, value.index, axis)
        if source is None:
            return None
        if isinstance(source, Axis):
            operand = node.inputs[source.input]
            if not _made_by(site, operand):
                value, axis = operand, source.axis
                continue
        made = render(size)
        return Label(
            site.span, _argument_of(node, site, value.index, axis) or f"{made} comes from here: {value.type}"
        )
    return None


def _made_by(site: Site, operand: Value) -> bool:
    """Whether an operand is a weight that a call made for itself."""
    place = operand.node.origins[0].place if operand.node.origins else None
    return operand.node.op.name == "weight" and isinstance(place, Site) and place.syntax is site.syntax


def _argument_of(node: Node, site: Site, result: int, axis: int) -> str | None:
    """`512 = 4 * width, with width = 128 (from net.plan:23:59)` for a size that an argument states."""
    if not isinstance(site.operator, Operator):
        return None
    written = {name: bound for name, bound in site.arguments.items() if bound.expr is not None}
    name = setting_argument(site.operator, node, written, result, axis)
    if name is None:
        return None
    bound = written[name]
    expr, frame = cast("syntax.Expr", bound.expr), bound.frame or site.frame
    shown = show(node.results[result].shape[axis])
    text = " ".join(expr.span.text.split())
    if text == shown:
        return f"{shown} is given here"
    if isinstance(bound.value, (list, tuple)):
        return f"{shown} is given here: {text}"
    details = [_binding(part.id, frame) for part in _names(expr)]
    with_ = ", ".join(detail for detail in details if detail)
    return f"{shown} = {text}" + (f", with {with_}" if with_ else "")


def _binding(name: str, frame: Frame) -> str:
    value = frame.names.get(name, frame.file.names.get(name))
    if not isinstance(value, (int, float, str, Dim)):
        return ""
    where = frame.where.get(name)
    return f"{name} = {show(value)}" + (f" (from {where.span.where})" if where is not None else "")


def _names(expr: syntax.Node) -> list[syntax.Name]:
    from .limits import children

    found: list[syntax.Node] = [expr]
    for part in found:
        found.extend(children(part))
    unique = {part.id: part for part in found if isinstance(part, syntax.Name)}
    return list(unique.values())
