"""What a module asks of its inputs.

The text of `check_inputs` goes into emitted files too, and so needs torch alone.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import torch

from ...compiler.sizes.dims import Size, at_least, render
from ...compiler.sizes.symbols import linear, readings


def check_inputs(plan: str, inputs: list) -> dict:  # pyright: ignore[reportMissingTypeArgument]
    """Raise ValueError where an input is not what the plan takes; the sizes that its symbols stand for.

    An input is (name, value, type, axes). An axis is a number; a symbol, which is at least 1; (text, symbol,
    factor, offset, least), which is factor * symbol + offset; or (text,), which is not looked at.
    """
    sizes = {}
    places = {}
    # A tracer's sizes are not numbers, and it has guards of its own.
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return sizes
    for _, x, _, _ in inputs:
        if isinstance(x, torch.fx.Proxy) or any(not isinstance(n, int) for n in getattr(x, "shape", ())):
            return sizes
    for name, x, dtype, axes in inputs:
        shape = "[" + ", ".join(axis[0] if isinstance(axis, tuple) else str(axis) for axis in axes) + "]"
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"{plan}: {name} is {type(x).__name__}, and must be a tensor {shape}")
        held = str(x.dtype).removeprefix("torch.")
        short = held.replace("uint", "u").replace("int", "i").replace("float", "f").replace("complex", "c")
        floats = {"float": x.is_floating_point(), "complex": x.is_complex()}
        if not floats.get(dtype, short == dtype):
            raise ValueError(f"{plan}: {name} holds {held}, and must hold {dtype}")
        wrong = f"{plan}: {name} has shape {list(x.shape)}, and must be {shape}: "
        if x.dim() != len(axes):
            count = "1 axis" if x.dim() == 1 else f"{x.dim()} axes"
            raise ValueError(f"{wrong}it has {count}, not {len(axes)}")
        for number, (axis, actual) in enumerate(zip(axes, x.shape, strict=True)):
            here = f"{wrong}axis {number} is {actual}"
            if isinstance(axis, int):
                if actual != axis:
                    raise ValueError(f"{here}, not {axis}")
                continue
            parts = (axis, axis, 1, 0, 1) if isinstance(axis, str) else axis
            if len(parts) == 1:
                continue
            _, symbol, factor, offset, least = parts
            value, rest = divmod(actual - offset, factor)
            if rest:
                more = f" and {offset} more" if offset else ""
                raise ValueError(f"{here}, which is not a multiple of {factor}{more}")
            if value < least:
                raise ValueError(f"{here}, and must be at least {factor * least + offset}")
            wanted = factor * sizes.setdefault(symbol, value) + offset
            place = places.setdefault(symbol, f"axis {number} of {name}")
            if actual != wanted:
                raise ValueError(f"{here}, not {wanted}, by {place}")
    return sizes


SOURCE = re.sub(r"  # pyright: .*", "", inspect.getsource(check_inputs))

Axis = int | str | tuple[Any, ...]


def axes_of(shapes: Sequence[Sequence[Size]]) -> list[tuple[Axis, ...]]:
    """The axes of all inputs as `check_inputs` takes them."""
    least = _minima(shapes)
    return [tuple(_axis(size, least) for size in shape) for shape in shapes]


def _axis(size: Size, least: dict[str, int]) -> Axis:
    if isinstance(size, int):
        return size
    parts = linear(size)
    if parts is None:
        return (render(size),)
    symbol, factor, offset = parts
    plain = (factor, offset, least[symbol]) == (1, 0, 1) and render(size) == symbol
    return symbol if plain else (render(size), symbol, factor, offset, least[symbol])


def _minima(shapes: Sequence[Sequence[Size]]) -> dict[str, int]:
    """The least value that each symbol may take (looked for up to 64)."""
    found: dict[str, int] = {}
    for symbol, reading in readings(shapes).items():
        size = shapes[reading.input][reading.axis]
        least = 0
        while least < 64 and at_least(size, reading.factor * (least + 1) + reading.offset):
            least += 1
        found[symbol] = least
    return found
