"""The launches that a group of operators becomes, and the statements of one thread of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import tvm
from tvm import tirx

from ....compiler.errors import OutOfMemory
from ..runtime.dtypes import storage_dtype
from ..runtime.program import Formula
from ..tensor_ir.indices import declared, index_const, index_type
from ..tensor_ir.loops import Buffer, Expr, Kind, Loops, pointer
from .expressions import buffers, variables, with_known_bits

THREADS = 256
"""Threads of a block, where nothing asks for another number."""
_LOCAL = 16 << 10
"""Bytes of a buffer that a thread has for itself at most; larger ones are in the device's memory."""

Role = tuple[str, int]
"""What a pointer points to: an operand, a result or scratch memory of the group, by number."""


class DeviceFunction(NamedTuple):
    """A function of the device: its parameters are pointers to `roles` and then the sizes of `symbols`."""

    function: Any
    blocks: Formula
    threads: int
    roles: tuple[Role, ...]
    symbols: tuple[str, ...]


class Scratch(NamedTuple):
    """Memory that only the launches of one group use: sizes as formulas, and the element type."""

    shape: tuple[Formula, ...]
    dtype: str


@dataclass
class LaunchSequence:
    """The launches of a group, in order. `pointers` has for its buffers the parameter, and what that is."""

    symbols: Mapping[str, Expr]
    pointers: dict[Buffer, tuple[Expr, Role]] = field(default_factory=dict)
    devices: list[DeviceFunction] = field(default_factory=list)
    memory: list[Scratch] = field(default_factory=list)

    def scratch(self, shape: Sequence[Any], dtype: str, name: str = "scratch") -> Buffer:
        """A buffer in the device's memory, for all launches."""
        dtype = storage_dtype(dtype)
        sizes = list(shape) or [1]
        made = self.buffer(sizes, dtype, f"{name}{len(self.memory)}", ("scratch", len(self.memory)))
        self.memory.append(Scratch(tuple(formula_of(size) for size in sizes), dtype))
        return made

    def buffer(self, sizes: Sequence[Any], dtype: str, name: str, role: Role) -> Buffer:
        """A buffer that a parameter points to."""
        data = pointer(f"{name}_data", dtype)
        made = declared(sizes, dtype, name=name, data=data)
        self.pointers[made] = data, role
        return made

    @contextmanager
    def launch(self, blocks: Any, threads: int = THREADS, alias: bool = False) -> Iterator[Thread]:
        """The statements of each thread. With `alias` an operand's memory may be a result's."""
        thread = Thread(self, blocks, threads)
        yield thread
        self.add(thread, alias)

    def add(self, thread: Thread, alias: bool = False) -> None:
        """Launch what a thread's statements are."""
        self.devices.append(self._device(thread, alias))

    def _device(self, thread: Thread, alias: bool) -> DeviceFunction:
        body = with_known_bits(thread.body())
        found = [buffer for buffer in buffers(body) if buffer in self.pointers]
        known = [self.pointers[buffer] for buffer in found]
        declared = [tirx.DeclBuffer(buffer, data=self.pointers[buffer][0]) for buffer in found]
        body = _over(
            tirx.SeqStmt([*declared, body]),
            thread.number,
            "threadIdx.x",
            tirx.const(thread.threads, "int32"),
        )
        grid = thread.blocks
        count = tirx.const(grid, "int32") if isinstance(grid, int) else grid.astype("int32")
        body = _over(body, thread.block, "blockIdx.x", count)
        used = variables(body)
        names = [name for name, symbol in self.symbols.items() if symbol in used]
        parameters = [*[data for data, _ in known], *[self.symbols[name] for name in names]]
        attributes: dict[str, Any] = {"calling_conv": 2, "tirx.is_global_func": True}
        if not alias:
            attributes["tirx.noalias"] = True
        function = tirx.PrimFunc(
            parameters, body, ret_type=None, attrs=tvm.ir.make_node("ir.DictAttrs", **attributes)
        )
        roles = tuple(role for _, role in known)
        return DeviceFunction(function, formula_of(grid), thread.threads, roles, tuple(names))


