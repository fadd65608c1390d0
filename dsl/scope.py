"""Where names live: the declarations of a file, and the frame of a running block call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..compiler.graph.graph import Region
from . import syntax
from .diagnostics import Diagnostic
from .source import Source, Span
from .values import Bound, SharedValue


@dataclass(eq=False)
class FileScope:
    """The names that a file declares or imports, evaluated; `errors` is what is wrong with its
    declarations.
    """

    source: Source
    tree: syntax.File
    names: dict[str, Any] = field(default_factory=dict[str, Any])
    where: dict[str, Span] = field(default_factory=dict[str, Span])
    plans: dict[str, syntax.Plan] = field(default_factory=dict[str, syntax.Plan])
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    errors: list[Diagnostic] = field(default_factory=list[Diagnostic])
    imported: set[str] = field(default_factory=set[str])


class Frame:
    """A running block call: local names, label prefix, and the call that started it.

    `sizes` are names bound by shape patterns, which cannot be reassigned. `unlabelled` remembers the first
    unlabelled call of a name that made weights, and `repeats` is that call where this one is a second.
    `shared` is the
    instance whose weights the call reuses, if any.
    """

    __slots__ = (
        "block",
        "call",
        "depth",
        "file",
        "frozen",
        "names",
        "parent",
        "prefix",
        "region",
        "repeats",
        "shared",
        "sizes",
        "unlabelled",
        "where",
    )

    def __init__(
        self,
        file: FileScope,
        prefix: str = "",
        parent: Frame | None = None,
        call: Span | None = None,
        block: str = "",
        region: Region | None = None,
        frozen: bool = False,
        shared: SharedValue | None = None,
    ) -> None:
        self.file = file
        self.prefix = prefix
        self.parent = parent
        self.call = call
        self.block = block
        self.region = region
        self.frozen = frozen
        self.shared = shared
        self.depth = parent.depth + 1 if parent is not None else 0
        self.names: dict[str, Any] = {}
        self.where: dict[str, syntax.Node] = {}
        self.sizes: set[str] = set()
        self.unlabelled: dict[str, Span] = {}
        self.repeats: Span | None = None

    def chain(self) -> list[tuple[str, Span]]:
        """The calls around the frame, innermost first: (label path or block name, where it was called)."""
        found: list[tuple[str, Span]] = []
        frame: Frame | None = self
        while frame is not None and frame.call is not None:
            found.append((frame.prefix.rstrip(".") or frame.block, frame.call))
            frame = frame.parent
        return found


class Place:
    """Where a node was written, as plain text: what is left of a `Site` in another process."""

    __slots__ = ("line", "where")

    def __init__(self, where: str, line: int) -> None:
        self.where = where
        self.line = line

    def __str__(self) -> str:
        return self.where


class Site:
    """Where a node was written: the expression, its frame, and the operator as it was called.

    `arguments` are the operator's, with the texts that they came from.
    """

    __slots__ = ("arguments", "frame", "operator", "span", "syntax")

    def __init__(
        self,
        node: syntax.Node,
        frame: Frame,
        operator: Any = None,
        arguments: Mapping[str, Bound] | None = None,
    ) -> None:
        self.syntax = node
        self.span = node.span
        self.frame = frame
        self.operator = operator
        self.arguments = arguments or {}

    @property
    def where(self) -> str:
        """`file:line:column`."""
        return self.span.where

    @property
    def line(self) -> int:
        """The line of the plan."""
        return self.span.line

    def __str__(self) -> str:
        return self.span.where

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (self.where, self.line)
