"""Stages of any tensors as launches: the kernels of a group without a template.

What is worked out element by element has no buffer. The others are stages, in order: what is reduced, built,
kept, or a result. Sums of products become tiles, rows that are reduced are each of a team of threads, and all
else has a thread for each element. What has an element for each of a reduced stage's is worked out with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Call

from ....compiler.devices import Gpu
from ..cpu.nest import stages_of
from ..cpu.reductions import runs_along
from ..tensor_ir.access import index_variables, product_of, reads_of, same_size
from ..tensor_ir.indices import declared
from ..tensor_ir.layouts import PLAIN
from ..tensor_ir.loops import Buffer, type_of
from ..tensor_ir.tensors import Computed, Extern, Reduced, Source, Tensor
from . import product, programs, rows
from .elements import Tail, computed, reduced
from .expressions import is_choice, nodes
from .launches import LaunchSequence

_LONG = 32
"""Elements of a row from which on a team reduces it."""
_DEAR = 4
"""Operations on floats that a tile may repeat."""


def emit(work: LaunchSequence, made: Sequence[Tensor], results: Sequence[Tensor], gpu: Gpu) -> None:
    """Write the launches that compute `results`, whose buffers are given, from tensors made in this order."""
    if all(any(isinstance(size, int) and size == 0 for size in each.shape) for each in results):
        return
    for tensor in made:
        # A copy is read where it is needed: a tile, or a cache, has what is near.
        kept = isinstance(tensor, Computed) and tensor.keep and tensor not in results
        if kept and _operations(tensor) == 0:
            tensor.keep = False  # pyright: ignore[reportAttributeAccessIssue]
    for tensor in made:
        if isinstance(tensor, Reduced) and product.Plan.of(tensor) is not None:
            _keep_dear(tensor, results)
    _Nest(work, stages_of(made, results), results, gpu).run()


class _Nest:
    def __init__(
        self, work: LaunchSequence, stages: list[Tensor], results: Sequence[Tensor], gpu: Gpu
    ) -> None:
        self.work = work
        self.stages = stages
        self.results = results
        self.gpu = gpu
        for stage in stages:
            if stage not in results:
                stage.buffer = declared(stage.shape, stage.dtype)
        self.reads = {stage: [access.tensor for access in reads_of(stage)] for stage in stages}

    def run(self) -> None:
        """Launch after launch."""
        common = self._in_step()
        if common:
            self._rows(self.stages, common)
            return
        left = list(self.stages)
        while left:
            stage = left.pop(0)
            if isinstance(stage, Extern):
                group = stage.program.results
                left = [each for each in left if each not in group]
                for each in group:
                    home = self._home(each, ())
                    each.buffer = self.work.scratch(each.shape, each.dtype) if home is None else home
                programs.emit(self.work, stage)
            elif isinstance(stage, Reduced):
                tail = self._tail(stage, left)
                left = [each for each in left if each not in tail]
                self._reduce(stage, tail)
            else:
                stage.buffer = self._home(stage, ())
                computed(self.work, stage)

    def _home(self, stage: Tensor, unit: Iterable[Tensor]) -> Buffer | None:
        """The memory of a stage that somebody outside of a unit reads."""
        if stage in self.results:
            return stage.buffer
        inside = set(unit)
        read = any(stage in reads for each, reads in self.reads.items() if each not in inside)
        return self.work.scratch(stage.shape, stage.dtype, "stage") if read else None

    def _homes(self, unit: Sequence[Tensor]) -> Tail:
        found = {stage: self._home(stage, unit) for stage in unit}
        return Tail(unit, {stage: home for stage, home in found.items() if home is not None})

    def _in_step(self) -> int | None:
        """How many axes come first in all stages, where a team can run a row of all."""
        reduced = [stage for stage in self.stages if isinstance(stage, Reduced)]
        if not reduced or any(isinstance(stage, Extern) or stage.layout != PLAIN for stage in self.stages):
            return None
        lead = reduced[0].shape
        if not lead or any(product.Plan.of(stage) is not None or not _is_row(stage, 2) for stage in reduced):
            return None
        for stage in self.stages:
            alone = isinstance(stage, Reduced) and stage.rank != len(lead)
            if alone or not _begins(stage.shape, lead):
                return None
            index = index_variables(stage.shape, "i")
            for tensor, at in reads_of(stage, index):
                if tensor in self.stages and not all(
                    i.same_as(j) or _is_one(size) for i, j, size in zip(at, index, lead, strict=False)
                ):
                    return None
        return len(lead)

    def _rows(self, unit: Sequence[Tensor], common: int) -> None:
        tail = self._homes(unit)
        homes = dict(tail.homes)
        for stage in unit:
            # What is longer than a row's one number is in memory.
            if stage.rank > common and stage not in homes:
                homes[stage] = self.work.scratch(stage.shape, stage.dtype, "row")
        rows.emit(self.work, Tail(unit, homes), common, self.gpu)

    def _tail(self, stage: Reduced, left: Sequence[Tensor]) -> list[Tensor]:
        """The stages that have an element for each of a stage's, and read it there."""
        found: list[Tensor] = []
        late = set(left)
        for each in left:
            if not isinstance(each, Computed) or len(each.shape) != stage.rank:
                continue
            index = index_variables(each.shape, "i")
            alike = all(same_size(a, b) for a, b in zip(each.shape, stage.shape, strict=True))
            accesses = [access for access in reads_of(each, index) if access.tensor in (stage, *late)]
            fits = alike and any(access.tensor is stage or access.tensor in found for access in accesses)
            for tensor, at in accesses:
                known = tensor is stage or tensor in found
                fits = (
                    fits
                    and known
                    and all(
                        i.same_as(j) or _is_one(size)
                        for i, j, size in zip(at, index, each.shape, strict=True)
                    )
                )
            if fits:
                found.append(each)
        return found

    def _reduce(self, stage: Reduced, tail: Sequence[Tensor]) -> None:
        plan = product.Plan.of(stage)
        if plan is not None:
            product.emit(self.work, plan, self._homes([stage, *tail]), self.gpu)
        elif _is_row(stage):
            self._rows([stage, *tail], stage.rank)
        else:
            reduced(self.work, stage, self._homes([stage, *tail]), self.gpu)


