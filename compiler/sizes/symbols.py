"""Sizes at run time: how symbols are read off the inputs, and formulas over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from .dims import Size, fold, free_symbols


class SymbolSource(NamedTuple):
    """Where a symbol stands: the size of that axis of that input is `factor * symbol + offset`."""

    symbol: str
    input: int
    axis: int
    factor: int
    offset: int


def linear(size: Size) -> tuple[str, int, int] | None:
    """`(s, a, b)` if the size is `a*s + b` for one symbol `s` and integers, `a` positive."""
    symbols = free_symbols(size)
    if len(symbols) != 1:
        return None

    def combine(kind: str, args: tuple[tuple[int, int] | None, ...]) -> tuple[int, int] | None:
        if kind not in ("add", "mul") or any(arg is None for arg in args):
            return None
        pairs = [arg for arg in args if arg is not None]
        if kind == "add":
            return sum(a for a, _ in pairs), sum(b for _, b in pairs)
        found = (0, 1)
        for a, b in pairs:
            if a and found[0]:
                return None
            found = (found[0] * b + found[1] * a, found[1] * b)
        return found

    pair = fold(size, lambda value: (0, value), lambda _: (1, 0), combine)
    if pair is None or pair[0] <= 0:
        return None
    return next(iter(symbols)), *pair


def readings(shapes: Sequence[Sequence[Size]]) -> dict[str, SymbolSource]:
    """For each free symbol of the inputs' shapes the plainest axis that gives it."""
    found: dict[str, SymbolSource] = {}
    for number, shape in enumerate(shapes):
        for axis, size in enumerate(shape):
            parts = None if isinstance(size, int) else linear(size)
            if parts is None:
                continue
            reading = SymbolSource(parts[0], number, axis, parts[1], parts[2])
            known = found.get(reading.symbol)
            if known is None or (known.factor, abs(known.offset)) > (reading.factor, abs(reading.offset)):
                found[reading.symbol] = reading
    return found


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "pow": lambda a, b: a**b,
    "min": min,
    "max": max,
}


def value_of(size: Size, bindings: Mapping[str, int]) -> int:
    """The size with the symbols' values; KeyError for one that has none."""
    return fold(size, int, bindings.__getitem__, lambda kind, args: reduce(_BINARY[kind], args))
