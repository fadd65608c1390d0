"""The Python face: load a plan, check it, cost it, build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

from ..compiler.cost.sizes import symbols_of
from ..compiler.graph.graph import Graph
from ..compiler.graph.program import Program
from ..compiler.ops.core.base import Mode
from ..compiler.rewriting.pipeline import deploy
from ..dsl.budget import Budget, Exhausted
from ..dsl.claims import Bound, Verdict, judge
from ..dsl.diagnostics import Diagnostic, PlanError, diagnostic
from ..dsl.files import Files
from ..dsl.guards import Need, needs, surprises
from ..dsl.limits import MAX_REPORTED
from ..dsl.loader import Loader
from ..dsl.modes import BOTH, Modes
from ..dsl.render import to_json
from ..dsl.scope import FileScope
from ..dsl.source import Source, Span
from ..dsl.suggest import did_you_mean
from ..dsl.syntax import Claim
from ..dsl.values import POISON, BlockDef, BlockValue, to_value
from .locate import EXAMPLES, declares, examples, locate

if TYPE_CHECKING:
    from ..backends.tvm.runtime.compiled import CompiledPlan
    from ..backends.tvm.target import Target
    from ..compiler.cost import CostReport
    from ..compiler.memory import MemoryPlan
    from ..compiler.rewriting.pipeline import Deployed

SCHEMA = 1
MODES: tuple[Mode, ...] = (*BOTH, "deploy")


@dataclass(frozen=True)
class CheckReport:
    """What checking found: diagnostics, each claim with the figure derived for it, and what the plans ask of
    unbound sizes when they run.
    """

    diagnostics: tuple[Diagnostic, ...]
    claims: tuple[Verdict, ...]
    needs: tuple[Need, ...] = ()

    @property
    def ok(self) -> bool:
        """No errors, and every claim holds."""
        return not any(d.severity == "error" for d in self.diagnostics)

    def to_dict(self) -> dict[str, Any]:
        """As JSON with stable keys."""
        return {
            "planform_json": SCHEMA,
            "ok": self.ok,
            "diagnostics": [to_json(found) for found in self.diagnostics],
            "claims": [claim.to_dict() for claim in self.claims],
            "needs": [need.to_dict() for need in self.needs],
        }


def _judged(plan: str, modes: Modes) -> CheckReport:
    """All that is wrong with a plan, claims aside, and what it asks of sizes; raises `PlanError`."""
    report = CheckReport(modes.judged(), ())
    if not report.ok:
        return report
    program = modes.program()
    asked = needs(plan, program.graphs)
    return CheckReport((*report.diagnostics, *surprises(asked, program.graph)), (), asked)


class PlanFile:
    """A plan file, read and parsed; its plans are elaborated on demand. `path` is a text or a Path.

    Raises `PlanError`, OSError and UnicodeDecodeError.
    """

    def __init__(self, path: str | Path, source: Source | None = None) -> None:
        if source is None and "\n" in str(path):
            raise FileNotFoundError("the path of a file is wanted: PlanFile.from_text(text) takes a text")
        self.path = Path(path)
        loader = Loader()
        self.source = loader.read(self.path) if source is None else source
        self._files = Files(loader)
        self.syntax = loader.parsed(self.source)
        self._lock = RLock()
        self._modes: dict[tuple[str, str, str], Modes] = {}
        self._deployed: dict[Graph, Graph] = {}

    @classmethod
    def from_text(cls, text: str, name: str = "text.plan") -> PlanFile:
        """A file that is not on disk; `name` is what diagnostics call it."""
        return cls(Path(name), Source(name, text))

    @cached_property
    def scope(self) -> FileScope:
        """The names that the file declares."""
        with self._lock:
            return self._files.scope(self.syntax)

    @property
    def plans(self) -> tuple[str, ...]:
        """The names of its plans, in order, also of those that are wrong."""
        return tuple(self.scope.plans)

    def plan(self, name: str | None = None) -> str:
        """The plan of that name; without one, the only plan, or that named as the file, or the first."""
        plans = self.plans
        if name is None:
            stem = self.path.stem
            if not plans and self.scope.errors:
                raise PlanError(self.scope.errors)
            if not plans:
                raise PlanError([diagnostic("E502", self._top, file=self.source.name, name=stem)])
            return stem if stem in plans else plans[0]
        if name not in plans:
            help = did_you_mean(name, plans) or [f"its plans are {', '.join(plans)}"]
            raise PlanError([diagnostic("E502", self._top, file=self.source.name, name=name, help=help)])
        return name

    @property
    def _top(self) -> Span:
        return Span(
            self.source, 0, self.source.text.find("\n") if "\n" in self.source.text else len(self.source.text)
        )

    def program(
        self,
        plan: str,
        bindings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        modes: tuple[Mode, ...] | None = None,
        budget: Budget | None = None,
    ) -> Program:
        """The program of a plan; each mode is elaborated once for each set of bindings.

        Without `modes` it has eval mode, and train mode unless the sizes do not admit it (`Program.refused`).
        """
        return self.modes(plan, bindings, overrides, budget).program(modes)

    def modes(
        self,
        plan: str,
        bindings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> Modes:
        """A plan at some sizes, whose modes are elaborated as they are asked for, paid from the budget.

        Raises `PlanError` where a declaration of the file is wrong, be it that of another plan: what is left
        of the file may not be what was meant.
        """
        if self.scope.errors:
            raise PlanError(self.scope.errors)
        return self._at(plan, bindings, overrides, budget)

    def _at(
        self,
        plan: str,
        bindings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> Modes:
        """The same for `check`, which goes on to say what else is wrong."""
        key = (plan, repr(sorted((bindings or {}).items())), repr(sorted((overrides or {}).items())))
        with self._lock:
            known = self._modes.get(key)
            if known is None:
                self._check_overrides(plan, overrides or {})
                known = self._modes[key] = Modes(self.block(plan), self.scope, bindings, overrides)
            known.budget = budget or Budget()
            return known

    def _graph(self, plan: str, sizes: Mapping[str, Any], mode: Mode, budget: Budget) -> Bound:
        """A plan's graph for a claim: the symbolic one, or elaborated anew for sizes that are not for it."""
        asked: Mode = "eval" if mode == "deploy" else mode
        graph = self._at(plan, budget=budget).graph(asked)
        if not set(sizes) <= set(symbols_of(graph)) or not all(each.admits(sizes) for each in graph.guards):
            graph, sizes = self._at(plan, sizes, budget=budget).graph(asked), {}
        if mode != "deploy":
            return Bound(graph, sizes)
        if graph not in self._deployed:
            self._deployed[graph] = deploy(Program(plan, {"eval": graph}, graph.weights)).graph
        return Bound(self._deployed[graph], sizes)

    def block(self, plan: str) -> BlockValue:
        """A plan as the block value that it is: the model, its arguments and its bindings."""
        found = self.scope.names.get(plan, POISON)
        if found is POISON:
            raise PlanError(self.scope.errors)
        return cast("BlockValue", found)

    def _check_overrides(self, plan: str, overrides: Mapping[str, Any]) -> None:
        model = cast("BlockDef", self.block(plan).target)
        known = [param.name for param in model.statics]
        for name in overrides:
            if name not in known:
                help = did_you_mean(name, known) or [f"its parameters are {', '.join(known)}"]
                raise PlanError(
                    [diagnostic("E207", model.syntax.target.span, name=f"`{plan}`", argument=name, help=help)]
                )

    def check(self, only: str | None = None) -> CheckReport:
        """Elaborate all plans (or one) in both modes and derive their claims, within one budget of work."""
        budget = Budget()
        problems: list[Diagnostic] = []
        try:
            plans = list(self.plans) if only is None else [self.plan(only)]
        except PlanError as error:
            return CheckReport(error.diagnostics, ())
        seen: set[tuple[str, int, int]] = set()
        failed: set[str] = set()
        asked: list[Need] = []

        def keep(found: Diagnostic) -> None:
            key = (found.code, id(found.primary.span.source), found.primary.span.start)
            if key not in seen:
                seen.add(key)
                problems.append(found)

        for found in self.scope.errors:
            keep(found)
        for name in plans:
            if self.scope.names.get(name, POISON) is POISON:
                failed.add(name)
                continue
            try:
                report = _judged(name, self._at(name, budget=budget))
            except Exhausted as error:
                return CheckReport((*problems, *error.diagnostics), ())
            if not report.ok:
                failed.add(name)
            asked.extend(report.needs)
            for found in report.diagnostics:
                keep(found)
        verdicts: list[Verdict] = []
        for item in self.syntax.items:
            if not isinstance(item, Claim):
                continue
            name = item.subject.name
            if name not in self.scope.plans:
                help = did_you_mean(name, self.plans)
                keep(diagnostic("E604", item.subject.span, name=name, help=help))
            elif name not in failed and name in plans:
                try:
                    verdict = judge(
                        item,
                        self.scope,
                        lambda sizes, mode, name=name: self._graph(name, sizes, mode, budget),
                        lambda sizes, name=name: self._at(name, sizes, budget=budget).program().weights,
                        budget,
                    )
                except Exhausted as error:
                    problems += error.diagnostics
                    break
                verdicts.append(verdict)
                if verdict.error is not None:
                    keep(verdict.error)
        return CheckReport(tuple(problems[:MAX_REPORTED]), tuple(verdicts), tuple(asked))


