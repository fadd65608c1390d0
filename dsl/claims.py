"""Claims and budgets: figures that a file quotes, derived again from its graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from ..compiler.cost import CostReport, cost
from ..compiler.graph.analysis import depth
from ..compiler.graph.graph import Graph, Value, Weight
from ..compiler.ops.core.base import Mode
from ..compiler.sizes.dims import Dim, Size, SizeTooLarge, prod, substitute, total
from . import limits, syntax
from .budget import Budget, Exhausted
from .diagnostics import Diagnostic, PlanError, diagnostic
from .elaborate import Elaboration
from .run import unbound
from .scope import FileScope, Frame
from .suggest import did_you_mean
from .values import Poisoned, kind_of, show
from .weight_claims import claimed_table, misfit


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim with the figure that was derived; `error` says why it does not hold (None if it does)."""

    claim: syntax.Claim
    plan: str
    text: str
    got: Any
    wanted: Any
    error: Diagnostic | None

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.error is None

    def to_dict(self) -> dict[str, Any]:
        """As JSON with stable keys."""
        line, column = self.claim.span.source.position(self.claim.span.start)
        return {
            "plan": self.plan,
            "kind": self.claim.kind,
            "claim": self.text,
            "ok": self.ok,
            "got": _plain(self.got),
            "wanted": _plain(self.wanted),
            "source": self.claim.source_note,
            "file": self.claim.span.source.name,
            "line": line,
            "column": column,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value if isinstance(value, (int, float, str)) or value is None else str(value)


class Bound(NamedTuple):
    """A graph, and what its symbols are bound to; sizes known when it was elaborated are numbers in it."""

    graph: Graph
    sizes: Mapping[str, int]


_SHOWN = 300
_Metric = Callable[["_Subject", dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a claim is about: the plan's graph in a mode, and what is left to bind of the claim's sizes."""

    graph: Callable[[Mode], Bound]
    spend: Callable[[int], None]

    def report(self, mode: Mode) -> CostReport:
        graph, sizes = self.graph(mode)
        self.spend(limits.NODE * len(graph.nodes))
        return cost(graph, sizes)

    def elements(self, mode: Mode, counts: Callable[[Weight], bool]) -> Size:
        # The table suffices for weights: a report would count all operators, in symbols perhaps.
        weights = self.graph(mode).graph.weights.values()
        return total([prod(weight.type.shape) for weight in weights if counts(weight)])


def _mode(options: dict[str, Any]) -> Mode:
    return options.get("mode", "eval")


METRICS: dict[str, tuple[_Metric, tuple[str, ...]]] = {
    "params": (lambda s, o: s.elements(_mode(o), lambda weight: weight.kind == "param"), ("mode",)),
    # Of experts those that a position is routed to; and, the other way round, the work of all of them.
    "active_params": (lambda s, o: s.report(_mode(o)).active_params, ("mode",)),
    "total_macs": (lambda s, o: s.report(_mode(o)).total_macs, ("mode",)),
    "trainable": (lambda s, o: s.elements(_mode(o), lambda weight: weight.trainable), ("mode",)),
    "buffers": (lambda s, o: s.elements(_mode(o), lambda weight: weight.kind == "buffer"), ("mode",)),
    "macs": (lambda s, o: s.report(_mode(o)).macs(o.get("convention", "all")), ("mode", "convention")),
    "flops": (lambda s, o: s.report(_mode(o)).flops(o.get("convention", "all")), ("mode", "convention")),
    "activations": (
        lambda s, o: s.report(_mode(o)).activations(o.get("convention", "all")),
        ("mode", "convention"),
    ),
    "bytes": (lambda s, o: s.report(_mode(o)).bytes, ("mode",)),
    "depth": (lambda s, o: depth(s.graph(_mode(o)).graph), ("mode",)),
    "shape": (lambda s, o: _shape(s, o), ("mode", "of")),
}


def _shape(subject: _Subject, options: dict[str, Any]) -> list[Any]:
    graph, sizes = subject.graph(_mode(options))
    label = options.get("of")
    value: Value | None = None
    if label is None:
        value = graph.outputs[0]
    else:
        # The last value computed under the label: that of the call, or of a prefix's last call.
        for node in graph.nodes:
            regions = node.region.chain() if node.region else ()
            paths = [node.path or "", *(region.path for region in regions)]
            if not node.op.source and any(f"{path}.".startswith(f"{label}.") for path in paths):
                value = node.results[0]
    if value is None:
        raise ValueError(f"no call has the label `{label}`")
    return [substitute(size, dict(sizes)) for size in value.shape]


def judge(
    claim: syntax.Claim,
    scope: FileScope,
    graph: Callable[[dict[str, Any], Mode], Bound],
    weights: Callable[[dict[str, Any]], Mapping[str, Weight]],
    budget: Budget | None = None,
) -> Verdict:
    """Derive a claim's figure and compare.

    `graph(bindings, mode)` gives the plan's graph, `weights(bindings)` its table of weights in all modes.
    Raises `Exhausted` where the work is not paid for.
    """
    text = " ".join(claim.span.text.split())
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    run = Elaboration(claim.subject.name, "eval", budget=budget)
    frame = Frame(scope)
    try:
        if isinstance(claim.metric, syntax.Name) and claim.metric.id == "weights":
            return _judge_weights(claim, text, run, frame, weights)
        got, wanted = _figures(claim, run, frame, graph)
    except Exhausted:
        raise
    except PlanError as error:
        return Verdict(claim, claim.subject.name, text, None, None, error.diagnostics[0])
    except Poisoned:
        # What the claim names is wrong in the claim itself, or was wrong where the file declares it.
        return Verdict(claim, claim.subject.name, text, None, None, (run.diagnostics or scope.errors)[0])
    holds = _holds(claim, got, wanted)
    found: Diagnostic | None = None
    if not holds:
        metric = " ".join(claim.metric.span.text.split())
        tolerance = ""
        if claim.tolerance is not None:
            tolerance = f" within {claim.tolerance.span.text}"
        found = diagnostic(
            "E601",
            claim.value.span,
            subject=claim.subject.name,
            metric=metric,
            got=_figure(got),
            kind=f"the {claim.kind}",
            op=claim.op,
            wanted=_figure(wanted) + tolerance,
            notes=[f"the claim cites {claim.source_note}"] if claim.source_note else [],
        )
    return Verdict(claim, claim.subject.name, text, got, wanted, found)


def _judge_weights(
    claim: syntax.Claim,
    text: str,
    run: Elaboration,
    frame: Frame,
    weights: Callable[[dict[str, Any]], Mapping[str, Weight]],
) -> Verdict:
    if claim.op != "==" or claim.tolerance is not None:
        got = claim.op if claim.tolerance is None else "a tolerance"
        raise run.error("E201", claim.value, what="the comparison of `weights`", wanted="`==`", got=got)
    name = run.evaluate(claim.value, frame)
    if not isinstance(name, str):
        raise run.error(
            "E201", claim.value, what="the claimed value", wanted="the name of a file", got=kind_of(name)
        )
    table = claimed_table(claim, name)
    own = weights(run.bindings(claim.bindings, frame))
    count = sum(weight.persistent for weight in own.values())
    return Verdict(claim, claim.subject.name, text, count, name, misfit(claim, name, table, own))


def _figure(value: Any) -> str:
    return f"{value:_}" if isinstance(value, int) else show(value)


def _figures(
    claim: syntax.Claim,
    run: Elaboration,
    frame: Frame,
    graph: Callable[[dict[str, Any], Mode], Bound],
) -> tuple[Any, Any]:
    metric = claim.metric
    options: dict[str, Any] = {}
    if isinstance(metric, syntax.Call):
        function = metric.function
        arguments = metric.arguments
    else:
        function, arguments = metric, ()
    name = function.id if isinstance(function, syntax.Name) else ""
    if name not in METRICS:
        raise run.error(
            "E602",
            function,
            metric=" ".join(function.span.text.split()),
            help=did_you_mean(name, [*METRICS, "weights"]),
        )
    measure, known = METRICS[name]
    for argument in arguments:
        key = argument.name or ("of" if name == "shape" else None)
        value = run.evaluate(argument.value, frame)
        if key not in known or not isinstance(value, str):
            raise run.error("E207", argument, name=f"`{name}`", argument=key or argument.span.text)
        options[key] = value
    bindings = run.bindings(claim.bindings, frame)
    wanted = run.evaluate(claim.value, frame)
    try:
        got = measure(
            _Subject(lambda mode: graph(bindings, mode), lambda work: run.spend(work, metric)), options
        )
    except (KeyError, ValueError, SizeTooLarge) as error:
        message = f"the figure cannot be derived: {error}"
        raise run.error("E202", metric, message=message) from None
    for size in cast("list[Any]", got) if isinstance(got, list) else [got]:
        if isinstance(size, Dim):
            raise run.error(
                "E603",
                metric,
                metric=name,
                sizes=unbound(size),
                help=["bind them: `at (B=1, H=224, W=224)`"],
            )
    numbers = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
    if not (numbers and isinstance(got, (int, float))) and not (
        isinstance(wanted, list) and isinstance(got, list)
    ):
        wanted_kind = "a list" if isinstance(got, list) else "a number"
        raise run.error(
            "E201", claim.value, what="the claimed value", wanted=wanted_kind, got=kind_of(wanted)
        )
    return cast("Any", got), cast("Any", wanted)


def _holds(claim: syntax.Claim, got: Any, wanted: Any) -> bool:
    if isinstance(got, list):
        return claim.op == "==" and list(cast("list[Any]", got)) == list(wanted)
    slack: float = 0
    if claim.tolerance is not None:
        slack = claim.tolerance.value * abs(wanted) if claim.relative else claim.tolerance.value
    if claim.op == "==":
        return abs(got - wanted) <= slack
    if claim.op in ("<=", "<"):
        return got <= wanted + slack if claim.op == "<=" else got < wanted + slack
    return got >= wanted - slack if claim.op == ">=" else got > wanted - slack
