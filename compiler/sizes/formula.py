"""Sizes as plain trees, and the printers that walk them.

A tree holds integers, `Leaf` symbols and `Node` operations, and knows nothing of sympy, so that text,
executable Python, fx proxies and TIR expressions are all one fold away from a size, and a pickled size
needs no library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

from ..errors import PlanformError

LIMIT = 2**63
"""No size, and no coefficient inside a symbolic size, may exceed this in absolute value."""


class SizeTooLarge(PlanformError, OverflowError):
    """A size grew past `LIMIT`, or a formula past the number of terms that is still worth reasoning about."""


class UnboundSize(PlanformError, KeyError):
    """A size was evaluated without a value for some of its symbols; `names` lists them in order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(names))
        super().__init__(self.names)

    def __str__(self) -> str:
        return f"no value was given for {', '.join(self.names)}"


class Leaf(NamedTuple):
    """A symbol and the least value it may take."""

    name: str
    minimum: int


class Node(NamedTuple):
    """An operation: "add", "mul", "min", "max" on two or more operands; "floordiv", "mod", "pow" on two."""

    kind: str
    args: tuple[Tree, ...]


Tree = int | Leaf | Node
T = TypeVar("T")


def fold_tree(
    tree: Tree,
    on_int: Callable[[int], T],
    on_leaf: Callable[[Leaf], T],
    on_op: Callable[[str, tuple[T, ...]], T],
) -> T:
    """Combine a tree bottom-up."""
    if isinstance(tree, int):
        return on_int(tree)
    if isinstance(tree, Leaf):
        return on_leaf(tree)
    return on_op(tree.kind, tuple(fold_tree(arg, on_int, on_leaf, on_op) for arg in tree.args))


SUM, PRODUCT, QUOTIENT, POWER, PRIMARY = range(5)
"""Binding strength; both `(3*H)//2` and `3*(H//2)` show their parentheses."""

PRIMARY_TEXT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[[\w ,.'\"+-]*\]|\(\))*")


class Text(NamedTuple):
    """A printed expression, how strongly it binds, and what to subtract in its place if it is negative."""

    body: str
    strength: int
    negated: str = ""

    def at(self, strength: int) -> str:
        """The text, in parentheses when it binds more weakly than `strength`."""
        return self.body if self.strength >= strength else f"({self.body})"


def render_tree(tree: Tree, names: Mapping[str, str] | None = None) -> str:
    """The tree in plan notation, which is also Python; `names` gives the text of each symbol."""

    def leaf(symbol: Leaf) -> Text:
        text = symbol.name if names is None else names[symbol.name]
        return Text(text, PRIMARY if names is None or PRIMARY_TEXT.fullmatch(text) else SUM)

    return fold_tree(tree, _integer, leaf, _operation).body


def _integer(value: int) -> Text:
    return Text(str(value), PRIMARY if value >= 0 else SUM, str(-value) if value < 0 else "")


def _operation(kind: str, args: tuple[Text, ...]) -> Text:
    match kind:
        case "add":
            body = args[0].body
            for arg in args[1:]:
                body += f" - {arg.negated}" if arg.negated else f" + {arg.body}"
            return Text(body, SUM)
        case "mul":
            return _product(args)
        case "floordiv":
            return Text(f"{args[0].at(POWER)}//{args[1].at(POWER)}", QUOTIENT)
        case "mod":
            return Text(f"{args[0].at(POWER)}%{args[1].at(POWER)}", QUOTIENT)
        case "pow":
            return Text(f"{args[0].at(PRIMARY)}**{args[1].at(PRIMARY)}", POWER)
        case "min" | "max":
            return Text(f"{kind}({', '.join(arg.body for arg in args)})", PRIMARY)
        case _:
            raise ValueError(f"unknown operation in a size: {kind}")


def _product(args: tuple[Text, ...]) -> Text:
    first, rest = args[0], args[1:]
    if not first.negated:
        return Text("*".join(arg.at(POWER) for arg in args), PRODUCT)
    if first.body != "-1":
        positive = _product((Text(first.negated, PRIMARY), *rest))
    else:
        positive = rest[0] if len(rest) == 1 else _product(rest)
    # A minus sign binds more strongly than `//` and `%`: `-(H//2)`, but `W - H//2`.
    enclosed = positive.at(POWER) if len(args) == 2 and first.body == "-1" else positive.body
    return Text(f"-{enclosed}", SUM, positive.at(PRODUCT))
