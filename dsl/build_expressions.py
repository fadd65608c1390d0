"""From the parser's reductions to syntax nodes: expressions and types.

Each method is named after a rule (or alias) of `grammar/planform.lark` and receives the rule's children,
punctuation included, `None` for each symbol of an absent option; it unpacks them as the rule writes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar, cast

from lark import Token

from .diagnostics import Diagnostic, Label, diagnostic
from .foreign import of_type
from .limits import MAX_DIAGNOSTICS
from .literals import read_number, read_text
from .source import Source, Span
from .syntax import (
    Argument,
    Attribute,
    Axis,
    Binary,
    Call,
    Clause,
    Compare,
    Comprehension,
    Conditional,
    Constant,
    Expr,
    Extent,
    Index,
    Labelled,
    ListExpr,
    ListType,
    Logic,
    Name,
    NamedType,
    Node,
    Number,
    Pipe,
    RecordExpr,
    RecordType,
    RestAxes,
    ShapeType,
    Slice,
    Spread,
    Stage,
    String,
    Subscript,
    Target,
    TupleExpr,
    TupleType,
    Type,
    Unary,
    UnionType,
)

Children = list[Any]
T = TypeVar("T")

STATIC_TYPES = ("int", "float", "bool", "str", "record", "dtype", "block", "none", "size")
TYPE_NAMES = ("tensor", *STATIC_TYPES)
DTYPES = (
    "bool",
    "u8",
    "i8",
    "i16",
    "i32",
    "i64",
    "f16",
    "bf16",
    "f32",
    "f64",
    "c64",
    "c128",
    "float",
    "complex",
    "int",
)
_MOST_PROBLEMS = 10 * MAX_DIAGNOSTICS
_CONSTANTS = {"true": True, "false": False, "none": None}


def _start(part: Any) -> int:
    if isinstance(part, Token):
        return part.start_pos or 0
    return _start(part[0]) if type(part) is tuple else part.span.start


def _end(part: Any) -> int:
    if isinstance(part, Token):
        return part.end_pos or 0
    return _end(part[-1]) if type(part) is tuple else part.span.end


def of(kind: type[T], parts: Iterable[Any]) -> tuple[T, ...]:
    """The parts that are of a kind."""
    return tuple(part for part in parts if isinstance(part, kind))


class ExpressionBuilder:
    """Builds expressions and types; collects what is wrong with them without stopping the parser."""

    def __init__(self) -> None:
        self.source = Source("", "")
        self.problems: list[Diagnostic] = []

    def start(self, source: Source) -> None:
        """Begin a text."""
        self.source = source
        self.problems = []

    # -------------------------------------------------------------- helpers

    def report(self, code: str, span: Span, text: str = "", **details: Any) -> None:
        """Note a diagnostic and go on; a text that is wrong everywhere is told of at its beginning."""
        if len(self.problems) >= _MOST_PROBLEMS:
            return
        self.problems.append(diagnostic(code, span, text, **details))

    def span(self, children: Children) -> Span:
        """From the first to the last child."""
        first, last = 0, len(children) - 1
        while children[first] is None:
            first += 1
        while children[last] is None:
            last -= 1
        return Span(self.source, _start(children[first]), _end(children[last]))

    def token_span(self, token: Token) -> Span:
        """The span of one token."""
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)

    def target(self, token: Token) -> Target:
        """A name that is bound here."""
        return Target(self.token_span(token), str(token))

    def plain(self, string: String) -> str:
        """The text of a string that must not be interpolated."""
        if any(isinstance(part, Expr) for part in string.parts):
            self.report("E025", string.span, "holds an expression in braces")
        return "".join(part for part in string.parts if isinstance(part, str))

    def unique(self, code: str, names: Iterable[tuple[str, Span]]) -> None:
        """Report each name that came before."""
        seen: dict[str, Span] = {}
        for name, span in names:
            if name in seen:
                self.report(code, span, "again", secondary=[Label(seen[name], "first here")], name=name)
            seen.setdefault(name, span)

    # -------------------------------------------------------------- atoms

    def name(self, c: Children) -> Name:
        return Name(self.token_span(c[0]), str(c[0]))

    def constant(self, c: Children) -> Constant:
        return Constant(self.token_span(c[0]), _CONSTANTS[c[0]])

    def none(self, c: Children) -> Constant:
        return c[0]

    def number(self, c: Children) -> Number:
        span = self.token_span(c[0])
        value = read_number(c[0])
        if value is None:
            self.report("E006", span, "too large")
        return Number(span, 0 if value is None else value)

    def string(self, c: Children) -> String:
        parts: list[str | Expr] = []
        for part in c:
            if isinstance(part, Expr):
                parts.append(part)
            elif part.type == "TEXT":
                text, bad = read_text(part)
                parts.append(text)
                for offset in bad:
                    start = part.start_pos + offset
                    span = Span(self.source, start, start + 2)
                    self.report("E026", span, "not an escape", escape=span.text)
        return String(self.span(c), tuple(parts))

    def paren(self, c: Children) -> Expr:
        return replace(c[1], span=self.span(c))

    def tuple_expr(self, c: Children) -> TupleExpr:
        return TupleExpr(self.span(c), of(Expr, c))

    def bare_tuple(self, c: Children) -> TupleExpr:
        return TupleExpr(self.span(c), of(Expr, c))

    def list_expr(self, c: Children) -> ListExpr:
        return ListExpr(self.span(c), of(Expr, c))

    def comprehension(self, c: Children) -> Comprehension:
        return Comprehension(self.span(c), c[1], of(Clause, c))

    def clause(self, c: Children) -> Clause:
        targets: tuple[Target, ...] = c[1]
        return Clause(self.span(c), tuple(target.name for target in targets), c[3], of(Expr, c[4:]))

    def field(self, c: Children) -> tuple[Token, Expr]:
        name, _, value = c
        return name, self.name([name]) if value is None else value

    def record(self, c: Children) -> RecordExpr:
        pairs: list[tuple[Token, Expr]] = [part for part in c if isinstance(part, tuple)]
        self.unique("E029", ((str(name), self.token_span(name)) for name, _ in pairs))
        return RecordExpr(self.span(c), tuple((str(name), value) for name, value in pairs))

    # -------------------------------------------------------------- operators

    def unary(self, c: Children) -> Unary:
        return Unary(self.span(c), str(c[0]), c[1])

    def binary(self, c: Children) -> Binary:
        return Binary(self.span(c), str(c[1]), c[0], c[2])

    def logic(self, c: Children) -> Logic:
        return Logic(self.span(c), str(c[1]), tuple(c[::2]))

    def compare(self, c: Children) -> Compare:
        rest: list[tuple[str, Expr]] = []
        words: list[str] = []
        for part in c[1:]:
            if isinstance(part, Token):
                words.append(str(part))
            else:
                rest.append((" ".join(words), part))
                words = []
        return Compare(self.span(c), c[0], tuple(rest))

    def conditional(self, c: Children) -> Conditional:
        then, _, condition, _, otherwise = c
        return Conditional(self.span(c), condition, then, otherwise)

    # -------------------------------------------------------------- calls, labels, pipes

    def call(self, c: Children) -> Call:
        function, _, arguments, _ = c
        root = function
        while isinstance(root, (Attribute, Index)):
            root = root.value
        if not isinstance(root, Name):
            self.report("E024", function.span, "not a name")
        return Call(self.span(c), function, arguments or ())

    def attribute(self, c: Children) -> Attribute:
        return Attribute(self.span(c), c[0], str(c[2]))

    def index(self, c: Children) -> Index:
        return Index(self.span(c), c[0], c[2])

    def slice_expr(self, c: Children) -> Slice:
        value, _, extent, _ = c
        return Slice(self.span(c), value, extent.start, extent.stop, extent.step)

    def extent(self, c: Children) -> Extent:
        start, _, stop, _, step = c
        return Extent(self.span(c), start, stop, step)

    def rest_axes(self, c: Children) -> RestAxes:
        return RestAxes(self.span(c))

    def subscript_expr(self, c: Children) -> Subscript:
        items = tuple(part for part in c[1:] if isinstance(part, Node))
        return Subscript(self.span(c), c[0], cast("tuple[Expr | Extent | RestAxes, ...]", items))

    def argument(self, c: Children) -> Argument:
        return Argument(c[0].span, None, c[0])

    def keyword(self, c: Children) -> Argument:
        return Argument(self.span(c), str(c[0]), c[2])

    def spread_item(self, c: Children) -> Spread:
        return Spread(self.span(c), c[1])

    def spread(self, c: Children) -> Argument:
        return Argument(self.span(c), None, c[1], star=True)

    def arguments(self, c: Children) -> tuple[Argument, ...]:
        arguments = of(Argument, c)
        named: Argument | None = None
        for argument in arguments:
            if argument.name is not None:
                named = argument
            elif named is not None:
                self.report("E016", argument.span, "has no name", secondary=[Label(named.span, "has a name")])
                break
        heads = (
            (a.name, Span(a.span.source, a.span.start, a.span.start + len(a.name)))
            for a in arguments
            if a.name
        )
        self.unique("E017", heads)
        return arguments

    def label(self, c: Children) -> String:
        if isinstance(c[0], String):
            return c[0]
        return String(self.token_span(c[0]), (str(c[0]),))

    def labelled(self, c: Children) -> Labelled:
        return Labelled(self.span(c), c[0], c[2])

    def stage(self, c: Children) -> Stage:
        frozen, label, _, call, _, when = c
        return Stage(self.span(c), label, call, when, frozen is not None)

    def pipe(self, c: Children) -> Pipe:
        return Pipe(self.span(c), c[0], of(Stage, c))

    # -------------------------------------------------------------- types

    def axis(self, c: Children) -> Axis:
        span = self.span(c)
        if len(c) == 3:
            minimum = read_number(c[2])
            if not isinstance(minimum, int):
                self.report("E033", self.token_span(c[2]), "not an integer")
                minimum = 0
            return Axis(span, "bounded", c[0], minimum)
        if len(c) == 2:
            return Axis(span, "spread", self.name(c[1:]))
        if isinstance(c[0], Token):
            return Axis(span, "leading")
        if isinstance(c[0], Name) and c[0].id == "_":
            return Axis(span, "any")
        return Axis(span, "size", c[0])

    def shape_type(self, c: Children) -> ShapeType:
        dtype: Token | None = c[0]
        if dtype is not None and dtype not in DTYPES:
            span = self.token_span(dtype)
            self.report(
                "E027", span, "before a shape", name=str(dtype), help=of_type(dtype, (*DTYPES, "list"))
            )
        return ShapeType(self.span(c), None if dtype is None else str(dtype), of(Axis, c))

    def named_type(self, c: Children) -> NamedType:
        name = str(c[0])
        if name not in TYPE_NAMES:
            if name in DTYPES:
                help = (f"a number of this kind is `{name}[]`, a vector `{name}[N]`",)
            else:
                help = of_type(name, (*TYPE_NAMES, "list")) or (
                    f"types are {', '.join(TYPE_NAMES)} and shapes",
                )
            self.report("E027", self.token_span(c[0]), "not a type", name=name, help=help)
        return NamedType(self.token_span(c[0]), name)

    def list_type(self, c: Children) -> ListType:
        return ListType(self.span(c), c[2])

    def tuple_type(self, c: Children) -> Type:
        items = of(Type, c)
        if len(c) == 3:
            return replace(items[0], span=self.span(c))
        return TupleType(self.span(c), items)

    def type_field(self, c: Children) -> tuple[Token, Type]:
        return c[0], c[2]

    def record_type(self, c: Children) -> RecordType:
        pairs: list[tuple[Token, Type]] = [part for part in c if isinstance(part, tuple)]
        self.unique("E029", ((str(name), self.token_span(name)) for name, _ in pairs))
        return RecordType(self.span(c), tuple((str(name), value) for name, value in pairs))

    def union_type(self, c: Children) -> UnionType:
        return UnionType(self.span(c), of(Type, c))
