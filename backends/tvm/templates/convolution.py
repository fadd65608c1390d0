"""Direct convolution, of dense channels or of groups that fill vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from ....compiler.graph import Node
from ..layouts import PLAIN, Layout
from ..loops import Expr, Loops
from ..machine import Machine
from ..packing import Packing
from ..tensors import Tensor
from .base import Accumulated
from .product import Product, Taps, Writer, tile_of


class Convolution:
    """A convolution in one or two axes whose sizes, but for the batch, are known."""

    def __init__(self, node: Node, machine: Machine, dtype: str) -> None:
        x, weight, result = node.inputs[0].shape, node.inputs[1].shape, node.results[0].shape
        stride, dilation, pads = node.op.window(x[2:], weight[2:])  # pyright: ignore[reportAttributeAccessIssue]
        self.flat = len(x) == 3
        self.machine, self.dtype, self.lanes = machine, dtype, machine.lanes(dtype)
        self.sections = int(getattr(node.op, "groups"))  # noqa: B009
        self.channels, self.out = int(weight[1]), int(weight[0]) // self.sections
        taps = [
            Taps(int(k), int(s), int(d), int(p[0]), int(size), any(p))
            for k, s, d, p, size in zip(weight[2:], stride, dilation, pads, x[2:], strict=True)
        ]
        sizes = [int(size) for size in result[2:]]
        self.vertical, self.horizontal = taps if len(taps) == 2 else (Taps(1, 1, 1, 0, 1, False), taps[0])
        self.rows, self.run = sizes if len(sizes) == 2 else (1, sizes[0])
        self.columns = self.run
        # One tap without padding: neighbours in memory need no row to be neighbours.
        self.pointwise = all(tap.count == 1 and tap.stride == 1 and not tap.padded for tap in taps)
        if self.pointwise:
            self.rows, self.run = 1, self.rows * self.run
            self.vertical = self.horizontal = Taps(1, 1, 1, 0, self.run, False)
        vectors = -(-self.out // self.lanes)
        self.pixels, self.blocks = tile_of(self.run, vectors, machine.registers)
        wide = self.blocks * self.lanes
        groups, parts = -(-self.out // wide), -(-self.channels // self.lanes)
        kernel = [tap.count for tap in taps]
        both = kernel if len(kernel) == 2 else [1, *kernel]
        split = (self.sections * groups, wide, parts, self.lanes, *both)
        padded = (self.sections * groups * wide, parts * self.lanes, *kernel)
        self.packings = {"weight": Packing(padded, split, (0, 2, 4, 5, 3, 1))}
        if "bias" in node.slots:
            self.packings["bias"] = Packing(padded[:1], split[:2], (0, 1))
        self.layout = PLAIN if self.rows * self.run == 1 else Layout(1, self.lanes)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Machine,
    ) -> None:
        """The product's loops."""
        x = operands["x"]

        def spread(line: Expr, column: Expr) -> tuple[Expr, ...]:
            if self.flat:
                return (column,)
            if self.pointwise:
                return tirx.floordiv(column, self.columns), tirx.floormod(column, self.columns)
            return line, column

        product = Product(
            x.shape[0],
            self.rows,
            self.run,
            self.channels,
            self.out,
            self.sections,
            self.vertical,
            self.horizontal,
            self.pixels,
            self.blocks,
            self.lanes,
            self.lanes,
            self.dtype,
            lambda sample, channel, line, column: x[(sample, channel, *spread(line, column))],
            lambda sample, channel, row, column: (sample, channel, *spread(row, column)),
        )
        Writer(product, loops, operands["weight"], operands.get("bias"), main, results).write()


def fit(node: Node, layouts: Mapping[str, Layout], machine: Machine, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or another kind of convolution."""
    if node.op.name != "conv_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    if not known or len(x) not in (3, 4) or len(weight) != len(x) or node.inputs[0] is node.inputs[1]:
        return None
    groups = int(getattr(node.op, "groups"))  # noqa: B009
    out = int(weight[0])  # pyright: ignore[reportArgumentType]
    if groups > 1 and (out // groups) % machine.lanes(dtype):
        return None
    return Convolution(node, machine, dtype)
