"""Kernels by hand for what takes the time, chosen by shape and machine.

A template says of a main operator whether it `fits`, how the weights are to be packed, and writes the loops.
What follows in the group is worked out element by element where the main operator's result is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...tensor_ir.layouts import Layout
from . import attention, convolution, depthwise, grouped, linear, matrix, pool, transposed, winograd
from .base import Template

Fit = Callable[[Node, Mapping[str, Layout], Cpu, str], "Template | None"]

TEMPLATES: tuple[Any, ...] = (
    attention.fit,
    depthwise.fit,
    winograd.fit,
    grouped.fit,
    convolution.fit,
    linear.fit,
    pool.fit,
    transposed.fit,
    matrix.fit,
)


def find(
    node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str, computed: bool = False
) -> Template | None:
    """The first template that fits a main operator whose operands lie in memory so.

    With `computed` its weights are not known before it is called.
    """
    if any(0 in value.shape for value in (*node.inputs, *node.results)):
        return None  # tiles of nothing
    for fit in TEMPLATES:
        found = fit(node, layouts, machine, dtype)
        if found is not None and not (computed and any(each.sides for each in found.packings.values())):
            return found
    return None


__all__ = ["Template", "find"]
