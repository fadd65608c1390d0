"""From a deployed graph to a program of launches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import tirx

from ....compiler.devices import Gpu
from ....compiler.dtypes import DType
from ....compiler.graph.graph import Graph
from ..lowering import slices
from ..lowering.kernels import Unsupported
from ..lowering.lower import Lowered, Lowering, grouping_for
from ..lowering.positions import Checked, with_checks
from ..runtime.program import Launch, Program, Slot, Step
from ..tensor_ir.access import over
from ..tensor_ir.indices import is_far, wide
from .elements import split
from .launches import THREADS, LaunchSequence
from .maker import maker


def lower(graph: Graph, gpu: Gpu, float_as: DType = "f32") -> Lowered:
    """Cut the graph into launches and plan their memory; `functions` are those of the device.

    Raises `Unsupported` for an operator that has neither a defining computation nor one in numpy.
    """
    graph, checks = with_checks(graph)
    return _Lowering(grouping_for(graph, gpu, float_as).fused(), checks, gpu, float_as).run()


class _Lowering(Lowering):
    def __init__(self, graph: Graph, checks: Sequence[Checked], gpu: Gpu, float_as: DType) -> None:
        super().__init__(graph, checks, gpu, float_as)
        self.maker = maker(gpu, float_as)

    def run(self) -> Lowered:
        """The program, and the functions that it launches by name."""
        found = super().run()
        functions = {
            f"{name}_{number}": device.function
            for name, work in self.maker.functions.items()
            for number, device in enumerate(work.devices)
        }
        return replace(found, functions=functions)

    def _function_of(self, move: slices.SliceCopy) -> LaunchSequence:
        with wide(is_far(move.sizes)):
            return self._launch_of(move)

    def _launch_of(self, move: slices.SliceCopy) -> LaunchSequence:
        symbols = {name: tirx.Var(name, "int64") for name in move.symbols}
        rows, columns = move.extents(symbols)
        work = LaunchSequence(symbols)
        source, target = (
            work.buffer(sizes, move.dtype, name, (role, 0))
            for (name, sizes), role in zip(move.shapes(symbols), ("operand", "result"), strict=True)
        )
        total = rows * columns
        with work.launch(over(total, THREADS), THREADS) as thread:
            position = thread.let(thread.position(total), "position")
            bound = tirx.const(total, position.ty.dtype) if isinstance(total, int) else total
            with thread.when(position < bound):
                i, j = split(thread, position, [rows, columns])
                move.element(thread, source, target, i, j, symbols)
        return work

    def _finished(self, program: Program) -> Program:
        expansion = _Expansion(self.maker.functions, list(program.slots))
        constants = tuple(expansion.step(step, "constant") for step in program.constants)
        steps = tuple(expansion.step(step, "arena") for step in program.steps)
        return replace(program, slots=tuple(expansion.slots), constants=constants, steps=steps)


@dataclass
class _Expansion:
    """Gives steps their launches, and slots for the memory between these."""

    works: Any
    slots: list[Slot]

    def step(self, step: Step, kind: Any) -> Step:
        """The step with its launches."""
        if step.external:
            return step
        if step.body:
            before = len(self.slots)
            start, body = (
                tuple(self.step(each, kind) for each in inner) for inner in (step.start, step.body)
            )
            made = tuple(range(before, len(self.slots)))
            return replace(step, start=start, body=body, results=(*step.results, *made))
        work: LaunchSequence = self.works[step.function]
        first = len(self.slots)
        self.slots += [Slot(kind, each.dtype, each.shape, each.shape) for each in work.memory]
        scratch = tuple(range(first, len(self.slots)))
        places = {"operand": step.operands, "result": step.results, "scratch": scratch}
        launches = tuple(
            Launch(
                f"{step.function}_{number}",
                device.blocks,
                device.threads,
                tuple(places[role][at] for role, at in device.roles),
                device.symbols,
            )
            for number, device in enumerate(work.devices)
        )
        return replace(step, results=(*step.results, *scratch), launches=launches)


__all__ = ["Unsupported", "lower"]
