"""The passes in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph.graph import Graph
from ..graph.program import Program
from ..graph.verify import verify
from ..sizes.dims import assuming
from .passes import (
    arithmetic,
    attention,
    compose_linear,
    cse,
    fold_affine,
    inference,
    joins,
    merge_parallel,
    padding,
    views,
    windows,
)
from .passes.unfolded_norms import kept_norms
from .prepack import split
from .rule import Change, Log, Refusal
from .sweep import Pass

Transform = Callable[[Graph, Log], Graph]

ALGEBRA = (*views.RULES, *joins.RULES, *arithmetic.RULES)
LINEAR = (
    *fold_affine.RULES,
    *merge_parallel.RULES,
    *compose_linear.RULES,
    *padding.RULES,
    *windows.RULES,
    *inference.RULES,
)

# What any graph gains from: shorter, and the same numbers.
SIMPLIFY: tuple[Transform, ...] = (
    Pass("algebra", ALGEBRA).run,
    cse.share,
)

# What a graph gains from once its weights stand: linear operators become one, by arithmetic on weights.
DEPLOY: tuple[Transform, ...] = (
    Pass("attention", attention.RULES).run,
    Pass("linear", LINEAR, once=False).run,
    Pass("algebra", ALGEBRA, once=False).run,
    cse.share,
)

# Passes are repeated until none applies; each round makes the graph smaller, so that this is not reached.
_ROUNDS = 50


@dataclass(frozen=True, eq=False)
class Deployed:
    """A program made ready for running with fixed weights.

    `graph` computes the results of eval mode from weights of its own; `prologue`, a graph without inputs,
    computes those, by path, from the program's weights. `changes` lists the rewrites that were applied and
    `refusals` those that were found and refused, with reasons.
    """

    source: Program
    graph: Graph
    prologue: Graph
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def program(self) -> Program:
        """The deployed graph as a program; eval is its only mode."""
        about: Mapping[str, Any] = self.source.about
        return Program(self.source.name, {"eval": self.graph}, self.graph.weights, about)


def optimise(graph: Graph, log: Log | None = None, check: bool = False) -> Graph:
    """The graph simplified: the same results with fewer operators. Doing it again changes nothing.

    `check` verifies the graph after every pass.
    """
    return repeat(SIMPLIFY, graph, Log() if log is None else log, check)


def deploy(program: Program, check: bool = False) -> Deployed:
    """The program's eval graph with all that depends on weights alone moved to a prologue.

    Batch norms, scales and parallel or consecutive linear maps are merged where that is exact; see
    `Deployed`. `check` verifies the graph after every pass.
    """
    log = Log()
    graph = repeat(DEPLOY, program.graph, log, check)
    parts = split(graph)
    if check:
        verify(parts.main)
        verify(parts.prologue)
    refusals = [*log.refusals, *kept_norms(graph, log.refusals)]
    return Deployed(program, parts.main, parts.prologue, tuple(log.changes), tuple(refusals))


def repeat(passes: Sequence[Transform], graph: Graph, log: Log, check: bool = False) -> Graph:
    """Apply passes in turn until none changes the graph; refusals are those that each made last."""
    with assuming(graph.facts):
        return _repeat(passes, graph, log, check)


def _repeat(passes: Sequence[Transform], graph: Graph, log: Log, check: bool) -> Graph:
    refusals: list[list[Refusal]] = [[] for _ in passes]
    unchanged = 0
    for number in range(_ROUNDS * len(passes)):
        place = number % len(passes)
        step = Log(changes=log.changes)
        after = passes[place](graph, step)
        log.applied += step.applied
        if check:
            verify(after)
        refusals[place] = step.refusals
        unchanged = unchanged + 1 if after is graph else 0
        graph = after
        if unchanged == len(passes):
            break
    log.refusals += [refusal for found in refusals for refusal in found]
    return graph
