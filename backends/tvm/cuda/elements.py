"""A thread for each element, and what is worked out where an element is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ....compiler.devices import Gpu
from ..cpu.reductions import Combination
from ..tensor_ir.access import index_variables, merged_axes, over, product_of, reads_of
from ..tensor_ir.expressions import emitting
from ..tensor_ir.indices import index_const, index_type
from ..tensor_ir.loops import Buffer, Expr
from ..tensor_ir.tensors import Access, Reduced, Tensor
from .launches import THREADS, LaunchSequence, Thread


@dataclass(frozen=True)
class Tail:
    """Tensors that have an element for each of the first's, in order; `homes` are those that are stored."""

    tensors: Sequence[Tensor]
    homes: Mapping[Tensor, Buffer]

    def finish(self, thread: Thread, index: Sequence[Expr], value: Expr, store: bool = True) -> None:
        """The first's element at an index is `value`: work out those of the others, and store them."""
        at = tuple(index)
        for tensor in self.tensors:
            with emitting(thread):
                found = value if tensor is self.tensors[0] else tensor.at(at)
                self.hold(thread, tensor, found)
            if store and tensor in self.homes:
                self.store(thread, tensor, at)

    def hold(self, thread: Thread, tensor: Tensor, value: Expr) -> None:
        """Keep an element at hand: who reads the tensor reads it."""
        cell = thread.alloc([1], tensor.dtype, "cell", "local")
        thread.store(cell, value, 0)
        tensor.buffer, tensor.outer = cell, tensor.rank

    def store(self, thread: Thread, tensor: Tensor, index: Sequence[Expr]) -> None:
        """Write the element at hand to memory."""
        assert tensor.buffer is not None
        found = tensor.layout.indices(index) or [index_const(0)]
        thread.store(self.homes[tensor], tensor.buffer[index_const(0)], *found)

    def release(self) -> None:
        """After the launch: who reads a tensor reads memory."""
        for tensor in self.tensors:
            tensor.buffer, tensor.outer = self.homes.get(tensor), 0


def computed(work: LaunchSequence, stage: Tensor) -> None:
    """A launch with a thread for each element; axes that every operand has side by side are one."""
    variables = index_variables(stage.shape, "i")
    accesses = [Access(stage, variables), *reads_of(stage, variables)]
    groups = merged_axes(stage.shape, variables, accesses)
    extents = [product_of([stage.shape[axis] for axis in group]) for group in groups]
    total = product_of(extents)
    with work.launch(over(total, THREADS), THREADS, alias=True) as thread:
        position = thread.let(thread.position(total), "position")
        with _within(thread, position, total):
            index: list[Any] = [index_const(0)] * stage.rank
            for group, part in zip(groups, split(thread, position, extents), strict=True):
                sizes = [stage.shape[axis] for axis in group]
                for axis, at in zip(group, split(thread, part, sizes), strict=True):
                    index[axis] = at
            with emitting(thread):
                value = stage.at(tuple(index))
                thread.store(stage.buffer, value, *stage.place(tuple(index)))


def reduced(work: LaunchSequence, stage: Reduced, tail: Tail, gpu: Gpu) -> None:
    """A launch with a thread for each result, which takes what is combined one after the other."""
    total = product_of(stage.shape)
    with work.launch(over(total, THREADS), THREADS) as thread:
        position = thread.let(thread.position(total), "position")
        with _within(thread, position, total):
            index = split(thread, position, stage.shape)
            combination = Combination(thread, stage, gpu)
            value = combination.single(stage.extents, lambda at: stage.function(*index, *at))
            tail.finish(thread, index, value)
    tail.release()


def _within(thread: Thread, position: Expr, total: Any) -> Any:
    bound = tirx.const(total, position.ty.dtype) if isinstance(total, int) else total
    return thread.when(position < bound)


def split(thread: Thread, position: Expr, extents: Sequence[Any]) -> list[Expr]:
    """The index that a position in the flattened axes stands for; axes of known size have 32 bits."""
    # By truncation, which is the same here: flooring by a size that is not known takes many instructions.
    found: list[Expr] = []
    for extent in reversed(extents[1:]):
        if isinstance(extent, int) and extent == 0:
            extent = 1  # no position is there to be split, and TVM divides at once
        part = tirx.truncmod(position, extent)
        found.append(thread.let(part.astype(index_type(extent)) if isinstance(extent, int) else part, "i"))
        position = thread.let(tirx.truncdiv(position, extent), "rest")
    if not extents:
        return []
    first = position.astype(index_type(extents[0])) if isinstance(extents[0], int) else position
    return [first, *reversed(found)]
