"""From the parser's reductions to syntax nodes: statements and the declarations of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lark import Token

from .build_expressions import STATIC_TYPES, Children, ExpressionBuilder, of
from .diagnostics import Label
from .literals import read_number
from .source import Span
from .syntax import (
    About,
    Argument,
    Assign,
    Block,
    Claim,
    Expr,
    For,
    If,
    Item,
    Let,
    ListType,
    Name,
    NamedType,
    Number,
    Param,
    Plan,
    Require,
    Return,
    Shared,
    Statement,
    String,
    Table,
    Target,
    Type,
    UnionType,
    Use,
    WeightDecl,
)

VERSION = 1
"""The version of the language that this parser reads."""


@dataclass(frozen=True, slots=True)
class Body:
    """Statements between braces, while the tree is being built."""

    span: Span
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Top:
    """What a whole text reduces to: the version, if it has a header, and the declarations."""

    version: int | None
    items: tuple[Item, ...]


def _is_static(type: Type | None) -> bool:
    match type:
        case NamedType(name=name):
            return name in STATIC_TYPES
        case ListType(element=element):
            return _is_static(element)
        case UnionType(options=options):
            return all(map(_is_static, options))
        case _:
            return False


class Builder(ExpressionBuilder):
    """Builds the whole tree; the methods are named after the grammar's rules."""

    # -------------------------------------------------------------- statements

    def body(self, c: Children) -> Body:
        return Body(self.span(c), of(Statement, c))

    def targets(self, c: Children) -> tuple[Target, ...]:
        targets = tuple(self.target(name) for name in c[::2])
        self.unique("E038", ((target.name, target.span) for target in targets if target.name != "_"))
        return targets

    def assign(self, c: Children) -> Assign:
        return Assign(self.span(c), c[0], None, c[2])

    def annotated(self, c: Children) -> Assign:
        return Assign(self.span(c), (self.target(c[0]),), c[2], c[4])

    def return_(self, c: Children) -> Return:
        return Return(self.span(c), c[1])

    def if_(self, c: Children) -> If:
        _, condition, then, _, otherwise = c
        rest = (otherwise,) if isinstance(otherwise, If) else otherwise.statements if otherwise else ()
        return If(self.span(c), condition, then.statements, rest)

    def for_(self, c: Children) -> For:
        _, targets, _, iterable, body = c
        return For(self.span(c), targets, iterable, body.statements)

    def require(self, c: Children) -> Require:
        _, condition, _, message = c
        return Require(self.span(c), condition, message)

    def weight(self, c: Children) -> WeightDecl:
        frozen, kind, name, _, path, _, type, _, init = c
        if type is None and (init is None or kind == "param"):
            self.report("E028", self.token_span(name), "of which shape?", kind=str(kind), name=str(name))
        return WeightDecl(self.span(c), str(kind), self.target(name), path, type, init, frozen is not None)

    def shared_label(self, c: Children) -> Shared:
        frozen, _, name, _, call = c
        return Shared(self.span(c), self.target(name), None, call, frozen is not None)

    def shared_value(self, c: Children) -> Shared:
        frozen, _, name, _, path, _, value = c
        return Shared(self.span(c), self.target(name), path, value, frozen is not None)

    # -------------------------------------------------------------- declarations

    def file(self, c: Children) -> Top:
        number = next(part for part in c if isinstance(part, Token) and part.type == "NUMBER")
        if number != str(VERSION):
            self.report("E003", self.token_span(number), version=str(number), known=VERSION)
        return Top(VERSION, of(Item, c))

    def rest(self, c: Children) -> Top:
        return Top(None, of(Item, c))

    def about(self, c: Children) -> About:
        return About(self.span(c), c[1].fields)

    def use(self, c: Children) -> Use:
        opening = next(at for at, part in enumerate(c) if isinstance(part, Token) and part.type == "LPAR")
        origin, files = c[1], [part for part in c[1:opening] if isinstance(part, String)]
        names = tuple(self.target(part) for part in c[opening + 1 :] if part.type == "NAME")
        self.unique("E038", ((target.name, target.span) for target in names))
        library = str(origin) if isinstance(origin, Token) else None
        return Use(self.span(c), library, self.plain(files[0]) if files else None, names)

    def let(self, c: Children) -> Let:
        return Let(self.span(c), self.target(c[0]), c[2])

    def row(self, c: Children) -> tuple[Expr, ...]:
        return tuple(c[::2])

    def table(self, c: Children) -> Table:
        cells: list[tuple[Expr, ...]] = [part for part in c if isinstance(part, tuple)]
        heads, *rows = cells
        columns = tuple(Target(cell.span, self._column(cell)) for cell in heads)
        self.unique("E020", ((column.name, column.span) for column in columns))
        for row in rows:
            if len(row) != len(columns):
                span = row[0].span.to(row[-1].span)
                secondary = [Label(heads[0].span.to(heads[-1].span), f"{len(columns)} columns")]
                self.report(
                    "E021",
                    span,
                    f"{len(row)} cells",
                    secondary=secondary,
                    cells=len(row),
                    columns=len(columns),
                )
        return Table(self.span(c), self.target(c[1]), columns, tuple(rows))

    def _column(self, cell: Expr) -> str:
        if isinstance(cell, Name):
            return cell.id
        self.report("E022", cell.span, "not a name")
        return ""

    def param(self, c: Children) -> Param:
        name, _, type, _, default = c
        return Param(self.span(c), str(name), type, default)

    def params(self, c: Children) -> tuple[Param, ...]:
        params = of(Param, c)
        heads = ((p.name, Span(p.span.source, p.span.start, p.span.start + len(p.name))) for p in params)
        self.unique("E018", heads)
        optional: Param | None = None
        for param in params:
            if _is_static(param.type):
                if param.default is not None:
                    optional = param
                elif optional is not None:
                    secondary = [Label(optional.span, "has a default")]
                    self.report("E019", param.span, "has none", secondary=secondary, name=param.name)
        return params

    def block(self, c: Children) -> Block:
        *words, name, _, params, _, _, result, body = c
        return Block(self.span(c), str(words[0]), self.target(name), params or (), result, body.statements)

    def _bindings(self, arguments: tuple[Argument, ...] | None) -> tuple[Argument, ...]:
        for argument in arguments or ():
            if argument.name is None:
                self.report("E040", argument.span, "has no name")
        return arguments or ()

    def plan(self, c: Children) -> Plan:
        _, name, _, value, _, _, bindings, _ = c
        return Plan(self.span(c), self.target(name), value, self._bindings(bindings))

    def subject(self, c: Children) -> Target:
        if isinstance(c[0], String):
            return Target(c[0].span, self.plain(c[0]))
        return Target(self.span(c), "".join(c))

    def metric(self, c: Children) -> Expr:
        return self.name(c) if len(c) == 1 else self.call([self.name(c[:1]), *c[1:]])

    def claim(self, c: Children) -> Claim:
        kind, subject, _, metric, _, _, bindings, _, op, value, _, number, percent, _, note = c
        tolerance = self._tolerance(number, percent)
        source_note = None if note is None else self.plain(note)
        bound = self._bindings(bindings)
        return Claim(
            self.span(c),
            str(kind),
            subject,
            metric,
            bound,
            str(op),
            value,
            tolerance,
            percent is not None,
            source_note,
        )

    def _tolerance(self, number: Token | None, percent: Token | None) -> Number | None:
        if number is None:
            return None
        if percent is None:
            return self.number([number])
        value: Any = read_number(number)
        return Number(self.span([number, percent]), (value or 0) / 100)
