"""The passes in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .graph import Graph
from .passes import arithmetic, joins, share, views
from .rewrite import Log, Pass, Refusal
from .verify import verify

Transform = Callable[[Graph, Log], Graph]

# What any graph gains from: shorter, and the same numbers.
SIMPLIFY: tuple[Transform, ...] = (
    Pass("algebra", (*views.RULES, *joins.RULES, *arithmetic.RULES)).run,
    share.share,
)

# Passes are repeated until none applies; each round makes the graph smaller, so that this is not reached.
_ROUNDS = 50


def optimise(graph: Graph, log: Log | None = None, check: bool = False) -> Graph:
    """The graph simplified: the same results with fewer operators. Doing it again changes nothing.

    `check` verifies the graph after every pass.
    """
    return repeat(SIMPLIFY, graph, Log() if log is None else log, check)


def repeat(passes: Sequence[Transform], graph: Graph, log: Log, check: bool = False) -> Graph:
    """Apply passes in turn until none changes the graph; refusals are those that each made last."""
    refusals: list[list[Refusal]] = [[] for _ in passes]
    unchanged = 0
    for number in range(_ROUNDS * len(passes)):
        place = number % len(passes)
        step = Log(log.changes)
        after = passes[place](graph, step)
        if check:
            verify(after)
        refusals[place] = step.refusals
        unchanged = unchanged + 1 if after is graph else 0
        graph = after
        if unchanged == len(passes):
            break
    log.refusals += [refusal for found in refusals for refusal in found]
    return graph
