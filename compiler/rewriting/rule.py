"""Rules: what they look for, when they refuse, what they build; and the log of what they did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..graph.graph import Node, Origin, Value
from .match import Match, Pattern, Reject

if TYPE_CHECKING:
    from .editor import Editor

# What a rewrite lowers, of what runs at each call: the number of operators; the multiply-adds; these and all
# other arithmetic; the elements that operators other than views write. None raises the multiply-adds.
Metric = Literal["operators", "macs", "operations", "activations"]


@dataclass(frozen=True)
class Rule:
    """A rewrite: what it looks for, when it refuses, what it builds, and which metric that lowers.

    `when` completes the pattern, in silence; `check` refuses with a reason that people are told. `rewrite`
    returns the values that take the place of the results of the pattern's root.
    """

    name: str
    metric: Metric
    pattern: Pattern
    rewrite: Callable[[Match, Editor], Value | Sequence[Value]]
    when: Callable[[Match], bool] = lambda match: True
    check: Callable[[Match], Reject | None] = lambda match: None


@dataclass(frozen=True)
class Refusal:
    """A rule that found its pattern and did not apply it."""

    rule: str
    reason: str
    node: Node

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the node that is in the way comes from."""
        return self.node.origins


@dataclass(frozen=True)
class Change:
    """A rule that was applied: what it replaced came from `origins`; the result stands at `path`."""

    rule: str
    metric: Metric
    path: str
    origins: tuple[Origin, ...]


@dataclass
class Log:
    """What sweeps did and what they refused.

    `applied` counts rewrites; `changes` lists those of what runs at each call, not of how weights are made.
    """

    applied: int = 0
    changes: list[Change] = field(default_factory=list[Change])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
