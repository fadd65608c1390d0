"""Linear maps of the last axis: rows are the pixels of a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.layouts import PLAIN, Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor
from .base import Accumulated
from .product import Writer
from .tiles import Product, Taps, tile_of

ROWS = 9
"""Rows in a tile, at most: further apart than a page, more of them would share too few sets of the cache."""


class Linear:
    """[*b, I] -> [*b, O]; all axes but the first have known sizes."""

    layout = PLAIN

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        x, weight = node.inputs[0].shape, node.inputs[1].shape
        self.dtype, self.lanes = dtype, machine.lanes(dtype)
        self.out, self.channels = int(weight[0]), int(weight[1])  # pyright: ignore[reportArgumentType]
        leading = x[:-1]
        self.outer = bool(leading) and not isinstance(leading[0], int)
        self.inner = [int(size) for size in leading[self.outer :]]  # pyright: ignore[reportArgumentType]
        self.run = 1
        for size in self.inner:
            self.run *= size
        vectors = -(-self.out // self.lanes)
        self.pixels, self.blocks = tile_of(self.run, vectors, machine.registers, ROWS)
        wide = self.blocks * self.lanes
        groups, parts = -(-self.out // wide), -(-self.channels // self.lanes)
        padded = (groups * wide, parts * self.lanes)
        self.packings = {
            "weight": Packing(padded, (groups, wide, parts, self.lanes, 1, 1), (0, 2, 4, 5, 3, 1))
        }
        if "bias" in node.slots:
            self.packings["bias"] = Packing(padded[:1], (groups, wide), (0, 1))

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """The product's loops."""
        x = operands["x"]

        def spread(sample: Expr, row: Expr, channel: Expr) -> tuple[Expr, ...]:
            found: list[Expr] = []
            for size in reversed(self.inner[1:]):
                found.append(tirx.floormod(row, size))
                row = tirx.floordiv(row, size)
            if self.inner:
                found.append(row)
            return (*((sample,) if self.outer else ()), *reversed(found), channel)

        one = Taps(1, 1, 1, 0, self.run, False)
        product = Product(
            x.shape[0] if self.outer else 1,
            1,
            self.run,
            self.channels,
            self.out,
            1,
            one,
            one,
            self.pixels,
            self.blocks,
            self.lanes,
            self.lanes,
            self.dtype,
            lambda sample, channel, line, column: x[spread(sample, column, channel)],
            lambda sample, channel, row, column: spread(sample, column, channel),
        )
        Writer(product, loops, operands["weight"], operands.get("bias"), main, results).write()


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or sizes are not known."""
    if node.op.name != "linear_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    if (
        not all(isinstance(size, int) for size in (*x[1:], *weight))
        or 0 in x
        or node.inputs[0] is node.inputs[1]
    ):
        return None
    return Linear(node, machine, dtype)
