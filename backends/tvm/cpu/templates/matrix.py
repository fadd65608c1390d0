"""Products of two computed matrices, perhaps many of them: `matmul`, and `einsum` of two operands.

The right one is copied panel by panel, so that neighbours along a vector are results of a row; each panel is
then read for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from .....compiler.ops.einsum import Einsum
from ...runtime.packing import Packing
from ...tensor_ir.indices import index_const
from ...tensor_ir.layouts import PLAIN, Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor
from .base import Accumulated, zero
from .linear import ROWS
from .product import Writer
from .tiles import Product, Spot, Taps, tile_of

Index = dict[str, Expr]


class Axes(NamedTuple):
    """The names of the axes of both operands and of the result, and what they are to the product.

    Rows and columns are the left operand's and the right one's own, of which the result's last is a column.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    result: tuple[str, ...]
    swapped: bool
    batch: tuple[str, ...]
    rows: tuple[str, ...]
    column: str
    summed: tuple[str, ...]


class Matrices:
    """Products whose rows, columns and sums have known sizes."""

    layout = PLAIN
    packings: Mapping[str, Packing] = {}

    def __init__(self, node: Node, axes: Axes, sizes: Mapping[str, Any], machine: Cpu, dtype: str) -> None:
        self.axes, self.sizes, self.dtype = axes, sizes, dtype
        self.lanes, self.threads = machine.lanes(dtype), machine.threads
        names = list(dict.fromkeys(node.slots))
        # Of a list of operands the second is named by its number.
        self.names = (names[0], names[1] if len(names) > 1 else f"{names[0]}1")
        self.run = self._size(axes.rows)
        self.channels, self.out = self._size(axes.summed), int(sizes[axes.column])
        self.pixels, self.blocks = tile_of(self.run, -(-self.out // self.lanes), machine.registers, ROWS)

    def _size(self, names: Sequence[str]) -> int:
        found = 1
        for name in names:
            found *= int(self.sizes[name])
        return found

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """Products, panels of columns and parts of the rows on all threads."""
        given = [operands[name] for name in self.names]
        left, right = reversed(given) if self.axes.swapped else given
        PanelWriter(self, loops, left, right, main, results).write()


class PanelWriter(Writer):
    """Makes a panel, and then the results that it is read for."""

    def __init__(
        self,
        plan: Matrices,
        loops: Loops,
        left: Tensor,
        right: Tensor,
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        self.plan, self.axes = plan, plan.axes
        self.left, self.right = left, right
        self.at: Index = {}
        sizes = dict(zip(self.axes.result, main.shape, strict=True))
        self.batch = [sizes[name] for name in self.axes.batch]
        total: Any = 1
        for size in self.batch:
            total = total * size
        one = Taps(1, 1, 1, 0, plan.run, False)
        product = Product(
            total,
            1,
            plan.run,
            plan.channels,
            plan.out,
            1,
            one,
            one,
            plan.pixels,
            plan.blocks,
            plan.lanes,
            plan.lanes,
            plan.dtype,
            self._read,
            self._index,
        )
        super().__init__(product, loops, left, None, main, results)

    def write(self) -> None:
        """Loops over panels, each for a part of the rows on one thread."""
        product, loops = self.product, self.loops
        tiles = self._tiles()
        whole, none = product.out // product.wide, index_const(0)
        for first, count in ((0, whole), (whole, product.groups - whole)):
            if not count:
                continue
            left = min(product.wide, product.out - first * product.wide)
            total = product.batch * count
            parts = 1
            if isinstance(total, int) and total % self.plan.threads and total < 4 * self.plan.threads:
                # Panels are copied once more for each part.
                parts = min(len(tiles), 2 * self.plan.threads)
            with loops.loop(total * parts, "o", "parallel") as outer:
                piece = loops.let(tirx.floormod(outer, parts), "piece")
                rest = tirx.floordiv(outer, parts)
                group = loops.let(tirx.floormod(rest, count) + first, "group")
                sample = loops.let(tirx.floordiv(rest, count), "sample")
                self.at = dict(zip(self.axes.batch, _split(loops, sample, self.batch), strict=True))
                panel: Any = _Panel(self._panel(group, left), product.part)
                self.weight = panel
                each = -(-len(tiles) // parts)
                with loops.loop(each, "tile") as number:
                    turn = loops.let(piece * each + number, "turn")
                    spot = Spot(sample, none, group, none, turn)
                    if parts * each == len(tiles):
                        self._single(spot, tiles, left)
                    else:
                        with loops.when(turn < len(tiles)):
                            self._single(spot, tiles, left)

    def _panel(self, group: Expr, left: int) -> Any:
        """The columns of a group, side by side for each position that is summed over, with zeros behind."""
        product, loops, lanes = self.product, self.loops, self.product.lanes
        panel = loops.alloc([product.channels, product.wide], product.dtype, "panel")
        whole, rest = divmod(left, lanes)
        with loops.loop(product.channels, "k") as k:
            for first, count in [(block * lanes, lanes) for block in range(whole)] + [(whole * lanes, rest)]:
                if not count:
                    continue
                with loops.loop(count, "lane", "vectorized") as lane:
                    column = group * product.wide + first + lane
                    at = self.at | self._summed(k) | {self.axes.column: column}
                    loops.store(panel, _element(self.right, self.axes.right, at), k, first + lane)
            if rest:
                with loops.loop(lanes - rest, "lane") as lane:
                    loops.store(panel, zero(product.dtype), k, left + lane)
        return panel

    def _summed(self, position: Expr) -> Index:
        return self._parts(self.axes.summed, position)

    def _parts(self, names: Sequence[str], position: Expr) -> Index:
        """Where a position in several axes is in each."""
        found: Index = {}
        for name in reversed(names[1:]):
            size = int(self.plan.sizes[name])
            found[name] = tirx.floormod(position, size)
            position = tirx.floordiv(position, size)
        return found | {names[0]: position} if names else found

    def _read(self, sample: Expr, channel: Expr, line: Expr, column: Expr) -> Expr:
        at = self.at | self._parts(self.axes.rows, column) | self._summed(channel)
        return _element(self.left, self.axes.left, at)

    def _index(self, sample: Expr, channel: Expr, row: Expr, column: Expr) -> tuple[Expr, ...]:
        none = index_const(0)
        at = self.at | self._parts(self.axes.rows, column) | {self.axes.column: channel}
        return tuple(at.get(name, none) for name in self.axes.result)


class _Panel:
    """A panel, read as packed weights are."""

    def __init__(self, buffer: Any, part: int) -> None:
        self.buffer, self.part = buffer, part

    def __getitem__(self, index: tuple[Any, ...]) -> Expr:
        _, part, _, _, channel, lane = index
        return tirx.BufferLoad(self.buffer, [part * self.part + channel, lane])


def _element(tensor: Tensor, names: Sequence[str], at: Index) -> Expr:
    """An operand's element; an axis of one is stretched."""
    none = index_const(0)
    sizes = zip(names, tensor.shape, strict=True)
    return tensor[tuple(none if isinstance(size, int) and size == 1 else at[name] for name, size in sizes)]


def _split(loops: Loops, flat: Expr, sizes: Sequence[Any]) -> list[Expr]:
    found: list[Expr] = []
    for size in reversed(sizes[1:]):
        found.append(loops.let(tirx.floormod(flat, size), "at"))
        flat = loops.let(tirx.floordiv(flat, size), "rest")
    return [flat, *reversed(found)] if sizes else []


def axes_of(node: Node) -> Axes | None:
    """The axes of a product of two operands, or None where it is another operator."""
    if len(node.inputs) != 2:
        return None
    x, y = node.inputs[0].shape, node.inputs[1].shape
    if node.op.name == "matmul":
        if len(x) < 2 or len(y) < 2:
            return None
        lead = [f".{number}" for number in range(max(len(x), len(y)) - 2, 0, -1)]
        left = (*lead[len(lead) - len(x) + 2 :], "row", "sum")
        right = (*lead[len(lead) - len(y) + 2 :], "sum", "column")
        result = (*lead, "row", "column")
    elif isinstance(node.op, Einsum):
        (left, right), result = node.op.axes((x, y))
    else:
        return None
    return _named(left, right, result, node)


def _named(left: tuple[str, ...], right: tuple[str, ...], result: tuple[str, ...], node: Node) -> Axes | None:
    terms = [left, right]
    if any(len(set(term)) < len(term) for term in terms) or not result:
        return None
    sizes = dict(zip(result, node.results[0].shape, strict=True))
    # Where an operand has one element that is stretched, it does not tell the others apart.
    own = [
        {name for name, size in zip(term, value.shape, strict=True) if size != 1 or sizes.get(name) == 1}
        for term, value in zip(terms, node.inputs, strict=True)
    ]
    swapped = result[-1] in own[0]
    if swapped:
        terms.reverse()
        own.reverse()
    column = result[-1]
    summed = tuple(name for name in terms[0] if name not in result)
    if column not in own[1] or column in own[0] or {*summed} != {*terms[1]} - {*result} or not summed:
        return None
    if any(name not in own[0] or name not in own[1] for name in summed):
        return None
    alone = [name for name in result[:-1] if name in own[0] and name not in own[1]]
    rows = tuple(name for name in alone if isinstance(sizes[name], int))
    batch = tuple(name for name in result[:-1] if name not in rows)
    return Axes(terms[0], terms[1], result, swapped, batch, rows, column, summed)


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator, or vectors would be nearly empty."""
    if node.op.name not in ("matmul", "einsum") or dtype not in ("float32", "float64"):
        return None
    if any(value.type.dtype != node.results[0].type.dtype for value in node.inputs):
        return None
    axes = axes_of(node)
    if axes is None or any(0 in value.shape for value in (*node.inputs, *node.results)):
        return None
    given = reversed(node.inputs) if axes.swapped else node.inputs
    sizes: dict[str, Any] = {}
    for names, value in zip((axes.left, axes.right), given, strict=True):
        sizes |= {name: size for name, size in zip(names, value.shape, strict=True) if size != 1}
    sizes = {name: sizes.get(name, 1) for name in (*axes.left, *axes.right)}
    known = all(isinstance(sizes[name], int) for name in (*axes.rows, axes.column, *axes.summed))
    lanes = machine.lanes(dtype)
    if not known or int(sizes[axes.column]) < lanes // 2:
        return None
    made = Matrices(node, axes, sizes, machine, dtype)
    return made if made.run >= _READ else None


_READ = 4
"""Rows that a panel is read for, at least: for fewer it is not worth a copy."""
