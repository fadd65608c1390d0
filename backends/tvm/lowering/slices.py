"""Kernels that move a slice of a tensor: what a loop over an axis reads and writes at each turn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from tvm import tirx

from ....compiler.sizes.dims import Size, free_symbols, prod, render
from ..runtime.dtypes import storage_dtype
from ..runtime.program import TURN
from ..tensor_ir.expressions import size_expression
from ..tensor_ir.indices import declared, index_const, is_far, wide
from ..tensor_ir.loops import Loops, pointer, private_function


class SliceCopy(NamedTuple):
    """A kernel's name, its symbols, and what it moves.

    The whole has `sizes` [rows, turns, columns], the part [rows, columns]; a `put` writes the whole.
    """

    name: str
    symbols: tuple[str, ...]
    kind: str
    dtype: str
    sizes: tuple[Size, Size, Size]

    def function(self) -> Any:
        """Loops over rows and columns; it takes pointers to what is read and written, and the symbols."""
        symbols = {name: tirx.Var(name, "int64") for name in self.symbols}
        with wide(is_far(self.sizes)):
            return self._function(symbols)

    def _function(self, symbols: dict[str, Any]) -> Any:
        loops = Loops()
        pointers: list[Any] = []
        buffers: list[Any] = []
        for name, sizes in self.shapes(symbols):
            pointers.append(pointer(f"{name}_data", self.dtype))
            buffers.append(declared(sizes, self.dtype, name=name, data=pointers[-1]))
            loops.emit(tirx.DeclBuffer(buffers[-1], data=pointers[-1]))
        source, target = buffers
        rows, columns = self.extents(symbols)
        with loops.loop(rows, "i") as i, loops.loop(columns, "j") as j:
            self.element(loops, source, target, i, j, symbols)
        return private_function([*pointers, *symbols.values()], loops.body())

    def extents(self, symbols: dict[str, Any]) -> tuple[Any, Any]:
        """Rows and columns."""
        return size_expression(self.sizes[0], symbols), size_expression(self.sizes[2], symbols)

    def shapes(self, symbols: dict[str, Any]) -> list[tuple[str, list[Any]]]:
        """Names and sizes of what is read and what is written."""
        rows, turns, columns = (size_expression(size, symbols) for size in self.sizes)
        whole, part = ("whole", [rows, turns, columns]), ("part", [rows, columns])
        return [part, whole] if self.kind == "put" else [whole, part]

    def element(
        self, loops: Loops, source: Any, target: Any, i: Any, j: Any, symbols: dict[str, Any]
    ) -> None:
        """SliceCopy the element of a row and a column."""
        # A copy has one turn.
        turn = index_const(0) if self.kind == "copy" else symbols[TURN]
        if self.kind == "put":
            loops.store(target, tirx.BufferLoad(source, [i, j]), i, turn, j)
        else:
            loops.store(target, tirx.BufferLoad(source, [i, turn, j]), i, j)


def take(dtype: str, shape: Sequence[Size], axis: int) -> SliceCopy:
    """[*a, N, *b] -> [*a, *b] at the turn."""
    return _move("take", dtype, shape, axis)


def put(dtype: str, shape: Sequence[Size], axis: int) -> SliceCopy:
    """[*a, *b] into [*a, N, *b] at the turn; the function takes the slice first."""
    return _move("put", dtype, shape, axis)


def copy(dtype: str, shape: Sequence[Size]) -> SliceCopy:
    """The elements as they are."""
    return _move("copy", dtype, (1, *shape), 0)


def _move(kind: str, dtype: str, shape: Sequence[Size], axis: int) -> SliceCopy:
    dtype = storage_dtype(dtype)
    sizes = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    names = sorted({name for size in sizes for name in free_symbols(size)})
    key = f"{kind} {dtype} {[render(size) for size in sizes]}"
    name = f"{kind}_" + hashlib.sha256(key.encode()).hexdigest()[:16]
    return SliceCopy(name, (*names, TURN), kind, dtype, sizes)
