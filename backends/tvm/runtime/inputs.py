"""Whether what a call is given is what the plan takes, said in the plan's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BuildError, InputError
from .dtypes import numpy_dtype
from .program import Check, Formula, Port, Program, value_of
from .verify_program import check_sizes

_SIGNS = {"add": " + ", "mul": "*", "floordiv": "//", "mod": "%", "pow": "**"}
_RELATIONS = {"==": "must equal", ">=": "must be at least", "%": "must be a multiple of"}


def symbols_of(program: Program, arrays: Sequence[Any]) -> dict[str, int]:
    """The values of the symbols, in the order of `program.readings`.

    Raises `InputError` where number, kind, element type, shape or a relation between sizes is not the plan's.
    """
    name = program.name
    if len(arrays) != len(program.inputs):
        names = ", ".join(port.name for port in program.inputs)
        count = f"{len(program.inputs)} input" + "s" * (len(program.inputs) != 1)
        raise InputError(f"{name} takes {count} ({names}), and is given {len(arrays)}")
    for port, array in zip(program.inputs, arrays, strict=True):
        if not isinstance(array, np.ndarray):
            found, wanted = type(array).__name__, text(port.shape)
            raise InputError(f"{name}: {port.name} is {found}, and must be an array {wanted}")
        if array.dtype != numpy_dtype(port.dtype):
            how = " (in numpy its bits, uint16, or ml_dtypes.bfloat16)" if port.dtype == "bfloat16" else ""
            raise InputError(f"{name}: {port.name} holds {array.dtype}, and must hold {port.dtype}{how}")
        if array.ndim != len(port.shape):
            refuse(program, port, array, f"it has {_axes(array.ndim)}, not {len(port.shape)}")
    symbols = _read(program, arrays)
    for port, array in zip(program.inputs, arrays, strict=True):
        for axis, size in enumerate(port.shape):
            wanted = value_of(size, symbols)
            if array.shape[axis] != wanted:
                known = "" if isinstance(size, int) else f" ({_values(size, symbols)})"
                refuse(program, port, array, f"axis {axis} is {array.shape[axis]}, not {wanted}{known}")
    for relation, left, right, message in program.guards:
        a, b = value_of(left, symbols), value_of(right, symbols)
        if not {"==": a == b, ">=": a >= b, "%": b != 0 and a % b == 0}[relation]:
            wanted = f"{_size(left)} {_RELATIONS[relation]} {_size(right)}"
            raise InputError(f"{name}: {message}: {wanted}, and here {_values([left, right], symbols)}")
    check_room(program, symbols)
    problem = check_sizes(program, symbols)
    if problem is not None:
        raise InputError(f"{name} cannot be run at these sizes: {problem}")
    return symbols


def check_room(program: Program, symbols: Mapping[str, int], once: bool = False) -> None:
    """Raise `InputError` where there are positions, and none that there may be: nothing can be read then.

    With `once` for the constants, which are made before there are sizes: then it is `BuildError`.
    """
    for check in program.checks:
        if check.once == once and value_of(check.size, symbols) <= 0 < value_of(check.count, symbols):
            raise _refused(program, check, "an axis of 0 has no positions")


def check_positions(
    program: Program, read: Callable[[int], Any], symbols: Mapping[str, int], once: bool = False
) -> None:
    """Raise `InputError` for positions outside of their axis; `read` gives what a slot holds after a call.

    With `once` for the constants, after they are made: then it is `BuildError`.
    """
    for check in program.checks:
        if check.once == once:
            least, most = read(check.slot).tolist()
            size = value_of(check.size, symbols)
            # Of nothing, the least is more than the greatest.
            if least <= most and not 0 <= least <= most < size:
                why = f"the position {least if least < 0 else most} is not one of 0 to {size - 1}"
                raise _refused(program, check, why)


def _refused(program: Program, check: Check, why: str) -> Exception:
    what = f"{program.name}: {check.about}: {why}"
    return BuildError("E714", what) if check.once else InputError(what)


def _read(program: Program, arrays: Sequence[np.ndarray]) -> dict[str, int]:
    symbols: dict[str, int] = {}
    for reading in program.readings:
        port, array = program.inputs[reading.input], arrays[reading.input]
        actual, factor, offset = array.shape[reading.axis], reading.factor, reading.offset
        if (actual - offset) % factor:
            multiple = f"a multiple of {factor}" + (f" and {offset} more" if offset else "")
            refuse(program, port, array, f"axis {reading.axis} is {actual}, which is not {multiple}")
        symbols[reading.symbol] = (actual - offset) // factor
        if symbols[reading.symbol] < reading.least:
            least = factor * reading.least + offset
            refuse(program, port, array, f"axis {reading.axis} is {actual}, and must be at least {least}")
    return symbols


def refuse(program: Program, port: Port, array: Any, why: str) -> None:
    """Raise the error of an input of the wrong shape."""
    shape = f"has shape {list(array.shape)}, and must be {text(port.shape)}"
    raise InputError(f"{program.name}: {port.name} {shape}: {why}")


def text(shape: Sequence[Formula]) -> str:
    """A shape as a plan writes it."""
    return "[" + ", ".join(_size(size, outer=True) for size in shape) + "]"


def _size(formula: Formula, outer: bool = False) -> str:
    if not isinstance(formula, (list, tuple)):
        return str(formula)
    kind, *rest = formula
    if kind in _SIGNS:
        found = _SIGNS[kind].join(_size(each) for each in rest)
        return found if outer else f"({found})"
    return f"{kind}({', '.join(_size(each, outer=True) for each in rest)})"


def _values(formula: Formula, symbols: dict[str, int]) -> str:
    return ", ".join(f"{name} = {symbols[name]}" for name in sorted(_names(formula) & symbols.keys()))


def _names(formula: Formula) -> set[str]:
    if isinstance(formula, (list, tuple)):
        return {name for each in formula for name in _names(each)}
    return {formula} if isinstance(formula, str) else set()


def _axes(count: int) -> str:
    return "1 axis" if count == 1 else f"{count} axes"
