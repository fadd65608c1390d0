"""Kernels that move a slice of a tensor: what a loop over an axis reads and writes at each turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from ...compiler.dims import Size, free_symbols, prod, render
from .dtypes import held_dtype
from .expressions import size_expression
from .loops import Loops, pointer, private_function

Move = tuple[str, Any, tuple[str, ...]]
"""A kernel's name, its function, and its symbols."""

TURN = "turn"
"""The symbol that counts the turns of a loop."""


def take(dtype: str, shape: Sequence[Size], axis: int) -> Move:
    """[*a, N, *b] -> [*a, *b] at the turn."""

    def write(loops: Loops, whole: Any, part: Any, at: Any, turn: Any) -> None:
        loops.store(part, tirx.BufferLoad(whole, [at[0], turn, at[1]]), *at)

    return _move("take", dtype, shape, axis, write)


def put(dtype: str, shape: Sequence[Size], axis: int) -> Move:
    """[*a, *b] into [*a, N, *b] at the turn; the function takes the slice first."""

    def write(loops: Loops, whole: Any, part: Any, at: Any, turn: Any) -> None:
        loops.store(whole, tirx.BufferLoad(part, list(at)), at[0], turn, at[1])

    return _move("put", dtype, shape, axis, write)


def copy(dtype: str, shape: Sequence[Size]) -> Move:
    """The elements as they are."""

    def write(loops: Loops, whole: Any, part: Any, at: Any, turn: Any) -> None:
        loops.store(part, tirx.BufferLoad(whole, [at[0], tirx.const(0, "int32"), at[1]]), *at)

    return _move("copy", dtype, (1, *shape), 0, write)


def _move(
    kind: str,
    dtype: str,
    shape: Sequence[Size],
    axis: int,
    write: Callable[[Loops, Any, Any, Any, Any], None],
) -> Move:
    dtype = held_dtype(dtype)
    before, count, after = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
    names = sorted({name for size in (before, count, after) for name in free_symbols(size)})
    symbols = {name: tirx.Var(name, "int64") for name in names}
    rows, turns, columns = (size_expression(size, symbols) for size in (before, count, after))
    turn = tirx.Var(TURN, "int64")
    loops = Loops()
    whole_data, part_data = pointer("whole_data", dtype), pointer("part_data", dtype)
    whole = tirx.decl_buffer([rows, turns, columns], dtype, name="whole", data=whole_data)
    part = tirx.decl_buffer([rows, columns], dtype, name="part", data=part_data)
    for buffer, data in ((whole, whole_data), (part, part_data)):
        loops.emit(tirx.DeclBuffer(buffer, data=data))
    with loops.loop(rows, "i") as i, loops.loop(columns, "j") as j:
        write(loops, whole, part, (i, j), turn)
    data = [part_data, whole_data] if kind == "put" else [whole_data, part_data]
    function = private_function([*data, *symbols.values(), turn], loops.body())
    key = f"{kind} {dtype} {[render(size) for size in (before, count, after)]}"
    return f"{kind}_" + hashlib.sha256(key.encode()).hexdigest()[:16], function, (*names, TURN)
