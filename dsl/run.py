"""The state of one elaboration: the graph being built, what was reported, and the limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..compiler.graph.builder import Builder
from ..compiler.graph.graph import Origin, Value
from ..compiler.ops.core.base import Mode
from ..compiler.sizes.dims import Size, free_symbols
from ..compiler.sizes.guards import Contradiction, Guard
from . import limits, syntax
from .budget import Budget, Exhausted, TooDeep, weight
from .diagnostics import Diagnostic, Label, PlanError, diagnostic
from .scope import Frame, Site
from .source import Span
from .values import FRACTION, Bound

_FRACTION_HELP = (
    "what is no whole number of sizes that are not bound is known only when the plan runs: divide whole "
    "numbers by `//`, or bind the sizes, `plan NAME = model() at (H=224, W=224)`"
)


class Run:
    """One elaboration in one mode: collects diagnostics, one for each root cause."""

    def __init__(self, name: str, mode: Mode, budget: Budget | None = None) -> None:
        self.mode: Mode = mode
        self.budget = Budget() if budget is None else budget
        self.depth: int = 0
        self.builder = Builder(name)
        self.diagnostics: list[Diagnostic] = []
        self.reported: set[tuple[str, int, int]] = set()
        self.weight_spans: dict[str, Span] = {}
        self.weight_prefixes: dict[str, Span] = {}
        self.labelled: list[tuple[str, Any]] = []
        self.calls: dict[Value, list[tuple[str, int, int]]] = {}

    def report(self, error: Diagnostic) -> None:
        """Keep a diagnostic, unless its place was reported with the same code: another turn of a loop."""
        key = (error.code, id(error.primary.span.source), error.primary.span.start)
        if key not in self.reported:
            self.reported.add(key)
            self.diagnostics.append(error)

    def report_all(self, error: PlanError) -> None:
        """Keep all diagnostics of an error."""
        for found in error.diagnostics:
            self.report(found)

    def error(
        self,
        code: str,
        node: syntax.Node | Span,
        frame: Frame | None = None,
        text: str = "",
        *,
        secondary: Iterable[Label] = (),
        notes: Iterable[str] = (),
        help: Iterable[str] = (),
        **fields: Any,
    ) -> PlanError:
        """An error at a node, with the calls around it as notes."""
        if not self.budget.spend(limits.ERROR):
            return exhausted(node)
        span = node if isinstance(node, Span) else node.span
        chain = [] if frame is None else call_notes(frame)
        if fields.get("got") == FRACTION and not help:
            help = [_FRACTION_HELP]
        return PlanError(
            [diagnostic(code, span, text, secondary=secondary, notes=[*notes, *chain], help=help, **fields)]
        )

    def origin(
        self,
        node: syntax.Node,
        frame: Frame,
        operator: Any = None,
        arguments: Mapping[str, Bound] | None = None,
    ) -> Origin:
        """Where a graph node comes from."""
        return Origin(Site(node, frame, operator, arguments), frame.region)

    def guard(
        self, relation: str, left: Size, right: Size, message: str, node: syntax.Node, frame: Frame
    ) -> None:
        """Keep a relation between sizes for run time; raises `PlanError` where others rule it out."""
        self.spend(limits.GUARD, node)
        try:
            self.builder.require(Guard(relation, left, right, message, self.origin(node, frame)))
        except Contradiction as error:
            raise self.contradiction(error, node, frame) from None

    def contradiction(self, error: Contradiction, node: syntax.Node, frame: Frame | None = None) -> PlanError:
        """The diagnostic of a constraint that no sizes satisfy together with others."""
        secondary: list[Label] = []
        notes: list[str] = []
        for guard in error.others:
            site = guard.origin.place if guard.origin is not None else None
            text = f"`{guard}` ({guard.message})"
            if isinstance(site, Site) and site.span != node.span:
                secondary.append(Label(site.span, f"needs {text}"))
            else:
                notes.append(f"it needs {text} too")
        all_needed = [str(guard) for guard in (*error.others, error.guard)]
        return self.error(
            "E307",
            node,
            frame,
            f"needs `{error.guard}` ({error.guard.message})",
            needed=" and ".join(f"`{text}`" for text in all_needed),
            secondary=secondary,
            notes=notes,
        )

    def spend(self, work: int, node: syntax.Node) -> None:
        """Pay for some work from the budget; raises `Exhausted`."""
        if not self.budget.spend(work):
            raise exhausted(node)

    def weigh(self, value: Any, node: syntax.Node, frame: Frame) -> None:
        """Pay for going through a static value; raises `Exhausted`, and `PlanError` if it is too deep."""
        try:
            self.spend(weight(value, self.budget.left), node)
        except TooDeep:
            what = "the depth of lists and records within each other"
            raise self.error("E205", node, frame, what=what, limit=limits.MAX_NESTING) from None


def exhausted(node: syntax.Node | Span) -> Exhausted:
    """The error of a budget that is spent."""
    span = node if isinstance(node, Span) else node.span
    what = "the work of computing this file"
    help = ["check its plans one by one, or split it: `FILE:PLAN` asks for one plan"]
    return Exhausted([diagnostic("E205", span, what=what, limit=limits.MAX_WORK, help=help)])


def call_notes(frame: Frame) -> list[str]:
    """The calls around a frame as notes, innermost first; a long chain is clipped in the middle."""
    chain = frame.chain()
    shown = chain if len(chain) <= 8 else [*chain[:4], None, *chain[-3:]]
    return [
        "..." if item is None else f"in {item[0] or 'the plan'}, called at {item[1].where}" for item in shown
    ]


def unbound(*sizes: Size) -> str:
    """The free symbols of sizes, listed for people: "size `H`", "sizes `H` and `W`"."""
    names = [f"`{name}`" for name in sorted(frozenset[str]().union(*map(free_symbols, sizes)))]
    if len(names) < 2:
        return f"size {''.join(names)}"
    return f"sizes {', '.join(names[:-1])} and {names[-1]}"