class Model:
    """One plan of a file, with overridden static parameters if any."""

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
        self.bindings = dict(bindings or {})

    @cached_property
    def program(self) -> Program:
        """Eval mode, and train mode unless the sizes do not admit it; raises `PlanError`."""
        return self._modes.program()

    @property
    def _modes(self) -> Modes:
        return self.file.modes(self.name, self.bindings, self.parameters)

    @property
    def graph(self) -> Graph:
        """The graph of eval mode."""
        return self.graph_in("eval")

    def at(self, **sizes: Any) -> Model:
        """The same plan with entry sizes bound: `model.at(H=224, W=224)`."""
        return Model(self.file, self.name, self.parameters, {**self.bindings, **sizes})

    def graph_in(self, mode: Mode) -> Graph:
        """The graph of a mode; of `deploy` the one that eval mode becomes when its weights stand."""
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode!r}; the modes are {', '.join(MODES)}")
        if mode == "deploy":
            return self.deploy().graph
        # The mode asked for alone: sizes that training refuses may be fine for evaluation.
        return self._modes.graph(mode)

    def check(self) -> CheckReport:
        """Elaborate the plan in both modes; claims are derived where no parameter is overridden."""
        if not self.parameters and not self.bindings:
            return self.file.check(self.name)
        try:
            return _judged(self.name, self._modes)
        except PlanError as error:
            return CheckReport(error.diagnostics, ())

    def cost(self, mode: Mode = "eval", float_as: str = "f32", **sizes: int) -> CostReport:
        """What the plan costs, at the given sizes or as formulas in the free ones."""
        from ..compiler.cost import cost
        from ..compiler.dtypes import FLOATS

        if float_as not in FLOATS:
            raise ValueError(f"there is no float {float_as!r}; they are {', '.join(FLOATS)}")
        model = self.at(**sizes)
        report = replace(cost(model.graph_in(mode), {}, float_as=float_as), mode=mode)
        return replace(report, bindings={**self.file.block(self.name).bindings, **model.bindings})

    def to_torch(self, **options: Any) -> Any:
        """The plan as a `torch.nn.Module`; see `planform.backends.torch.to_torch` for the options.

        `to_torch(mode="deploy", state_dict=...)` is the optimised network for inference.
        """
        from ..backends.torch import to_torch

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
        return deploy(self._modes.program(("eval",)))

    def memory(self, mode: Mode = "eval", float_as: str = "f32", **sizes: int) -> MemoryPlan:
        """The memory of one call planned ahead: order, results in place, offsets in one arena."""
        from ..compiler.memory import plan_memory

        return plan_memory(self.at(**sizes).graph_in(mode), {}, float_as=float_as)

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


__all__ = [
    "EXAMPLES",
    "CheckReport",
    "Model",
    "PlanFile",
    "Source",
    "declares",
    "examples",
    "load",
    "locate",
]
