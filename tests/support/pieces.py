"""Calls of every operator where builds die: sizes 1 and 0, constants as operands, one value in several places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from planform.compiler.ops import Op, registry
from planform.compiler.ops.core.base import Operator
from planform.compiler.ops.core.rules import ShapeError
from support.opcases import Application, samples

LITERALS = ("float", "i64", "bool", "f64", "u8", "i32", "f16", "bf16")
# Random in eval mode, or with more than one right answer; a scan takes a block.
EXCLUDED = frozenset(["rrelu", "scatter", "scan"])


@dataclass(frozen=True)
class Piece:
    """One call: the types of its inputs, and its text, where `{n}` stands for input n."""

    kind: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    text: str
    results: int

    def __str__(self) -> str:
        given = ", ".join(f"{{{n}}}: {dtype}{list(shape)}" for n, (dtype, shape) in enumerate(self.inputs))
        return f"{self.kind}: {self.text}  where {given}"


def pieces(name: str) -> Iterator[Piece]:
    """All calls of an operator that are tried."""
    for start in samples(registry()[name]):
        if any(not isinstance(size, int) for type in start.types for size in type.shape):
            continue
        yield from _piece("sample", start)
        for size in (1, 0):
            for changed in _resized(start, size):
                yield from _piece(f"size {size}", changed)
        yield from _constants(start)
        yield from _repeated(start)


def _resized(start: Application, size: int) -> Iterator[Application]:
    """With one size everywhere, one axis of one operand, or all sizes of all, of that size."""
    shapes = [type.shape for type in start.types]
    for old in sorted({old for shape in shapes for old in shape if old != size}):  # pyright: ignore
        yield _shaped(start, [tuple(size if each == old else each for each in shape) for shape in shapes])
    for number, shape in enumerate(shapes):
        for axis, old in enumerate(shape):
            if old != size:
                changed = (*shape[:axis], size, *shape[axis + 1 :])
                yield _shaped(start, [*shapes[:number], changed, *shapes[number + 1 :]])
    yield _shaped(start, [(size,) * len(shape) for shape in shapes])


def _shaped(start: Application, shapes: Sequence[tuple[Any, ...]]) -> Application:
    types = [type._replace(shape=shape) for type, shape in zip(start.types, shapes, strict=True)]
    return replace(start, types=tuple(types))


def _constants(start: Application) -> Iterator[Piece]:
    """A nested constant in the place of each operand, of its own type and of others, and of lower rank."""
    for number, type in enumerate(start.types):
        if prod(type.shape) > 64:  # pyright: ignore
            continue
        for dtype in dict.fromkeys((type.dtype, *LITERALS)):
            if dtype not in LITERALS:
                continue
            # Weights are prepared in float64, beside which torch's norms take no half floats.
            if "norm" in start.operator.name and dtype in ("f16", "bf16"):
                continue
            for shape in dict.fromkeys((type.shape, type.shape[1:], ())):
                types = list(start.types)
                types[number] = type._replace(dtype=dtype, shape=shape)
                changed = replace(start, types=tuple(types))
                yield from _piece("constant", changed, constants=(number,))
    if start.types and all(type.dtype in LITERALS and prod(type.shape) <= 64 for type in start.types):  # pyright: ignore
        yield from _piece("constants", start, constants=tuple(range(len(start.types))))


def _repeated(start: Application) -> Iterator[Piece]:
    """One value in all places, and in each two that are alike, or made alike."""
    count = len(start.types)
    for first in range(count):
        others = [n for n in range(count) if n != first]
        for places in [others, *([n] for n in others)] if count > 2 else [others]:
            if places:
                types = list(start.types)
                for place in places:
                    types[place] = start.types[first]
                yield from _piece("repeated", replace(start, types=tuple(types)), same=(first, *places))


def _piece(
    kind: str, made: Application, constants: tuple[int, ...] = (), same: tuple[int, ...] = ()
) -> Iterator[Piece]:
    operator = made.operator
    many = operator.many()
    order = [operand.name for operand in operator.signature()]
    inputs: list[tuple[str, tuple[int, ...]]] = []
    written: list[str] = []
    shared = ""
    for number, (slot, type) in enumerate(zip(made.slots, made.types, strict=True)):
        shape: tuple[int, ...] = tuple(type.shape)  # pyright: ignore
        if number in constants:
            text = literal(type.dtype, shape)
        elif number in same and shared:
            text = shared
        else:
            text = f"{{{len(inputs)}}}"
            inputs.append((type.dtype, shape))
            shared = text if number in same else shared
        if slot != many and order.index(slot) > len(written) - made.slots.count(many or "") + bool(many):
            text = f"{slot}={text}"
        written.append(text)
    arguments = [f"{name}={_written(value)}" for name, value in made.arguments]
    if issubclass(operator, Op):
        text = f"{operator.name}({', '.join([*written, *arguments])})"
    else:
        text = f"({', '.join(written)}) -> {{label}}: {operator.name}({', '.join(arguments)})"
    results = _results(made)
    if results:
        yield Piece(f"{operator.name}, {kind}", tuple(inputs), text, results)


def _results(made: Application) -> int:
    """How many results the call has; 1 where it is refused."""
    try:
        core, slots, types = made.core()
        return len(core.infer(types, slots)[0])
    except (ShapeError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return 1


def literal(dtype: str, shape: tuple[int, ...]) -> str:
    """A tensor literal of that type and shape."""
    elements = iter(range(prod(shape)))

    def nested(rest: tuple[int, ...]) -> str:
        if not rest:
            number = next(elements)
            if dtype == "bool":
                return ("true", "false")[number % 2]
            if dtype[0] in "iu":
                return str((number + 1) % 2)  # they may be positions
            return str((number + 2) * (-1) ** number / 4)  # none of them alike, and exact in 16 bits
        return f"[{', '.join(nested(rest[1:]) for _ in range(rest[0]))}]"

    return f"tensor({nested(shape)}, dtype={dtype})"


def _written(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_written, value))}]"
    return "none" if value is None else repr(value)


def names() -> list[str]:
    """The operators that are tried."""
    return sorted(
        name
        for name, operator in registry().items()
        if name not in EXCLUDED and not operator.internal and operator.samples and _steady(operator)
    )


def _steady(operator: type[Operator]) -> bool:
    """Whether a call in eval mode gives the same each time."""
    core = samples(operator)[0].core()[0].in_mode("eval")
    return core is None or "random" not in core.effects