def _begins(shape: Sequence[Any], lead: Sequence[Any]) -> bool:
    return len(shape) >= len(lead) and all(same_size(a, b) for a, b in zip(shape, lead, strict=False))


def _is_row(stage: Reduced, least: int = _LONG) -> bool:
    """Whether what is combined are neighbours in memory, and many of them."""
    count = product_of(stage.extents)
    if not stage.extents or (isinstance(count, int) and count < least):
        return False
    if not stage.shape:
        return True
    spatial, over = index_variables(stage.shape, "i"), index_variables(stage.extents, "k")
    accesses = [
        access
        for access in reads_of(stage, spatial, over)
        if access.tensor.buffer is not None or isinstance(access.tensor, Source)
    ]
    return runs_along(accesses, over[-1], spatial[-1])


def _operations(tensor: Tensor) -> int:
    """Operations on floats for one element, as far as it is worked out where it is read."""
    value = product.plain(lambda: tensor.at(index_variables(tensor.shape, "i")))
    found = 0
    for node in nodes(value):
        if isinstance(node, _ARITHMETIC) and "float" in type_of(node):
            found += 1
        elif isinstance(node, Call) and "float" in type_of(node) and not is_choice(node):
            found += _DEAR
    return found


_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Select, tirx.Max, tirx.Min)


def _keep_dear(stage: Reduced, results: Sequence[Tensor]) -> None:
    """Store what a product reads many times, unless it is as cheap to work out."""
    while True:
        dear = [
            access.tensor
            for access in reads_of(stage)
            if isinstance(access.tensor, Computed)
            and not access.tensor.keep
            and access.tensor not in results
            and access.tensor.buffer is None
            and _operations(access.tensor) > _DEAR
        ]
        if not dear:
            return
        dear[0].keep = True
        dear[0].buffer = declared(dear[0].shape, dear[0].dtype)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1
