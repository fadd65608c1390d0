"""A group of operators as launches on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ....compiler.devices import Device, Gpu
from ....compiler.dtypes import DType
from ....compiler.graph.graph import Node
from ..cpu.templates import Template
from ..cpu.templates.base import Accumulated
from ..cpu.templates.blocks import Block
from ..lowering.kernels import KernelMaker, Operand, Writer
from ..runtime.dtypes import storage_dtype
from ..tensor_ir.layouts import Layout
from ..tensor_ir.tensors import Tensor
from . import attention, nest
from .launches import LaunchSequence, Role


def maker(gpu: Gpu, float_as: DType) -> KernelMaker:
    """Makes the kernels of a program, each a `LaunchSequence` of launches."""
    return KernelMaker(gpu, float_as, _find, GpuWriter)


def _find(node: Node, layouts: Mapping[str, Layout], machine: Device, dtype: str) -> Template | None:
    found: Any = attention.fit(node, dtype)
    return found


class GpuWriter(Writer):
    """Writes one group."""

    def write(
        self, operands: Sequence[Operand], places: Sequence[int], template: Template | Block | None
    ) -> tuple[Any, tuple[int, ...]]:
        """The launches, and the operands whose place the result may take.

        There is nothing around them where what an operator names, a size say, could be bound.
        """
        return self._write(operands, places, template)

    def _buffer(self, sizes: Sequence[Any], dtype: str, name: str) -> Any:
        number = int(name[1:])
        role: Role = ("operand" if name.startswith("x") else "result"), number
        return self.work.buffer(sizes, storage_dtype(dtype), name, role)

    @cached_property
    def work(self) -> LaunchSequence:
        """The launches to be."""
        return LaunchSequence(self.symbols)

    def _nest(self, made: Sequence[Tensor], results: Sequence[Tensor]) -> LaunchSequence:
        gpu: Any = self.machine
        nest.emit(self.work, made, results, gpu)
        return self.work

    def _run(
        self,
        template: Template,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> LaunchSequence:
        writer: Any = template
        writer.launch(self.work, operands, main, results)
        return self.work
