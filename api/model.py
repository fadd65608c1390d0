"""The Python face: load a plan, check it, cost it, build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.errors import ArgumentError
from ..compiler.graph.graph import Graph
from ..compiler.graph.program import Program
from ..compiler.ops.core.base import Mode
from ..dsl.budget import Budget
from ..dsl.diagnostics import PlanError
from ..dsl.modes import BOTH, Modes
from ..dsl.values import to_value
from .locate import locate
from .plan_file import CheckReport, PlanFile, judged

if TYPE_CHECKING:
    from ..backends.tvm.runtime.compiled import CompiledPlan
    from ..backends.tvm.target import Target
    from ..compiler.cost import CostReport
    from ..compiler.memory import MemoryPlan
    from ..compiler.rewriting.pipeline import Deployed

MODES: tuple[Mode, ...] = (*BOTH, "deploy")


class Model:
    """One plan of a file at some sizes, with overridden static parameters if any.

    It owns what the plan becomes: each mode is elaborated once, and deployed once, whoever asks. `bindings`
    are the sizes in force: those of the plan's own `at (...)`, and those bound since.
    """

    def __init__(
        self,
        file: PlanFile,
        plan: str,
        parameters: Mapping[str, Any],
        bindings: Mapping[str, Any] | None = None,
    ) -> None:
        self.file = file
        self.name = plan
        self.parameters = {name: to_value(value) for name, value in parameters.items()}
        self._bound = dict(bindings or {})

    @cached_property
    def bindings(self) -> dict[str, Any]:
        """The sizes in force, by name; raises `PlanError` where the plan's declaration is wrong."""
        return {**self.file.block(self.name).bindings, **self._bound}

    @cached_property
    def program(self) -> Program:
        """Eval mode, and train mode unless the sizes do not admit it; raises `PlanError`."""
        return self.modes.program()

    @property
    def eval_program(self) -> Program:
        """Eval mode alone, for sizes that training may refuse; raises `PlanError`."""
        return self.modes.program(("eval",))

    @property
    def modes(self) -> Modes:
        """The plan's modes, elaborated as they are asked for; each request has a budget of its own."""
        modes = self._modes
        modes.budget = Budget()
        return modes

    @cached_property
    def _modes(self) -> Modes:
        return self.file.modes(self.name, self._bound, self.parameters)

    @property
    def graph(self) -> Graph:
        """The graph of eval mode."""
        return self.graph_in("eval")

    def at(self, **sizes: Any) -> Model:
        """The same plan with entry sizes bound: `model.at(H=224, W=224)`."""
        return Model(self.file, self.name, self.parameters, {**self._bound, **sizes})

    def graph_in(self, mode: Mode) -> Graph:
        """The graph of a mode; of `deploy` the one that eval mode becomes when its weights stand."""
        if mode not in MODES:
            raise ArgumentError(f"there is no mode {mode!r}; the modes are {', '.join(MODES)}")
        if mode == "deploy":
            return self.deploy().graph
        # The mode asked for alone: sizes that training refuses may be fine for evaluation.
        return self.modes.graph(mode)

    def check(self) -> CheckReport:
        """Elaborate the plan in both modes; claims are derived where no parameter is overridden."""
        if not self.parameters and not self._bound:
            return self.file.check(self.name)
        try:
            return judged(self.name, self.modes)
        except PlanError as error:
            return CheckReport(error.diagnostics, ())

    def cost(self, mode: Mode = "eval", float_as: str = "f32", **sizes: int) -> CostReport:
        """What the plan costs, at the given sizes or as formulas in the free ones."""
        from ..compiler.cost import cost
        from ..compiler.dtypes import FLOATS

        if float_as not in FLOATS:
            raise ArgumentError(f"there is no float {float_as!r}; they are {', '.join(FLOATS)}")
        model = self.at(**sizes)
        report = replace(cost(model.graph_in(mode), {}, float_as=float_as), mode=mode)
        return replace(report, bindings=model.bindings)

    def to_torch(self, **options: Any) -> Any:
        """The plan as a `torch.nn.Module`; see `planform.backends.torch.to_torch` for the options.

        `to_torch(mode="deploy", state_dict=...)` is the optimised network for inference.
        """
        from ..backends.torch import to_deployed, to_torch

        if options.get("mode") == "deploy":
            del options["mode"]
            return to_deployed(self.program, deployed=self.deploy(), **options)
        return to_torch(self.program, **options)

    def to_tvm(
        self,
        weights: Any = None,
        target: Target = None,
        dtype: str = "f32",
        *,
        seed: int | None = None,
        cached: bool = True,
    ) -> CompiledPlan:
        """The plan as machine code: a callable that takes torch tensors or numpy arrays, and gives the same.

        It computes the optimised graph of eval mode, may be called from several threads, and can be saved.
        Weights come from a `state_dict` of the plan or a file of weights, or are the initial ones. `dtype` is
        what the plan's floats are, `target` what kernels are made for: this machine, or what TVM takes as a
        description, `{"kind": "llvm", "mcpu": ...}`. The same build is made once, unless `cached` is false.

        Raises `PlanError`; `BindError` where the weights do not fit; `BackendError` (of
        `planform.backends.tvm.errors`) where the target, TVM or the compiler is at fault.
        """
        from .compile import to_tvm

        return to_tvm(self, weights, target, dtype, seed=seed, cached=cached)

    def deploy(self) -> Deployed:
        """The optimised graph of eval mode, the prologue that makes its weights, and what was refused."""
        return self.modes.deployed()

    def memory(self, mode: Mode = "eval", float_as: str = "f32", **sizes: int) -> MemoryPlan:
        """The memory of one call planned ahead: order, results in place, offsets in one arena."""
        from ..compiler.memory import plan_memory

        model = self.at(**sizes)
        return replace(plan_memory(model.graph_in(mode), {}, float_as=float_as), bindings=model.bindings)

    def to_source(self, mode: Mode = "eval") -> str:
        """The plan as one standalone Python file that needs torch alone; it holds train and eval mode.

        With `deploy` it is the optimised network, whose weights `to_torch(mode="deploy")` prepares.
        """
        from ..backends.torch import emit_source

        return emit_source(self.deploy().program if mode == "deploy" else self.program)

    def __repr__(self) -> str:
        return f"<planform.Model {self.name} of {self.file.source.name}>"

    def _repr_html_(self) -> str:
        from ..reports.cost import cost_html

        return cost_html(self.cost())


def load(
    address: str | Path, plan: str | None = None, at: Mapping[str, Any] | None = None, **parameters: Any
) -> Model:
    """A plan of a file or of the atlas.

    `load("resnet.plan", plan="resnet50", depths=[3, 4, 6, 3])`: static parameters override those of the
    plan; `at` binds entry sizes. Raises `PlanError` with diagnostics, and OSError where there is no such
    file.
    """
    path, named = locate(str(address))
    file = PlanFile(path)
    return Model(file, file.plan(plan or named), parameters, at)
