"""Patterns over operators: what a rewrite looks for, and the reasons why it may refuse what it finds.

A pattern is tried on a value and looks backwards, through the operands:

    op("batch_norm_with", x=op("conv_with", bind="conv"), bind="norm")

What it binds is read from the `Match` by name. Patterns hold no state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ..graph.graph import Node, Value


class Reject(NamedTuple):
    """Why a rewrite that matched does not apply, and the node that is in the way."""

    reason: str
    node: Node


class Facts(Protocol):
    """What is known of the graph while it is rewritten."""

    def uses(self, value: Value) -> int:
        """How often a value is read, as an operand or as a result of the graph."""
        ...

    def is_static(self, value: Value) -> bool:
        """Whether a value depends on weights and constants alone, and its sizes are known."""
        ...

    def readers(self, value: Value) -> Sequence[Node]:
        """The nodes of the graph before the sweep that read what is now this value."""
        ...


class Match:
    """What a pattern bound: values by name, and the nodes that it covers."""

    def __init__(self, facts: Facts, root: Node) -> None:
        self.facts = facts
        self.root = root
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def node(self, name: str) -> Node:
        """The node whose result was bound under that name."""
        return self.values[name].node

    def get(self, name: str) -> Value | None:
        """The value of that name, or None where the pattern left it out."""
        return self.values.get(name)

    def cover(self, *nodes: Node) -> None:
        """Count nodes as replaced, besides those of the pattern: their origins go to what replaces them."""
        self.nodes += [node for node in nodes if node not in self.nodes]

    def read_once(self, value: Value) -> Reject | None:
        """A refusal where something else reads the value too: replacing it would compute it twice."""
        others = self.facts.uses(value) - 1
        if others <= 0:
            return None
        times = "once more" if others == 1 else f"{others} times more"
        return Reject(f"the result of {value.node.op.title} is read {times}, elsewhere", value.node)


class Pattern:
    """Base of the patterns. `roots` are the operators that a match can end in; None if any can."""

    roots: frozenset[str] | None = None

    def match(self, value: Value, found: Match) -> bool:
        """Whether the value fits; binds names in `found`, which is spoilt where it does not."""
        raise AssertionError("a pattern matches")


class Anything(Pattern):
    """Every value."""

    def __init__(self, bind: str = "", where: Callable[[Value, Facts], bool] | None = None) -> None:
        self.bind = bind
        self.where = where

    def match(self, value: Value, found: Match) -> bool:
        """Whether the condition holds, and the name is free or stands for this value."""
        if self.where is not None and not self.where(value, found.facts):
            return False
        known = found.values.setdefault(self.bind, value) if self.bind else value
        return known is value


class Applied(Pattern):
    """The result of an operator of one of the names, with patterns for operands by slot.

    Operands without a pattern may be anything or absent. With `commutes` two operands x and y may stand in
    either order. With `once` nothing else reads the result. `where` is a further condition on the node.
    """

    def __init__(
        self,
        names: Sequence[str],
        operands: dict[str, Pattern],
        bind: str = "",
        once: bool = False,
        commutes: bool = False,
        where: Callable[[Node], bool] | None = None,
    ) -> None:
        self.roots = frozenset(names)
        self.operands = operands
        self.bind = bind
        self.once = once
        self.where = where
        swapped = {"x": operands.get("y"), "y": operands.get("x")} if commutes else {}
        self.orders = [operands]
        if commutes:
            self.orders.append({slot: pattern for slot, pattern in swapped.items() if pattern is not None})

    def match(self, value: Value, found: Match) -> bool:
        """Whether the operator and its operands fit."""
        node = value.node
        assert self.roots is not None
        if node.op.name not in self.roots or (self.where is not None and not self.where(node)):
            return False
        if self.once and found.facts.uses(value) > 1:
            return False
        if self.bind and found.values.setdefault(self.bind, value) is not value:
            return False
        given: dict[str, list[Value]] = {}
        for slot, operand in zip(node.slots, node.inputs, strict=True):
            given.setdefault(slot, []).append(operand)
        values, nodes = dict(found.values), list(found.nodes)
        for order in self.orders:
            if all(
                slot in given and all(pattern.match(operand, found) for operand in given[slot])
                for slot, pattern in order.items()
            ):
                found.cover(node)
                return True
            found.values, found.nodes = dict(values), list(nodes)
        return False


class Either(Pattern):
    """The first of several patterns that fits."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = tuple(patterns)
        roots = [pattern.roots for pattern in patterns]
        known = [names for names in roots if names is not None]
        self.roots = frozenset().union(*known) if len(known) == len(roots) else None

    def match(self, value: Value, found: Match) -> bool:
        """Whether one of them fits."""
        values, nodes = dict(found.values), list(found.nodes)
        for pattern in self.patterns:
            if pattern.match(value, found):
                return True
            found.values, found.nodes = dict(values), list(nodes)
        return False


def anything(bind: str = "") -> Pattern:
    """Every value; the same name stands for the same value."""
    return Anything(bind)


def static(bind: str = "") -> Pattern:
    """A value that depends on weights and constants alone."""
    return Anything(bind, lambda value, facts: facts.is_static(value))


def op(
    *names: str,
    bind: str = "",
    once: bool = False,
    commutes: bool = False,
    where: Callable[[Node], bool] | None = None,
    **operands: Pattern,
) -> Pattern:
    """The result of one of these operators; see `Applied`."""
    return Applied(names, operands, bind, once, commutes, where)


def either(*patterns: Pattern) -> Pattern:
    """The first of the patterns that fits."""
    return Either(patterns)
