"""Any operator of the registry, by its samples."""

from __future__ import annotations

from math import prod
from typing import Any

from planform.compiler.ops import Op, registry
from support.opcases import Application, application, argument_variants, variants

from ..grow import Grower, Value


def _written(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_written, value))}]"
    return "none" if value is None else repr(value)


# What is random, or undefined, or has a motif of its own since not every operand will do.
_EXCLUDED = "rrelu scatter scan roi_align"
_WRAPS = ("{}", "{}", "{}", "sigmoid({}) * 0.8 + 0.1", "abs({}) + 0.1", "abs({}) + 1.5", "tanh({})")


def anything(g: Grower) -> None:
    """Any operator of the registry, by one of its samples or a variant, on values there are or new ones."""
    rng = g.rng
    names = sorted(set(registry()) - set(_EXCLUDED.split()))
    operator = registry()[rng.choice(names)]
    if not operator.samples:
        return
    made = application(operator, rng.choice(operator.samples))
    if rng.random() < 0.4:
        changed = (
            variants(made, rng) if rng.random() < 0.7 or not made.arguments else argument_variants(made, rng)
        )
        made = next(iter(changed), made)
        try:
            core, slots, types = made.core()
            core.infer(types, slots)
        except Exception:  # not every variant is valid, in whatever way
            return
    call(g, made)


def call(g: Grower, made: Application) -> None:
    """A call of the operator, its operands values of the program where they fit."""
    rng = g.rng
    operator = made.operator
    many = operator.many()
    order = [operand.name for operand in operator.signature()]
    if any(not isinstance(size, int) for type in made.types for size in type.shape):
        return
    written: list[str] = []
    ready: list[Value] = []
    for slot, type in zip(made.slots, made.types, strict=True):
        shape = tuple(int(str(size)) for size in type.shape)
        value = _operand(g, type.dtype, shape)
        ready.append(value)
        text = rng.choice(_WRAPS).format(value.name) if value.real else value.name
        if slot != many and order.index(slot) > len(written) - made.slots.count(many or "") + bool(many):
            text = f"{slot}={text}"
        written.append(text)
    arguments = [f"{name}={_written(value)}" for name, value in made.arguments]
    if "inf" in " ".join(arguments) or "nan" in " ".join(arguments):
        return
    label = "" if issubclass(operator, Op) else f"{g.label()}: "
    joined = ", ".join(arguments)
    expression = (
        f"({', '.join(written)}) -> {label}{operator.name}({joined})"
        if label
        else f"{operator.name}({', '.join([*written, *arguments])})"
    )
    try:
        core, slots, types = made.core()
        count = len(core.infer(types, slots)[0])
    except Exception:  # arguments of a variant may be wrong in any way
        return
    g.add(expression, count)


def _operand(g: Grower, dtype: str, shape: tuple[int, ...]) -> Value:
    """A value of that type: one there is, or one cut out of another, or a new input."""
    known = [v for v in g.values if v.dtype == dtype and v.shape == shape]
    if known and g.rng.random() < 0.8:
        return g.rng.choice(known)
    large = [v for v in g.values if v.dtype == dtype and v.tensor.numel() >= prod(shape) and v.rank]
    if dtype == "float" and large and prod(shape) and shape and g.rng.random() < 0.6:
        source = g.rng.choice(large[-4:])
        done = g.add(f"reshape(flatten({source.name}, 0)[:{prod(shape)}], {list(shape)})")
        if done:
            return done[0]
    return g.input(*shape, dtype=dtype, below=None if dtype in ("float", "bool") else g.rng.choice((2, 2, 3)))
