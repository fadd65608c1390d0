"""Binding the tensors of a checkpoint to the weights of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...compiler.dtypes import COMPLEX, FLOAT, DType
from ...compiler.errors import PlanformError
from ...compiler.graph.graph import Weight
from ...compiler.graph.program import Program
from .checkpoints import CheckpointError, read_checkpoint
from .dtypes import torch_dtype
from .leaves import static_shape
from .rename import RenameError, Rule, parse_rules, read_rules, rename
from .renamings import Renamings, suggest

# Counts batches for batch norms without momentum; checkpoints from before torch 0.4.1 lack it.
_COUNTER = "num_batches_tracked"


class Misfit(NamedTuple):
    """A tensor with a weight's name that cannot be it; `wanted` and `got` are shapes or element types."""

    path: str
    name: str
    wanted: str
    got: str

    def __str__(self) -> str:
        source = "" if self.name == self.path else f" (from {self.name})"
        return f"{self.path}{source} is {self.got}, and must be {self.wanted}"


@dataclass(frozen=True)
class BindReport:
    """How a checkpoint fits a plan.

    `tensors`: what fits, by weight path. `missing`: weights that no tensor is for. `extra`: names in the
    checkpoint that no weight has. `misshapen` and `mistyped`: tensors of another shape, or of another kind of
    element. `dropped`: names that the rename map leaves out.
    """

    plan: str
    tensors: Mapping[str, Tensor]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    misshapen: tuple[Misfit, ...] = ()
    mistyped: tuple[Misfit, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every weight has its tensor and every tensor its weight."""
        return not (self.missing or self.extra or self.misshapen or self.mistyped)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "plan": self.plan,
            "ok": self.ok,
            "bound": len(self.tensors),
            "missing": list(self.missing),
            "extra": list(self.extra),
            "misshapen": [misfit._asdict() for misfit in self.misshapen],
            "mistyped": [misfit._asdict() for misfit in self.mistyped],
            "dropped": list(self.dropped),
        }

    def __str__(self) -> str:
        lines = [f"{self.plan}: {len(self.tensors)} weights bound"]
        for what, items in (
            ("missing", self.missing),
            ("extra", self.extra),
            ("misshapen", self.misshapen),
            ("mistyped", self.mistyped),
        ):
            lines += [f"{what}: {item}" for item in items[:8]]
            if len(items) > 8:
                lines.append(f"{what}: and {len(items) - 8} more")
        return "\n".join(lines)


class BindError(PlanformError, ValueError):
    """A checkpoint that does not fit; `report` says where."""

    def __init__(self, report: BindReport) -> None:
        super().__init__(str(report))
        self.report = report


def bind(
    program: Program,
    state_dict: Mapping[str, Tensor],
    rules: Sequence[Rule] = (),
) -> BindReport:
    """Find each weight's tensor, after renaming by `rules` if any; raises `RenameError`."""
    names = rename(state_dict, rules)
    given = {new: old for old, new in names.items() if new is not None}
    wanted = {path: weight for path, weight in program.weights.items() if weight.persistent}
    tensors: dict[str, Tensor] = {}
    missing: list[str] = []
    misshapen: list[Misfit] = []
    mistyped: list[Misfit] = []
    for path, weight in wanted.items():
        if path not in given:
            if path.rpartition(".")[2] == _COUNTER:
                tensors[path] = torch.zeros(static_shape(weight), dtype=torch.int64)
            else:
                missing.append(path)
            continue
        tensor = state_dict[given[path]]
        shape = static_shape(weight)
        if tuple(tensor.shape) != shape:
            misshapen.append(Misfit(path, given[path], str(list(shape)), str(list(tensor.shape))))
        elif not _same_kind(weight, tensor):
            found = str(tensor.dtype).removeprefix("torch.")
            mistyped.append(Misfit(path, given[path], weight.type.dtype, found))
        else:
            tensors[path] = tensor
    extra = [old for new, old in given.items() if new not in wanted]
    dropped = [old for old, new in names.items() if new is None]
    return BindReport(
        program.name,
        tensors,
        tuple(missing),
        tuple(extra),
        tuple(misshapen),
        tuple(mistyped),
        tuple(dropped),
    )


def renamings(program: Program, state_dict: Mapping[str, Tensor], rules: Sequence[Rule] = ()) -> Renamings:
    """Rules that, after those given, explain missing weights by extra names; raises `RenameError`."""
    given = {new: old for old, new in rename(state_dict, rules).items() if new is not None}
    wanted = {path: weight for path, weight in program.weights.items() if weight.persistent}
    missing = {path: static_shape(weight) for path, weight in wanted.items() if path not in given}
    extra = {new: tuple(state_dict[old].shape) for new, old in given.items() if new not in wanted}
    found = suggest(missing, extra, [new for new in given if new in wanted])
    return Renamings(found.rules, {given[new]: path for new, path in found.names.items()})


def _same_kind(weight: Weight, tensor: Tensor) -> bool:
    """Floats bind to floats of any width, complex likewise; other types bind to themselves."""
    dtype: DType = weight.type.dtype
    plan = torch.float32 if dtype == FLOAT else torch.complex64 if dtype == COMPLEX else torch_dtype(dtype)
    if plan.is_floating_point or plan.is_complex:
        same_numbers = plan.is_complex == tensor.is_complex()
        return same_numbers and (tensor.is_floating_point() or tensor.is_complex())
    return plan == tensor.dtype


def load_weights(
    module: nn.Module,
    program: Program,
    state_dict: Mapping[str, Tensor],
    rules: Sequence[Rule] = (),
) -> BindReport:
    """Copy a checkpoint into the program's module.

    Raises `BindError` unless all of it fits, and `RenameError`.
    """
    report = bind(program, state_dict, rules)
    if not report.ok:
        raise BindError(report)
    module.load_state_dict(report.tensors)
    return report


__all__ = [
    "BindError",
    "BindReport",
    "CheckpointError",
    "Misfit",
    "RenameError",
    "Renamings",
    "Rule",
    "bind",
    "load_weights",
    "parse_rules",
    "read_checkpoint",
    "read_rules",
    "renamings",
]
