"""Limits on untrusted text, so that reading and computing are bounded in time, memory and recursion.

Single things (one list, one number, one tensor) have limits of their own. What they amount to together is
bounded by `MAX_WORK`, the account of `budget.py`, from which all is paid at the prices below.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from .source import Span
from .syntax import Expr, File, Item, Node, Statement

MAX_CHARACTERS = 1 << 20
"""Characters of one file (1 MiB of ASCII)."""

MAX_TOKENS = 100_000
"""Words, numbers, texts and signs of one file."""

MAX_FILES = 256
"""Files that one file reaches by `use`."""

MAX_NESTING = 64
"""Depth of brackets, and depth of expressions and statements within each other."""

MAX_INTEGER = 2**63 - 1
"""Written integers are 64-bit, as sizes are in every backend."""

MAX_NUMBER_LENGTH = 40
"""Characters of a written number."""

MAX_CALL_DEPTH = 64
"""Block calls within each other."""

MAX_DEPTH = 512
"""Expressions and bodies within each other, those of all open block calls together."""

RECURSION = 10_000
"""Frames of Python that `MAX_DEPTH` may need; its own limit is raised to that."""

MAX_NODES = 50_000
"""Operators of one graph."""

MAX_LENGTH = 100_000
"""Items of a list, characters of a string."""

MAX_ELEMENTS = 2**48
"""Elements of one tensor."""

MAX_DIAGNOSTICS = 20
"""Broken declarations reported in one run."""

MAX_REPORTED = 200
"""Diagnostics of one run; what else is wrong is told of when these are mended."""

MAX_WORK = 4_000_000
"""Units of work of one check of a file, or of one elaboration of a plan; a unit is about a microsecond."""

STEP = 1
"""The price of an expression, and of each item that a static function or a comparison goes through."""

TEXT_SHIFT = 4
"""A text costs a unit for each 2 to the power of this many characters."""

CALL = 30
"""The price of a block call."""

SPREAD = 4
"""The price of an argument that a list is spread over, besides that of the item."""

WEIGHT = 40
"""The price of a weight."""

NODE = 20
"""The price of an operator of the graph."""

ELABORATION = 200
"""The price of an elaboration, besides what it does."""

GUARD = 20
"""The price of a constraint that is kept for run time."""

PROOF = 12
"""The price of a step of proofs about sizes."""

ERROR = 100
"""The price of a diagnostic."""


@cache
def _child_fields(kind: type[Node]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in ("span", "source"))


def children(node: Node) -> list[Node]:
    """The nodes directly below a node, in the order of its fields."""
    found: list[Node] = []
    pending: list[Any] = [getattr(node, name) for name in reversed(_child_fields(type(node)))]
    while pending:
        part = pending.pop()
        if isinstance(part, Node):
            found.append(part)
        elif isinstance(part, tuple):
            pending.extend(reversed(part))  # pyright: ignore[reportUnknownArgumentType]
    return found


def too_deep(file: File) -> Span | None:
    """The span of the first node that exceeds `MAX_NESTING`, or None. Does not recurse."""
    pending: list[tuple[Node, int]] = [(item, 0) for item in reversed(file.items)]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, (Expr, Statement)) and not isinstance(node, Item):
            depth += 1
            if depth > MAX_NESTING:
                return node.span
        pending.extend((child, depth) for child in reversed(children(node)))
    return None
