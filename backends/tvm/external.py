"""Operators that numpy runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .program import Step, value_of

Function = Callable[[Sequence[np.ndarray], Mapping[str, int]], list[np.ndarray]]


def function_of(step: Step) -> Function:
    """What computes a step's results from its operands and the symbols' values."""
    if step.function == "copy":
        return lambda arrays, symbols: [arrays[0]]
    from ...compiler.ops import registry

    assert step.arguments is not None
    arguments = dict(step.arguments)
    slots = tuple(arguments.pop("slots"))
    operator = registry()[step.function]

    def run(arrays: Sequence[np.ndarray], symbols: Mapping[str, int]) -> list[np.ndarray]:
        op = operator(**{name: _restored(value, symbols) for name, value in arguments.items()})
        found = op.call(getattr(op, "numpy"), op.arrange(slots, list(arrays)), np)  # noqa: B009
        return list(found) if isinstance(found, (list, tuple)) else [found]

    return run


def _restored(value: Any, symbols: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return value_of(value["size"], symbols)
    if isinstance(value, (list, tuple)):
        return tuple(_restored(each, symbols) for each in value)
    return value
