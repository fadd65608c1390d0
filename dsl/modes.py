"""A plan in its modes: each is elaborated when it is asked for, and what is wrong is said with its mode."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeAlias

from ..compiler.graph.graph import Graph, Weight
from ..compiler.graph.program import Program
from ..compiler.ops.core.base import Mode
from . import syntax
from .blocks import walk
from .budget import Budget, Exhausted
from .diagnostics import Diagnostic, PlanError, diagnostic
from .elaborate import Elaboration
from .scope import FileScope, Site
from .source import Source
from .values import BlockDef, BlockValue

if TYPE_CHECKING:
    from ..compiler.rewriting.pipeline import Deployed

BOTH: tuple[Mode, ...] = ("eval", "train")
REFUSAL = "E508"

_Place: TypeAlias = tuple[str, Source, int]
_Elaborate: TypeAlias = Callable[[Mode], "Graph | tuple[Diagnostic, ...]"]


class Modes:
    """A plan at some sizes, with a graph for each mode; a mode is elaborated once, and only if asked for.

    Sizes that evaluation takes may be such as training refuses: a batch of one has no variance, and an
    auxiliary head may find nothing left of a small image. A mode that is wrong for its sizes alone is
    *refused*; a mode that is wrong at any size is a mistake of the plan.
    """

    def __init__(
        self,
        plan: BlockValue,
        scope: FileScope,
        bindings: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
    ) -> None:
        # What modes that are not elaborated yet are paid from.
        self.budget = budget or Budget()
        self.name = plan.plan or plan.name
        self._plan = plan
        self._scope = scope
        self._bindings = {**plan.bindings, **(bindings or {})}
        self._overrides = dict(overrides or {})
        self._outcomes: dict[Mode, Graph | tuple[Diagnostic, ...]] = {}
        self._programs: dict[tuple[Mode, ...] | None, Program] = {}
        self._deployed: Deployed | None = None
        # Threads that ask for the same mode get the same graph.
        self._lock = RLock()

    def graph(self, mode: Mode) -> Graph:
        """The graph of a mode; raises `PlanError` with all that is wrong in it."""
        found = self._outcome(mode)
        if isinstance(found, Graph):
            return found
        raise PlanError(self.problems((mode,)))

    def problems(self, modes: tuple[Mode, ...] = BOTH) -> tuple[Diagnostic, ...]:
        """What is wrong in the modes, each root cause once; a note names the mode where others take it."""
        wrong = {mode: found for mode in modes if not isinstance(found := self._outcome(mode), Graph)}
        if not wrong:
            return self._clashes() if len(modes) > 1 else ()
        # Whether an error is one of a mode is seen by what the other says.
        places = {mode: _places(self._outcome(mode)) for mode in BOTH}
        reported: dict[_Place, Diagnostic] = {}
        for mode, found in wrong.items():
            others = set[_Place]().union(*(places[other] for other in BOTH if other != mode))
            for each in found:
                place = _place(each)
                if place not in others and each.code != REFUSAL:
                    each = replace(each, notes=(*each.notes, f"in {mode} mode only"))
                reported.setdefault(place, each)
        # Nothing was said of the plan where it depends on a declaration that is wrong: that is the cause.
        return tuple(reported.values()) or tuple(self._scope.errors)

    def refused(self, mode: Mode) -> tuple[Diagnostic, ...]:
        """Why the plan's sizes do not admit a mode; empty where they do, or where the plan is at fault."""
        found = self._outcome(mode)
        if isinstance(found, Graph) or not isinstance(self._outcome(_other(mode)), Graph):
            return ()
        by_operators = bool(found) and all(each.code == REFUSAL for each in found)
        return found if by_operators or self._freed(mode) is not None else ()

    def judged(self) -> tuple[Diagnostic, ...]:
        """All that is wrong; where the sizes alone do not admit training, that is a warning."""
        refused = self.refused("train")
        if not refused:
            return self.problems()
        return tuple(
            diagnostic(
                "W905",
                each.primary.span,
                each.primary.text,
                secondary=each.secondary,
                notes=each.notes,
                help=each.help,
                name=self.name,
                message=each.message,
            )
            for each in refused
        )

    def program(self, modes: tuple[Mode, ...] | None = None) -> Program:
        """The graphs of modes over one table of weights; raises `PlanError`.

        Without modes it is eval, and train unless the sizes refuse it: the program says why then, and has the
        weights that are read in training alone, since a checkpoint does not depend on the sizes of inputs.
        """
        with self._lock:
            if modes not in self._programs:
                self._programs[modes] = self._program(modes)
            return self._programs[modes]

    def deployed(self) -> Deployed:
        """The program of eval mode alone, deployed; raises `PlanError`."""
        from ..compiler.rewriting.pipeline import deploy

        with self._lock:
            if self._deployed is None:
                self._deployed = deploy(self.program(("eval",)))
            return self._deployed

    def _program(self, modes: tuple[Mode, ...] | None) -> Program:
        refused = self.refused("train") if modes is None else ()
        wanted = modes or (("eval",) if refused else BOTH)
        problems = self.problems(wanted)
        if problems:
            raise PlanError(problems)
        graphs: dict[Mode, Graph] = {mode: self.graph(mode) for mode in wanted}
        weights: dict[str, Weight] = {}
        for graph in graphs.values():
            for path, weight in graph.weights.items():
                weights.setdefault(path, weight)
        if refused:
            trained = self._freed("train")
            for path, weight in trained.weights.items() if trained is not None else ():
                weights.setdefault(path, weight)
        why: dict[Mode, str] = {}
        if refused:
            # The file by its name alone: this text goes into what is emitted.
            place = refused[0].primary.span.where.rpartition("/")[2]
            why["train"] = f"{refused[0].message} ({place})"
        return Program(self.name, graphs, weights, self._scope.about, why)

    def _clashes(self) -> tuple[Diagnostic, ...]:
        """Weights whose types differ between the modes."""
        tables = [self.graph(mode).weights for mode in BOTH]
        found: list[Diagnostic] = []
        for node in self.graph("train").nodes:
            if node.op.name != "weight" or not node.origins:
                continue
            path = str(node.path)
            left, right = (table[path].type if path in table else None for table in tables)
            site = node.origins[0].place
            if left is not None and left != right and isinstance(site, Site):
                found.append(diagnostic("E509", site.span, path=path, left=left, right=right))
        return tuple(found)

    def _outcome(self, mode: Mode) -> Graph | tuple[Diagnostic, ...]:
        """The graph of a mode, or what is wrong in it."""
        with self._lock:
            if mode not in self._outcomes:
                self._outcomes[mode] = self._elaborated(mode)
            return self._outcomes[mode]

    def _elaborated(self, mode: Mode) -> Graph | tuple[Diagnostic, ...]:
        try:
            with _without_collector():
                run = Elaboration(self.name, mode, budget=self.budget)
                return run.model(self._plan, self._bindings, self._overrides)
        except Exhausted:
            raise
        except PlanError as error:
            return error.diagnostics

    def _freed(self, mode: Mode) -> Graph | None:
        """The graph of a mode where bound sizes are free: those of the batch, or else all; None if wrong."""
        for modes in self._free_sizes:
            modes.budget = self.budget
            found = modes._outcome(mode)
            if isinstance(found, Graph):
                return found
        return None

    @cached_property
    def _free_sizes(self) -> tuple[Modes, ...]:
        block = self._plan.target
        if not isinstance(block, BlockDef):
            return ()
        first = {
            axis.size.id
            for param in block.inputs
            for node in (walk(param.type) if param.type is not None else ())
            if isinstance(node, syntax.ShapeType)
            for axis in node.axes[:1]
            if isinstance(axis.size, syntax.Name)
        }
        # A list is the number of axes too, which must be known.
        numbers = {name for name, value in self._bindings.items() if isinstance(value, int)}
        freed: list[Modes] = []
        for names in dict.fromkeys((frozenset(first & numbers), frozenset(numbers))):
            if names:
                kept = {name: value for name, value in self._bindings.items() if name not in names}
                freed.append(Modes(replace(self._plan, bindings=kept), self._scope, None, self._overrides))
        return tuple(freed)


def _other(mode: Mode) -> Mode:
    return "train" if mode == "eval" else "eval"


def _place(found: Diagnostic) -> _Place:
    return found.code, found.primary.span.source, found.primary.span.start


def _places(outcome: Graph | tuple[Diagnostic, ...]) -> set[_Place]:
    return set() if isinstance(outcome, Graph) else {_place(found) for found in outcome}


@contextmanager
def _without_collector() -> Generator[None]:
    # Elaboration makes many objects that all live on; looking for cycles among them takes half of the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
