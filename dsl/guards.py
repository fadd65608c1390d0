"""What a plan asks of unbound sizes when it runs, for people: listed, and warned of where it surprises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..compiler.graph.graph import Graph
from ..compiler.ops.core.base import Mode
from ..compiler.sizes.dims import Size, fold, free_symbols, render
from ..compiler.sizes.guards import Guard
from . import syntax
from .diagnostics import Diagnostic, diagnostic
from .scope import Site


class Need(NamedTuple):
    """A guard of a plan's graphs, and the modes that have it."""

    plan: str
    modes: tuple[Mode, ...]
    guard: Guard

    @property
    def place(self) -> Site | None:
        """Where in a plan it comes from."""
        place = self.guard.origin.place if self.guard.origin is not None else None
        return place if isinstance(place, Site) else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON with stable keys."""
        line, column = self.place.span.source.position(self.place.span.start) if self.place else (None, None)
        return {
            "plan": self.plan,
            "modes": list(self.modes),
            "guard": str(self.guard),
            "relation": self.guard.relation,
            "left": _plain(self.guard.left),
            "right": _plain(self.guard.right),
            "message": self.guard.message,
            "file": self.place.span.source.name if self.place else None,
            "line": line,
            "column": column,
        }


def _plain(size: Size) -> int | str:
    return size if isinstance(size, int) else render(size)


def needs(plan: str, graphs: Mapping[Mode, Graph]) -> tuple[Need, ...]:
    """The guards of a plan, each once; none that a larger bound of the same size implies."""
    modes: dict[tuple[str, Size, Size], list[Mode]] = {}
    guards: dict[tuple[str, Size, Size], Guard] = {}
    for mode, graph in graphs.items():
        for guard in _strongest(graph.guards):
            key = guard.relation, guard.left, guard.right
            guards.setdefault(key, guard)
            modes.setdefault(key, []).append(mode)
    return tuple(Need(plan, tuple(modes[key]), guard) for key, guard in guards.items())


def _strongest(guards: Iterable[Guard]) -> Iterator[Guard]:
    greatest: dict[Size, int] = {}
    known = list(guards)
    for guard in known:
        if guard.relation == ">=" and isinstance(guard.right, int):
            greatest[guard.left] = max(guard.right, greatest.get(guard.left, guard.right))
    for guard in known:
        bound = greatest.get(guard.left) if guard.relation == ">=" and isinstance(guard.right, int) else None
        if bound is None or guard.right == bound:
            yield guard


def surprises(found: Iterable[Need], graph: Graph) -> Iterator[Diagnostic]:
    """A warning for each need that binds a batch, or sizes of the inputs to each other or to a number.

    Whoever left them free hardly meant that, unless it is written as `require`.
    """
    batch = _batch(graph)
    for need in found:
        site = need.place
        if site is None or _is_written(site) or not _binds(need.guard, batch):
            continue
        yield diagnostic(
            "W906",
            site.span,
            f"{need.guard.message}",
            name=need.plan,
            guard=str(need.guard),
            help=["write it as `require`, or in the type of the input, if it is meant"],
        )


def _batch(graph: Graph) -> frozenset[str]:
    first = graph.inputs[0].shape if graph.inputs else ()
    return free_symbols(first[0]) if len(first) > 1 else frozenset()


def _is_written(site: Site) -> bool:
    """Whether the constraint is a `require` of the plan."""
    return site.operator is None and isinstance(site.syntax, syntax.Compare)


def _binds(guard: Guard, batch: frozenset[str]) -> bool:
    names = free_symbols(guard.left) | free_symbols(guard.right)
    if guard.relation == "%":
        return bool(names) and names <= batch
    if guard.relation != "==":
        return False
    return bool(names & batch) or (len(names) <= 2 and _is_affine(guard.left) and _is_affine(guard.right))


def _is_affine(size: Size) -> bool:
    """Whether it is a sum of multiples of symbols and a number."""

    def degree(kind: str, args: tuple[int, ...]) -> int:
        if kind == "add":
            return max(args)
        return sum(args) if kind == "mul" else 2 * max(args)

    return fold(size, lambda _: 0, lambda _: 1, degree) <= 1
