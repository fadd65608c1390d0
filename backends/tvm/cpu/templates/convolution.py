"""Direct convolution, of dense channels or of groups that fill vectors, or halves of them."""

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
from .axes import Axes, groups_of
from .base import Accumulated
from .product import Writer
from .tiles import Product, Taps, tile_of


class Convolution:
    """A convolution in one to three axes whose sizes, but for the batch, are known.

    `lanes` may be fewer than a register has, for groups of so many output channels.
    """

    def __init__(self, node: Node, machine: Cpu, dtype: str, lanes: int) -> None:
        weight = node.inputs[1].shape
        self.axes = axes = Axes.of(node)
        self.dtype, self.lanes = dtype, lanes
        self.sections = groups_of(node)
        self.channels, self.out = int(weight[1]), int(weight[0]) // self.sections  # pyright: ignore[reportArgumentType]
        # One tap without padding: neighbours in memory need no row to be neighbours.
        self.pointwise = all(tap.count == 1 and tap.stride == 1 and not tap.padded for tap in axes.taps)
        self.run = axes.planes * axes.rows * axes.run if self.pointwise else axes.run
        vectors = -(-self.out // lanes)
        self.pixels, self.blocks = tile_of(self.run, vectors, machine.registers)
        wide = self.blocks * lanes
        groups, parts = -(-self.out // wide), -(-self.channels // lanes)
        kernel = [tap.count for tap in axes.taps[-axes.rank :]]
        shaped = (self.sections, self.out, self.channels, *kernel)
        padded = (self.sections, groups * wide, parts * lanes, *kernel)
        split = (self.sections * groups, wide, parts, lanes, *((1, 1) if self.pointwise else axes.kernel))
        taps = range(4, len(split))
        self.packings = {"weight": Packing(padded, split, (0, 2, *taps, 3, 1), shaped=shaped)}
        if "bias" in node.slots:
            self.packings["bias"] = Packing(padded[:2], split[:2], (0, 1), shaped=shaped[:2])
        single = axes.planes * axes.rows * axes.run == 1
        self.layout = PLAIN if single else Layout(1, machine.lanes(dtype))

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """The product's loops."""
        x, axes = operands["x"], self.axes
        one = Taps(1, 1, 1, 0, self.run, False)

        def spread(line: Any, column: Expr) -> tuple[Expr, ...]:
            if not self.pointwise or axes.rank == 1:
                return axes.spread(line, column)
            line, column = tirx.floordiv(column, axes.run), tirx.floormod(column, axes.run)
            if axes.rank == 3:
                line = tirx.floordiv(line, axes.rows), tirx.floormod(line, axes.rows)
            return axes.spread(line, column)

        product = Product(
            x.shape[0],
            1 if self.pointwise else axes.rows,
            self.run,
            self.channels,
            self.out,
            self.sections,
            one if self.pointwise else axes.vertical,
            one if self.pointwise else axes.horizontal,
            self.pixels,
            self.blocks,
            self.lanes,
            self.lanes,
            self.dtype,
            lambda sample, channel, line, column: x[(sample, channel, *spread(line, column))],
            lambda sample, channel, row, column: (sample, channel, *spread(row, column)),
            None if self.pointwise else axes.depth,
            1 if self.pointwise else axes.planes,
        )
        Writer(product, loops, operands["weight"], operands.get("bias"), main, results).write()


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or another kind of convolution."""
    if node.op.name != "conv_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    if not known or len(weight) != len(x) or node.inputs[0] is node.inputs[1]:
        return None
    groups = groups_of(node)
    out = int(weight[0])  # pyright: ignore[reportArgumentType]
    lanes = machine.lanes(dtype)
    if groups > 1 and (out // groups) % lanes:
        # Shorter vectors, or groups that nearly fill those that they take.
        if (out // groups) % (lanes // 2) == 0:
            lanes //= 2
        elif out // groups < lanes:
            return None
    return Convolution(node, machine, dtype, lanes)
