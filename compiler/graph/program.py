"""A model made ready: a graph for each mode over one table of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ops.core.base import Mode
from .graph import Graph, Weight


@dataclass(frozen=True, eq=False)
class Program:
    """What elaboration gives: `graphs` by mode ("train" and "eval"), and what is known of the plan.

    `weights` is the union of the modes' tables in order of creation. Free sizes of the entry are symbols in
    the shapes of `graph.inputs`; each free symbol `s` stands in some input axis as `a*s + b` with integers
    a, b. `refused` holds the modes that the sizes do not admit, each with the reason.
    """

    name: str
    graphs: Mapping[Mode, Graph]
    weights: Mapping[str, Weight]
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refused: Mapping[Mode, str] = field(default_factory=dict[Mode, str])

    @property
    def graph(self) -> Graph:
        """The graph of eval mode."""
        return self.graphs["eval"]
