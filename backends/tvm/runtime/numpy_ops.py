"""Operators that numpy runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .dtypes import narrowed, widened
from .program import Slot, Step, value_of

Function = Callable[[Sequence[np.ndarray], Mapping[str, int]], list[np.ndarray]]
"""From the operands' memory to the results', given the symbols' values."""


def function_of(step: Step, slots: Sequence[Slot]) -> Function:
    """What computes a step's results from its operands; `slots` are the program's.

    Operands lie row by row, perhaps in the memory of a value of another shape, of which they are a view.
    """
    if step.function == "copy":
        return lambda arrays, symbols: [arrays[0]]
    from ....compiler.ops import registry

    assert step.arguments is not None
    arguments = dict(step.arguments)
    names, shapes = tuple(arguments.pop("slots")), arguments.pop("shapes")
    operator = registry()[step.function]
    dtypes = [slots[slot].dtype for slot in step.results]

    def run(arrays: Sequence[np.ndarray], symbols: Mapping[str, int]) -> list[np.ndarray]:
        op = operator(**{name: _restored(value, symbols) for name, value in arguments.items()})
        operands = [
            widened(array).reshape([value_of(size, symbols) for size in shape])
            for array, shape in zip(arrays, shapes, strict=True)
        ]
        found = op.call(getattr(op, "numpy"), op.arrange(names, operands), np)  # noqa: B009
        results = list(found) if isinstance(found, (list, tuple)) else [found]
        return [narrowed(array, dtype) for array, dtype in zip(results, dtypes, strict=True)]

    return run


def _restored(value: Any, symbols: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return value_of(value["size"], symbols)
    if isinstance(value, (list, tuple)):
        return tuple(_restored(each, symbols) for each in value)
    return value
