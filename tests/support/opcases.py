"""Samples of operators, and random variants of them, as the conformance tests take them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from planform.compiler.ops.core.base import Case, Layer, Op, Operator
from planform.compiler.types import TensorType

# Types that differ from the float variable bound to f32.
OTHER_DTYPES = ("i64", "bool", "f64", "c64", "bf16", "i32")


@dataclass(frozen=True)
class Application:
    """An operator class with arguments, and for each operand given its slot and plan type."""

    operator: type[Operator]
    arguments: tuple[tuple[str, Any], ...]
    slots: tuple[str, ...]
    types: tuple[TensorType, ...]

    def instance(self) -> Operator:
        return self.operator(**dict(self.arguments))

    def core(self) -> tuple[Op, tuple[str, ...], tuple[TensorType, ...]]:
        """The core operator with its operands: a layer's are followed by its weights. Raises `ShapeError`."""
        made = self.instance()
        if isinstance(made, Op):
            return made, self.slots, self.types
        assert isinstance(made, Layer)
        arranged = made.arrange(self.slots, [type.shape for type in self.types])
        specs = made.call(made.weights, arranged)
        core = made.call(made.core, arranged)
        weights = tuple(TensorType(tuple(spec.shape), spec.dtype) for spec in specs.values())
        return core, (*self.slots, *specs), (*self.types, *weights)

    def __str__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.arguments)
        operands = ", ".join(f"{slot}: {type}" for slot, type in zip(self.slots, self.types, strict=True))
        return f"{self.operator.name}({arguments}) on {operands}"


def _type(written: Any) -> TensorType:
    if len(written) == 2 and isinstance(written[0], str):
        return TensorType(tuple(written[1]), written[0])
    return TensorType(tuple(written))


def application(operator: type[Operator], sample: Case) -> Application:
    """The sample with its operands by slot. An operand None leaves an optional one out."""
    slots: list[str] = []
    types: list[TensorType] = []
    signature = operator.signature()
    remaining = list(sample.operands)
    for position, operand in enumerate(signature):
        if not remaining:
            break
        if operand.arity == "many":
            later = sum(other.arity == "one" for other in signature[position + 1 :])
            count = len(remaining) - later
            items = (
                remaining.pop(0)
                if isinstance(remaining[0], list)
                else [remaining.pop(0) for _ in range(count)]
            )
        else:
            items = [remaining.pop(0)]
        for item in items:
            if item is not None:
                slots.append(operand.name)
                types.append(_type(item))
    assert not remaining, (
        f"{operator.name}: a sample has more operands than {[item.name for item in signature]}"
    )
    return Application(operator, tuple(sample.arguments.items()), tuple(slots), tuple(types))


def samples(operator: type[Operator]) -> list[Application]:
    """All samples of an operator."""
    return [application(operator, sample) for sample in operator.samples]


def variants(start: Application, rng: random.Random) -> Iterator[Application]:
    """Random changes of sizes, ranks and types, without end: consistent (mostly valid) and single ones."""
    if not start.types:
        return
    while True:
        kind = rng.choice(("scale", "scale", "scale", "size", "size", "rank", "dtype", "all dtypes"))
        types = list(start.types)
        if kind == "scale":
            _scale(types, rng)
        elif kind == "size":
            for _ in range(rng.choice((1, 1, 2))):
                _resize(types, rng)
        elif kind == "rank":
            _rerank(types, rng)
        elif kind == "dtype":
            number = rng.randrange(len(types))
            types[number] = types[number]._replace(dtype=rng.choice(OTHER_DTYPES))
        else:
            dtype = rng.choice(OTHER_DTYPES)
            types = [type._replace(dtype=dtype) if type.dtype == "float" else type for type in types]
        yield replace(start, types=tuple(types))


def _scale(types: list[TensorType], rng: random.Random) -> None:
    """Change equal sizes alike, often only on one axis position of all operands."""
    sizes = sorted({size for type in types for size in type.shape if isinstance(size, int)})
    if not sizes:
        return
    old = rng.choice(sizes)
    new = rng.choice((old + 1, 2 * old, 3 * old, max(old - 1, 1), 1, 0))
    axis = rng.choice((None, 0, 0, -1, -2))
    for number, type in enumerate(types):
        wanted = None if axis is None else axis % max(len(type.shape), 1)
        shape = [
            new if size == old and (wanted is None or position == wanted) else size
            for position, size in enumerate(type.shape)
        ]
        types[number] = type._replace(shape=tuple(shape))


def _resize(types: list[TensorType], rng: random.Random) -> None:
    number = rng.randrange(len(types))
    shape = list(types[number].shape)
    if shape:
        axis = rng.randrange(len(shape))
        old = shape[axis]
        assert isinstance(old, int)
        shape[axis] = rng.choice((old + 1, max(old - 1, 0), 0, 1, 2 * old, old + 2))
        types[number] = types[number]._replace(shape=tuple(shape))


def _rerank(types: list[TensorType], rng: random.Random) -> None:
    number = rng.randrange(len(types))
    shape = list(types[number].shape)
    if shape and rng.random() < 0.5:
        del shape[rng.randrange(len(shape))]
    else:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice((1, 2)))
    types[number] = types[number]._replace(shape=tuple(shape))


def argument_variants(start: Application, rng: random.Random) -> Iterator[Application]:
    """Random changes of integer and boolean arguments, those in tuples too, without end."""
    instance = start.instance()
    names = [name for name in type(instance).arguments() if _changeable(getattr(instance, name))]
    while names:
        name = rng.choice(names)
        arguments = dict(start.arguments) | {name: _changed(getattr(instance, name), rng)}
        yield replace(start, arguments=tuple(arguments.items()))


def _changeable(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_changeable(item) for item in value)
    return isinstance(value, int)


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, tuple):
        # A pair that begins with a name stays a pair.
        if rng.random() < 0.2 and not isinstance(value[0], str):
            return value[:-1] if rng.random() < 0.5 else (*value, value[-1])
        number = rng.choice([number for number, item in enumerate(value) if _changeable(item)])
        return (*value[:number], _changed(value[number], rng), *value[number + 1 :])
    if isinstance(value, bool):
        return not value
    return rng.choice((value + 1, value - 1, value + 2, 0, 1, -1))