class Thread(Loops):
    """The statements of thread `number` of block `block`, of which there are `blocks` of `threads` each."""

    def __init__(self, work: LaunchSequence, blocks: Any, threads: int) -> None:
        super().__init__()
        if isinstance(blocks, int) and blocks >= 1 << 31:
            raise OutOfMemory(f"a launch of {blocks} blocks is for more elements than a GPU has memory for")
        self.work = work
        self.blocks = blocks
        self.threads = threads
        self.block = tirx.Var("block", "int32")
        self.number = tirx.Var("thread", "int32")
        self.know(self.number, threads)
        if isinstance(blocks, int):
            self.know(self.block, blocks)

    def know(self, variable: Expr, extent: int) -> None:
        """Tell the analyzer that a variable is at least 0, and less than `extent`."""
        zero, most = (tirx.const(value, variable.ty.dtype) for value in (0, extent))
        self._analyzer.bind(variable, tvm.ir.Range(zero, most))

    def position(self, total: Any) -> Expr:
        """The thread's own number among those of all blocks, in the type of `total`."""
        kind = index_type(total)
        block: Any = self.block.astype(kind)
        return block * self.threads + self.number.astype(kind)

    @contextmanager
    def loop(self, extent: Expr, name: str = "i", kind: Kind = "serial") -> Iterator[Expr]:
        """A loop of this thread, whatever it is for a processor."""
        with super().loop(extent, name, "unrolled" if kind == "unrolled" else "serial") as variable:
            yield variable

    def alloc(self, shape: Sequence[Expr], dtype: str, name: str = "local", scope: str = "global") -> Buffer:
        """Memory of this thread: registers or its stack, else a part of the device's memory."""
        sizes = [*shape] or [1]
        if scope != "global" or _bytes(sizes, dtype) <= _LOCAL:
            return super().alloc(sizes, dtype, name, scope if scope == "shared" else "local")
        blocks = self.blocks if isinstance(self.blocks, int) else self.blocks.astype("int64")
        whole = self.work.scratch([blocks * self.threads, *sizes], dtype, name)
        return _Part(whole, self.position(blocks))

    def shared(self, shape: Sequence[Any], dtype: str, name: str = "shared") -> Buffer:
        """Memory of this block."""
        return self.alloc(shape, dtype, name, "shared")

    def store(self, buffer: Buffer, value: Expr, *indices: Expr) -> None:
        """Write an element."""
        if isinstance(buffer, _Part):
            super().store(buffer.whole, value, buffer.row, *indices)
        else:
            super().store(buffer, value, *indices)

    def wait(self) -> None:
        """Until all threads of the block are here, and see what the others wrote."""
        self.emit(tirx.Evaluate(tirx.call_intrin("void", "tirx.tvm_storage_sync", "shared", False, -1)))


class _Part:
    """One thread's part of a buffer that all have together."""

    def __init__(self, whole: Buffer, row: Expr) -> None:
        self.whole = whole
        self.row = row

    def __getitem__(self, indices: Any) -> Expr:
        given = indices if isinstance(indices, tuple) else (indices,)
        found = [index_const(i) if isinstance(i, int) else i for i in (self.row, *given)]
        return tirx.BufferLoad(self.whole, found)


def formula_of(value: Any) -> Formula:
    """A size as plain data, for the program."""
    if isinstance(value, int):
        return value
    if isinstance(value, tirx.IntImm):
        return int(value)
    if isinstance(value, tirx.Var):
        return str(value.name)
    if isinstance(value, tirx.Cast):
        return formula_of(value.value)
    if isinstance(value, tirx.Sub):
        return ["add", formula_of(value.a), ["mul", -1, formula_of(value.b)]]
    for kind, name in _OPERATIONS.items():
        if isinstance(value, kind):
            return [name, formula_of(value.a), formula_of(value.b)]
    raise AssertionError(f"{value} is no size")


_OPERATIONS = {
    tirx.Add: "add",
    tirx.Mul: "mul",
    tirx.FloorDiv: "floordiv",
    tirx.FloorMod: "mod",
    tirx.Min: "min",
    tirx.Max: "max",
}


def _over(body: Any, variable: Expr, tag: str, extent: Expr) -> Any:
    any_range: Any = None
    thread = tirx.IterVar(any_range, variable, tirx.IterVar.ThreadIndex, tag)
    return tirx.AttrStmt(thread, "thread_extent", extent, body)


def _bytes(sizes: Sequence[Any], dtype: str) -> float:
    count = (tvm.DataType(dtype).bits + 7) // 8
    for size in sizes:
        if not isinstance(size, (int, tirx.IntImm)):
            return float("inf")
        count *= int(size)
    return count
