"""Transposed convolution as direct convolutions, one for each place of a result within a stride.

With stride s, results that are s apart meet the same taps of the kernel, every s-th of them, and neighbours
among them read neighbours of the input: of all s x s phases each is a convolution of stride 1 with a part of
the kernel, turned round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import product as combinations
from typing import Any, NamedTuple

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from .....compiler.ops.conv import per_axis
from ...runtime.packing import Packing
from ...tensor_ir.layouts import PLAIN, Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor
from .axes import Axes
from .base import Accumulated
from .product import Writer
from .tiles import Product, Taps, tile_of


class Phases(NamedTuple):
    """Some phases of an axis that are alike, from `first` on: their taps, and `results` of each.

    The first result of phase `first` is at `start`, the others `stride` apart.
    """

    first: int
    count: int
    stride: int
    taps: Taps
    results: int
    start: int


def phases(kernel: int, stride: int, dilation: int, pad: int, size: int, made: int) -> list[Phases]:
    """All phases of an axis: with p for the padding, phase r has the results i with (i + p) % stride == r."""
    found: list[Phases] = []
    for phase in range(stride):
        taps = -(-(kernel - phase) // stride)
        # The result q*stride + phase - pad reads the input at q - j for tap phase + j*stride.
        least = -((phase - pad) // stride)
        results = -(-(made - phase + pad) // stride) - least
        if results <= 0:
            continue
        direct = Taps(taps, 1, dilation, (taps - 1) * dilation - least, size, False)
        direct = direct._replace(padded=not direct.inside(0, results))
        last = found[-1] if found else None
        if last is not None and last.taps == direct and last.results == results:
            found[-1] = last._replace(count=last.count + 1)
        else:
            found.append(Phases(phase, 1, stride, direct, results, least * stride + phase - pad))
    return found


class Transposed:
    """A transposed convolution in one to three axes whose sizes, but for the batch, are known."""

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        op: Any = node.op
        x, weight, result = (value.shape for value in (*node.inputs[:2], node.results[0]))
        rank = len(x) - 2
        self.dtype, self.lanes, self.rank = dtype, machine.lanes(dtype), rank
        self.sections = int(op.groups)
        self.channels, self.out = int(weight[0]) // self.sections, int(weight[1])  # pyright: ignore[reportArgumentType]
        stride, pad, dilation = (
            per_axis(getattr(op, name), rank, name) for name in ("stride", "pad", "dilation")
        )
        kernel = [int(size) for size in weight[2:]]  # pyright: ignore[reportArgumentType]
        self.phases = [
            phases(*(int(each) for each in given))  # pyright: ignore[reportArgumentType]
            for given in zip(kernel, stride, dilation, pad, x[2:], result[2:], strict=True)
        ]
        run = max(each.results for each in self.phases[-1])
        self.pixels, self.blocks = tile_of(run, -(-self.out // self.lanes), machine.registers)
        wide = self.blocks * self.lanes
        self.groups = -(-self.out // wide)
        parts = -(-self.channels // self.lanes)
        taps = [-(-k // int(s)) for k, s in zip(kernel, stride, strict=True)]  # pyright: ignore[reportArgumentType]
        whole = [count * int(s) for count, s in zip(taps, stride, strict=True)]  # pyright: ignore[reportArgumentType]
        shaped = (self.sections, self.channels, self.out, *kernel)
        padded = (self.sections, parts * self.lanes, self.groups * wide, *whole)
        split = [self.sections, parts, self.lanes, self.groups, wide]
        for count, size in zip(taps, stride, strict=True):
            split += [count, int(size)]  # pyright: ignore[reportArgumentType]
        ends = range(5, len(split), 2)
        # [phases, section, group, part, taps, channel, wide]
        order = (*(end + 1 for end in ends), 0, 3, 1, *ends, 2, 4)
        self.packings = {"weight": Packing(padded, tuple(split), order, shaped=shaped)}
        if "bias" in node.slots:
            filled = (self.sections, self.groups * wide)
            packed = (self.sections * self.groups, wide)
            self.packings["bias"] = Packing(filled, packed, (0, 1), shaped=(self.sections, self.out))
        single = all(int(size) == 1 for size in result[2:])  # pyright: ignore[reportArgumentType]
        self.layout = PLAIN if single else Layout(1, self.lanes)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """A product for each kind of phase, whose results lie between those of the others."""
        for kinds in combinations(*self.phases):
            with ExitStack() as stack:
                turns = [stack.enter_context(loops.loop(kind.count, "phase")) for kind in kinds]
                self._product(loops, operands, kinds, turns, main, results)

    def _product(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        kinds: Sequence[Phases],
        turns: Sequence[Expr],
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        x = operands["x"]
        axes = Axes.made(tuple(kind.taps for kind in kinds), tuple(kind.results for kind in kinds))

        def place(line: Any, column: Expr) -> Iterator[Expr]:
            for kind, turn, position in zip(kinds, turns, axes.spread(line, column), strict=True):
                yield position * kind.stride + (turn + kind.start)

        tiles = -(-axes.run // self.pixels)
        product = Product(
            x.shape[0],
            axes.rows,
            axes.run,
            self.channels,
            self.out,
            self.sections,
            axes.vertical,
            axes.horizontal,
            -(-axes.run // tiles),
            self.blocks,
            self.lanes,
            self.lanes,
            self.dtype,
            lambda sample, channel, line, column: x[(sample, channel, *axes.spread(line, column))],
            lambda sample, channel, row, column: (sample, channel, *place(row, column)),
            axes.depth,
            axes.planes,
        )
        weight: Any = _Part(operands["weight"], kinds, turns, self.groups)
        Writer(product, loops, weight, operands.get("bias"), main, results).write()


class _Part:
    """The weights of a phase, as those of a direct convolution are read."""

    def __init__(self, weight: Tensor, kinds: Sequence[Phases], turns: Sequence[Expr], groups: int) -> None:
        self.weight, self.groups = weight, groups
        self.phase = [kind.first + turn for kind, turn in zip(kinds, turns, strict=True)]
        self.last = [kind.taps.count - 1 for kind in kinds]

    def __getitem__(self, index: tuple[Any, ...]) -> Expr:
        packed, part, *taps, channel, lane = index
        # Along one axis there are no rows, and their tap is 0.
        turned = [last - tap for last, tap in zip(self.last, taps[-len(self.last) :], strict=True)]
        place = tirx.floordiv(packed, self.groups), tirx.floormod(packed, self.groups)
        return self.weight[(*self.phase, *place, part, *turned, channel, lane)]


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or phases have no taps."""
    if node.op.name != "conv_transpose_with" or dtype not in ("float32", "float64"):
        return None
    op: Any = node.op
    x, weight, result = (value.shape for value in (*node.inputs[:2], node.results[0]))
    rank = len(x) - 2
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    if not known or 0 in (*x, *result) or node.inputs[0] is node.inputs[1]:
        return None
    stride, dilation = per_axis(op.stride, rank, "stride"), per_axis(op.dilation, rank, "dilation")
    for k, s, d in zip(weight[2:], stride, dilation, strict=True):
        if s != 1 and (d != 1 or int(k) < int(s)):  # pyright: ignore[reportArgumentType]
            return None
    # Groups that are narrow would leave most of a vector empty.
    if op.groups > 1 and int(weight[1]) < machine.lanes(dtype):  # pyright: ignore[reportArgumentType]
        return None
    return Transposed(node, machine, dtype)
