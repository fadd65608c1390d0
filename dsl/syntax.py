"""The syntax tree: frozen nodes, each with the span of its text."""

from __future__ import annotations

from dataclasses import dataclass

from .source import Source, Span


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Base of all syntax nodes."""

    span: Span


# ---------------------------------------------------------------- expressions


class Expr(Node):
    """An expression, static or over tensors."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Number(Expr):
    """`3`, `25_557_032`, `0.5`, `1e-6`; with a suffix K, M, G, T or %: `4.09G`, `0.5%`."""

    value: int | float


@dataclass(frozen=True, slots=True, eq=False)
class String(Expr):
    """A quoted text; `parts` alternates literal text and interpolated expressions: `"layer{i + 1}"`."""

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Expr):
    """`true`, `false` or `none`."""

    value: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class Name(Expr):
    """A reference to a name in scope."""

    id: str


@dataclass(frozen=True, slots=True, eq=False)
class Spread(Expr):
    """`*values` among the items of a list or tuple."""

    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class ListExpr(Expr):
    """`[a, b, c]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TupleExpr(Expr):
    """`(a, b)` or the bare `a, b` of an assignment or return; `(a,)` has one item, `()` none."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordExpr(Expr):
    """`{p3, p4, rpn = heads}`; a field without a value takes the variable of its name."""

    fields: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Clause(Node):
    """`for targets in iterable if condition ...` of a comprehension."""

    targets: tuple[str, ...]
    iterable: Expr
    conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension(Expr):
    """`[element for x in xs if c]`."""

    element: Expr
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unary(Expr):
    """`-x`, `+x` or `not x`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    """Arithmetic: `+ - * / // % ** @`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Compare(Expr):
    """A comparison chain as in Python; operators `== != < <= > >= in`, `not in`, `is`, `is not` (`is` takes
    `none` alone).
    """

    first: Expr
    rest: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Logic(Expr):
    """`a and b and c` or `a or b`; `op` is "and" or "or"."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Conditional(Expr):
    """`then if condition else otherwise`."""

    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Argument(Node):
    """A call's argument; `name` is None when positional, `star` spreads a list: `f(*xs)`."""

    name: str | None
    value: Expr
    star: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call(Expr):
    """`function(arguments)`; the function is a name or a dotted name."""

    function: Expr
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Index(Expr):
    """`value[item]`."""

    value: Expr
    item: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Slice(Expr):
    """`value[start:stop:step]`, each part optional."""

    value: Expr
    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Extent(Node):
    """`start:stop:step` of one axis, each part optional."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class RestAxes(Node):
    """`...`: all axes that the other subscripts leave."""


@dataclass(frozen=True, slots=True, eq=False)
class Subscript(Expr):
    """`value[:, 0]`: a position or an extent for each axis of a tensor in order; `none` adds an axis."""

    value: Expr
    items: tuple[Expr | Extent | RestAxes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Attribute(Expr):
    """`value.name`."""

    value: Expr
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Labelled(Expr):
    """`label: expression` where no pipe is written: `mask = fc: linear(x, 3)`, `f(a: g(x))`."""

    label: String
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Stage(Node):
    """One stage of a pipe: `[frozen] [label:] call [when condition]`."""

    label: String | None
    call: Call
    when: Expr | None
    frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Pipe(Expr):
    """`value -> stage -> stage`."""

    value: Expr
    stages: tuple[Stage, ...]


# ---------------------------------------------------------------- types


class Type(Node):
    """The written type of an input, parameter or result."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Axis(Node):
    """One entry of a shape.

    `kind` is "size" (`C`, `4 * N`, `3`), "bounded" (`P >= 0`: `minimum` is 0), "any" (`_`), "leading" (`...`)
    or "spread" (`*S`, whose name is `size`).
    """

    kind: str
    size: Expr | None = None
    minimum: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ShapeType(Type):
    """`[B, C, *S]`, `i64[B, T]`; `dtype` is None for the float variable."""

    dtype: str | None
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NamedType(Type):
    """`tensor`, `int`, `float`, `bool`, `str`, `record`, `dtype`, `block`, `none`, `size`."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class ListType(Type):
    """`list[T]`."""

    element: Type


@dataclass(frozen=True, slots=True, eq=False)
class TupleType(Type):
    """`(A, B)`, for results."""

    items: tuple[Type, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordType(Type):
    """`{p3: [B, C, H, W], p4: tensor}`."""

    fields: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True, eq=False)
class UnionType(Type):
    """`A | none`."""

    options: tuple[Type, ...]


# ---------------------------------------------------------------- statements


class Statement(Node):
    """A statement of a block's body."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Target(Node):
    """A name that an assignment or a loop binds."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Assign(Statement):
    """`a, b = value`, `y: [B, N, E] = value`; a type goes with a single target."""

    targets: tuple[Target, ...]
    type: Type | None
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Return(Statement):
    """`return value`."""

    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class If(Statement):
    """`if c { ... } else if d { ... } else { ... }`; an `else if` is an `If` alone in `otherwise`."""

    condition: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class For(Statement):
    """`for a, b in iterable { ... }`."""

    targets: tuple[Target, ...]
    iterable: Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Require(Statement):
    """`require condition, "message"`."""

    condition: Expr
    message: String | None


@dataclass(frozen=True, slots=True, eq=False)
class WeightDecl(Statement):
    """`[frozen] param w as "path": [K, C] = init`; kind is "param", "buffer" or "const"."""

    kind: str
    target: Target
    path: String | None
    type: Type | None
    init: Expr | None
    frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shared(Statement):
    """`shared gate: channel_gate(16)` (path is the name) or `shared head as "rpn.head" = rpn_head(3)`."""

    target: Target
    path: String | None
    value: Expr
    frozen: bool = False


# ---------------------------------------------------------------- items of a file


class Item(Node):
    """A declaration at the top of a file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class About(Item):
    """`about { title = "...", paper = "..." }`."""

    fields: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Use(Item):
    """`use std (a)` (`path` None), `use atlas "convnets/resnet.plan" (a)`, or `use "parts.plan" (a)` with
    `library` None.
    """

    library: str | None
    path: str | None
    names: tuple[Target, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Let(Item):
    """`NAME = expression` at the top of a file: a static value for all blocks of the file."""

    target: Target
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Table(Item):
    """A list of records written as the paper prints it; `rows[i][j]` belongs to `columns[j]`."""

    target: Target
    columns: tuple[Target, ...]
    rows: tuple[tuple[Expr, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Param(Node):
    """A parameter of a block: a tensor input if its type holds tensors, static otherwise."""

    name: str
    type: Type | None
    default: Expr | None


@dataclass(frozen=True, slots=True, eq=False)
class Block(Item):
    """`block`, `inline block` or `model` (kind: "block", "inline", "model")."""

    kind: str
    target: Target
    params: tuple[Param, ...]
    result: Type | None
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan(Item):
    """`plan NAME = model(args) [at (H=224, W=224)]`."""

    target: Target
    value: Expr
    bindings: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Claim(Item):
    """`claim NAME: METRIC [at (BINDINGS)] OP VALUE [within TOL] [from "SOURCE"]`; kind "claim" or "budget".

    `metric` is a `Name` or a `Call` (`params(mode=train)`, `shape(layer4)`); `relative` says that the
    tolerance was written with `%`, otherwise it is absolute. `op` is one of `== <= >= < >`.
    """

    kind: str
    subject: Target
    metric: Expr
    bindings: tuple[Argument, ...]
    op: str
    value: Expr
    tolerance: Number | None
    relative: bool
    source_note: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Comment(Node):
    """A comment from `#` to the end of the line; kept for the formatter."""

    text: str
    own_line: bool


@dataclass(frozen=True, slots=True, eq=False)
class File(Node):
    """A parsed file: `version` of the language, declarations in order, comments in order."""

    source: Source
    version: int
    items: tuple[Item, ...]
    comments: tuple[Comment, ...]
