"""A plan file: read, parsed, its plans elaborated on demand and checked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, cast

from ..compiler.cost.sizes import symbols_of
from ..compiler.errors import MissingFile
from ..compiler.graph.program import Program
from ..compiler.ops.core.base import Mode
from ..dsl.budget import Budget, Exhausted
from ..dsl.claims import Bound, Verdict, judge
from ..dsl.diagnostics import Diagnostic, PlanError, diagnostic
from ..dsl.files import Files
from ..dsl.guards import Need, needs, surprises
from ..dsl.limits import MAX_REPORTED
from ..dsl.loader import Loader
from ..dsl.modes import Modes
from ..dsl.render import to_json
from ..dsl.scope import FileScope
from ..dsl.source import Source, Span
from ..dsl.suggest import did_you_mean
from ..dsl.syntax import Claim
from ..dsl.values import POISON, BlockDef, BlockValue, key_of

SCHEMA = 1
# Plans at sizes or parameters other than their own, of which the last used are kept: a sweep has no end.
MAX_KEPT = 64


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


def judged(plan: str, modes: Modes) -> CheckReport:
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
            raise MissingFile("the path of a file is wanted: PlanFile.from_text(text) takes a text")
        self.path = Path(path)
        loader = Loader()
        self.source = loader.read(self.path) if source is None else source
        self._files = Files(loader)
        self.syntax = loader.parsed(self.source)
        self._lock = RLock()
        self._own: dict[Hashable, Modes] = {}
        self._others: OrderedDict[Hashable, Modes] = OrderedDict()

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
        block = self.block(plan)
        key = plan, _key({**block.bindings, **(bindings or {})}), _key(overrides or {})
        own = key == (plan, _key(block.bindings), _key({}))
        with self._lock:
            table = self._own if own else self._others
            if key not in table:
                self._check_overrides(plan, overrides or {})
                table[key] = Modes(block, self.scope, bindings, overrides)
            if not own:
                self._others.move_to_end(key)
                if len(self._others) > MAX_KEPT:
                    self._others.popitem(last=False)
            modes = table[key]
            modes.budget = budget or Budget()
            return modes

    def _graph(self, plan: str, sizes: Mapping[str, Any], mode: Mode, budget: Budget) -> Bound:
        """A plan's graph for a claim: the symbolic one, or elaborated anew for sizes that are not for it."""
        asked: Mode = "eval" if mode == "deploy" else mode
        modes = self._at(plan, budget=budget)
        graph = modes.graph(asked)
        if not set(sizes) <= set(symbols_of(graph)) or not all(each.admits(sizes) for each in graph.guards):
            modes, sizes = self._at(plan, sizes, budget=budget), {}
            graph = modes.graph(asked)
        return Bound(modes.deployed().graph if mode == "deploy" else graph, sizes)

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
                report = judged(name, self._at(name, budget=budget))
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


def _key(values: Mapping[str, Any]) -> Hashable:
    return frozenset((name, key_of(value)) for name, value in values.items())
