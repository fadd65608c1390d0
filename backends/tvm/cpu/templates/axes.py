"""The spatial axes of a convolution as templates see them: a plane, a row and a column, whatever there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .....compiler.graph.graph import Node
from ...tensor_ir.loops import Expr
from ...tensor_ir.tensors import Tensor
from .tiles import Product, Taps

ONE = Taps(1, 1, 1, 0, 1, False)
"""An axis that is not there."""


@dataclass(frozen=True)
class Axes:
    """Taps and numbers of results along 1 to 3 axes, columns last; a row is before them if there is none."""

    rank: int
    taps: tuple[Taps, ...]
    sizes: tuple[int, ...]

    @staticmethod
    def of(node: Node) -> Axes:
        """Those of a convolution whose sizes are known."""
        x, weight, result = node.inputs[0].shape, node.inputs[1].shape, node.results[0].shape
        stride, dilation, pads = node.op.window(x[2:], weight[2:])  # pyright: ignore[reportAttributeAccessIssue]
        taps = tuple(
            Taps(int(k), int(s), int(d), int(p[0]), int(size), any(p))
            for k, s, d, p, size in zip(weight[2:], stride, dilation, pads, x[2:], strict=True)
        )
        return Axes.made(taps, tuple(int(size) for size in result[2:]))  # pyright: ignore[reportArgumentType]

    @staticmethod
    def made(taps: tuple[Taps, ...], sizes: tuple[int, ...]) -> Axes:
        """From what there is along each axis."""
        if len(taps) == 1:
            return Axes(1, (ONE, *taps), (1, *sizes))
        return Axes(len(taps), taps, sizes)

    @property
    def depth(self) -> Taps | None:
        """The taps between planes."""
        return self.taps[0] if self.rank == 3 else None

    @property
    def vertical(self) -> Taps:
        """The taps between rows."""
        return self.taps[-2]

    @property
    def horizontal(self) -> Taps:
        """The taps between columns."""
        return self.taps[-1]

    @property
    def planes(self) -> int:
        """Planes of results."""
        return self.sizes[0] if self.rank == 3 else 1

    @property
    def rows(self) -> int:
        """Rows of a plane."""
        return self.sizes[-2]

    @property
    def run(self) -> int:
        """Results of a row."""
        return self.sizes[-1]

    @property
    def kernel(self) -> tuple[int, ...]:
        """The number of taps along each axis, the row's too where there is none."""
        return tuple(tap.count for tap in self.taps)

    def product(self, x: Tensor, channels: int, out: int, pixels: int, lanes: int, dtype: str) -> Product:
        """What is summed, where each vector of output channels has its own input channels."""
        return Product(
            x.shape[0],
            self.rows,
            self.run,
            channels,
            out,
            1,
            self.vertical,
            self.horizontal,
            pixels,
            1,
            lanes,
            lanes,
            dtype,
            lambda sample, channel, line, column: x[(sample, channel, *self.spread(line, column))],
            lambda sample, channel, row, column: (sample, channel, *self.spread(row, column)),
            self.depth,
            self.planes,
        )

    def spread(self, line: Any, column: Expr) -> tuple[Expr, ...]:
        """The index along the axes that there are; a line may be a pair with its plane."""
        if self.rank == 1:
            return (column,)
        return (*line, column) if self.rank == 3 else (line, column)


def groups_of(node: Node) -> int:
    """The groups of a convolution."""
    op: Any = node.op
    return int(op.groups)
