"""Where the size of a result's axis comes from: an axis of an operand, or the operator itself.

What an operator does to axes is asked of its own shape rule. Every size of its operands is replaced by a
symbol of its own, and the rule is run again: an axis of the result whose size is one of the symbols is that
operand's axis, whatever other sizes are equal; all else (windows, products, parts, arguments) is made by the
operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple, cast

from ..ops.core.base import Layer, Op, Operator
from ..ops.core.rules import ShapeError
from ..sizes.dims import Size, SizeTooLarge, substitute, symbol
from ..types import Shape, TensorType
from .graph import Node

# What a shape rule may raise at symbols where it needs numbers.
_REFUSALS = (ShapeError, SizeTooLarge, TypeError, ValueError, ArithmeticError, IndexError)


class Axis(NamedTuple):
    """An axis of an operand: the number of the input, and of its axis."""

    input: int
    axis: int


def source_axis(node: Node, result: int, axis: int) -> Axis | bool | None:
    """The operand's axis that an axis of a result is; False where the operator makes its size.

    None where that cannot be told.
    """
    every = [_all_of(value.shape) for value in node.inputs]
    # At first with weights as they are: a window's size as a symbol would hide that an axis passes through.
    weights = [value.node.op.name == "weight" for value in node.inputs]
    known = _traced(
        node, result, axis, [set() if weight else axes for axes, weight in zip(every, weights, strict=True)]
    )
    if not isinstance(known, Axis):
        known = _traced(node, result, axis, every)
    if known is not None:
        return known
    # Some rules want numbers in places: one axis at a time may still be a symbol.
    size = node.results[result].shape[axis]
    found: list[Axis] = []
    for number, value in enumerate(node.inputs):
        for place, own in enumerate(value.shape):
            if own == size:
                chosen = [{place} if other == number else set[int]() for other in range(len(node.inputs))]
                if _traced(node, result, axis, chosen) == Axis(number, place):
                    found.append(Axis(number, place))
    return found[0] if len(found) == 1 else None


def _all_of(shape: Shape) -> set[int]:
    # A size of 1 stays: it broadcasts, and is squeezed.
    return {axis for axis, size in enumerate(shape) if size != 1}


def _traced(node: Node, result: int, axis: int, chosen: Sequence[set[int]]) -> Axis | bool | None:
    """Which of the chosen axes, as symbols, the result has: False for none of them, None if unclear."""
    names: dict[str, Axis] = {}
    actual: dict[str, Size] = {}
    types: list[TensorType] = []
    for number, value in enumerate(node.inputs):
        sizes = list(value.shape)
        for place in chosen[number]:
            name = f"input{number}_axis{place}"
            names[name] = Axis(number, place)
            actual[name] = sizes[place]
            sizes[place] = symbol(name)
        types.append(TensorType(tuple(sizes), value.type.dtype))
    size = node.results[result].shape[axis]
    found = _size(node.op, types, node.slots, result, axis)
    if found is None:
        return None
    for name, place in names.items():
        if found is symbol(name) or found == symbol(name):
            return place if actual[name] == size else None
    complete = all(places >= _all_of(value.shape) for places, value in zip(chosen, node.inputs, strict=True))
    try:
        # Another case of the rule, if symbols lead to another size than the numbers do.
        same = substitute(found, actual) == size
    except _REFUSALS:
        return None
    return False if same and complete else None


def _size(op: Op, types: Sequence[TensorType], slots: tuple[str, ...], result: int, axis: int) -> Size | None:
    try:
        shape = op.infer(tuple(types), slots)[0][result].shape
    except _REFUSALS:
        return None
    return shape[axis] if axis < len(shape) else None


def setting_argument(
    operator: Operator, node: Node, given: Iterable[str], result: int, axis: int
) -> str | None:
    """The argument of a call whose value an axis of its result is, or None.

    Equal numbers prove nothing: it is the argument that, given other values, gives the axis these.
    `operator` is what was called, with its own weights among the node's inputs, and `given` are the names of
    the arguments to try.
    """
    size = node.results[result].shape[axis]
    if not isinstance(size, int):
        return None
    for name in given:
        for build in _variants(getattr(operator, name), size):
            tried = {
                other: _called(operator, name, build(other), node, result, axis)
                for other in (2 * size, 3 * size, size + 1, size - 1, size // 2)
                if other not in (0, size)
            }
            answers = {other: got for other, got in tried.items() if got is not None}
            if len(answers) > 1 and all(got == other for other, got in answers.items()):
                return name
    return None


def _variants(value: Any, size: int) -> list[Callable[[int], Any]]:
    """Ways to put another number in the place of `size` in the value of an argument."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [_itself] if value == size else []
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()
    places = [at for at, item in enumerate(items) if item == size and not isinstance(item, bool)]
    return [partial(_with_item, items, at) for at in places]


def _itself(other: int) -> int:
    return other


def _with_item(items: tuple[object, ...], at: int, other: int) -> tuple[object, ...]:
    return (*items[:at], other, *items[at + 1 :])


def _called(operator: Operator, name: str, value: Any, node: Node, result: int, axis: int) -> Size | None:
    """The size of the axis when the operator is called with another argument."""
    try:
        kept = {field.name: getattr(operator, field.name) for field in fields(operator) if field.init}  # pyright: ignore[reportArgumentType]  # operators are dataclasses
        other = type(operator)(**{**kept, name: value})
        own = {operand.name for operand in operator.signature()}
        pairs = [(slot, v.type) for slot, v in zip(node.slots, node.inputs, strict=True) if slot in own]
        slots, types = tuple(slot for slot, _ in pairs), [type for _, type in pairs]
        if not isinstance(other, Layer):
            return _size(cast("Op", other), types, slots, result, axis)
        shapes = other.arrange(slots, [type.shape for type in types])
        specs = other.call(other.weights, shapes)
        core = other.call(other.core, shapes)
        types += [TensorType(spec.shape, spec.dtype) for spec in specs.values()]
        return _size(core, types, (*slots, *specs), result, axis)
    except _REFUSALS:
        return None
