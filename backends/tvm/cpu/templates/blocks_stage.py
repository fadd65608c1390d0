"""A stage of a block: a convolution, row by row, for a kernel that runs several of them in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.layouts import Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor
from .axes import groups_of
from .base import Accumulated
from .depthwise import ChannelWriter, Depthwise
from .product import Writer
from .tiles import Product, Taps, tile_of


class Stage:
    """A convolution of two axes, dense or depthwise, whose sizes, but for the batch, are known.

    Its result has `rows` of `run` pixels each.
    """

    def __init__(self, main: Node, machine: Cpu, dtype: str) -> None:
        x, weight, result = main.inputs[0].shape, main.inputs[1].shape, main.results[0].shape
        stride, dilation, pads = main.op.window(x[2:], weight[2:])  # pyright: ignore[reportAttributeAccessIssue]
        self.main, self.dtype, self.lanes = main, dtype, machine.lanes(dtype)
        self.out, self.channels = int(weight[0]), int(weight[1])  # pyright: ignore[reportArgumentType]
        self.vertical, self.horizontal = (
            Taps(int(k), int(s), int(d), int(p[0]), int(size), any(p))
            for k, s, d, p, size in zip(weight[2:], stride, dilation, pads, x[2:], strict=True)
        )
        self.rows, self.run = (int(size) for size in result[2:])  # pyright: ignore[reportArgumentType]
        self.depthwise = is_depthwise(main)
        taps = (self.vertical, self.horizontal)
        self.pointwise = all(tap.count == tap.stride == 1 and not tap.padded for tap in taps)
        if self.depthwise:
            made = Depthwise(main, machine, dtype)
            self.pixels, self.blocks, self.packings = made.pixels, 1, made.packings
        else:
            vectors = -(-self.out // self.lanes)
            self.pixels, self.blocks = tile_of(self.run, vectors, machine.registers)
            self.packings = self._packings()

    def _packings(self) -> Mapping[str, Packing]:
        wide = self.blocks * self.lanes
        groups, parts = -(-self.out // wide), -(-self.channels // self.lanes)
        kernel = self.vertical.count, self.horizontal.count
        padded = (groups * wide, parts * self.lanes, *kernel)
        split = (groups, wide, parts, self.lanes, *kernel)
        found = {"weight": Packing(padded, split, (0, 2, 4, 5, 3, 1))}
        if "bias" in self.main.slots:
            found["bias"] = Packing(padded[:1], split[:2], (0, 1))
        return found

    @property
    def work(self) -> int:
        """Multiply-adds for one row of the result."""
        return self.run * self.out * self.channels * self.vertical.count * self.horizontal.count

    @property
    def row(self) -> int:
        """Bytes of a row of the result."""
        bytes = 8 if self.dtype == "float64" else 4
        return -(-self.out // self.lanes) * self.lanes * self.run * bytes

    def writer(
        self,
        loops: Loops,
        tensors: Mapping[Any, Tensor],
        x: Tensor,
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> Writer:
        """What writes rows of `results` from those of `x`; the weights are among `tensors`, by value."""
        given = dict(zip(self.main.slots, self.main.inputs, strict=True))
        product = Product(
            1,
            self.rows,
            self.run,
            1 if self.depthwise else self.channels,
            self.out,
            1,
            self.vertical,
            self.horizontal,
            self.pixels,
            self.blocks,
            self.lanes,
            self.lanes,
            self.dtype,
            lambda *index: x[index],
            lambda *index: index,
        )
        kind = ChannelWriter if self.depthwise else Writer
        bias = tensors[given["bias"]] if "bias" in given else None
        return kind(product, loops, tensors[given["weight"]], bias, main, results)


class Rows(Tensor):
    """Some rows of what a stage makes, in memory of a thread: a row takes the place of one that is done with.

    It is read and stored by sample, channel, row and column. There is room for `room` rows; channels are in
    blocks of a vector. `inner` says what is stored.
    """

    def __init__(self, inner: Tensor, stage: Stage, room: int, loops: Loops) -> None:
        super().__init__((1, stage.out, stage.rows, stage.run), inner.dtype, inner.name)
        self.inner, self.room = inner, min(room, stage.rows)
        self.layout = Layout(0, stage.lanes)
        sizes = self.layout.shape((stage.out, self.room, stage.run))
        self.buffer = loops.alloc(sizes, inner.dtype, "rows")

    def at(self, indices: tuple[Expr, ...]) -> Expr:
        """The element to store."""
        return self.inner[indices]

    def place(self, indices: Sequence[Expr]) -> list[Expr]:
        """Where an element is in the buffer."""
        _, channel, row, column = indices
        if self.room < self.shape[2]:
            row = tirx.truncmod(row, self.room)
        return super().place((channel, row, column))


def is_stage(main: Node) -> bool:
    """Whether a main operator can be a stage: a convolution with packed weights, dense or depthwise."""
    if main.op.name != "conv_with" or any(value.node.op.name != "weight" for value in main.inputs[1:]):
        return False
    x, weight = main.inputs[0].shape, main.inputs[1].shape
    known = all(isinstance(size, int) and size > 0 for size in (*x[1:], *weight, *main.results[0].shape[1:]))
    return known and len(x) == 4 and (groups_of(main) == 1 or is_depthwise(main))


def is_depthwise(main: Node) -> bool:
    """Whether a convolution has one filter for each channel."""
    x, weight = main.inputs[0].shape, main.inputs[1].shape
    return groups_of(main) == x[1] == weight[0] and x[1] != 1
