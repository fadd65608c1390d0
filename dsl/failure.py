"""Where the parser stopped, and what stands around that place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from lark import Token

from .advice import Situation
from .diagnostics import Diagnostic, diagnostic
from .source import Source, Span

_WORD = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|\*\*|//|[=!<>]=|\.\.\.|.", re.DOTALL)


class Mistake(NamedTuple):
    """A diagnostic and the offset from which reading may resume."""

    diagnostic: Diagnostic
    resume: int


@dataclass
class Failure:
    """Where and in which situation the parser stopped."""

    source: Source
    position: int
    accepts: frozenset[str]
    opened: list[Token]
    tokens: list[Token] = field(repr=False)

    @cached_property
    def end(self) -> bool:
        """Whether the text ends here."""
        return not self.source.text[self.position :].strip()

    @cached_property
    def found(self) -> str:
        """The word, number, sign or line break at which the parser stopped; "" at the end of the text."""
        if self.end:
            return ""
        match = _WORD.match(self.source.text, self.position)
        return match[0] if match else ""

    @cached_property
    def span(self) -> Span:
        """The span of `found`; at the end of a line or of the text, the place after the last token."""
        if self.found in ("", "\n"):
            start = self.before.end_pos or 0 if self.before is not None else 0
            return Span(self.source, start, min(start + 1, len(self.source.text)))
        return Span(self.source, self.position, self.position + len(self.found))

    @property
    def line(self) -> str:
        """The text of the line."""
        text = self.source.text
        end = text.find("\n", self.position)
        return text[text.rfind("\n", 0, self.position) + 1 : len(text) if end < 0 else end]

    @property
    def before(self) -> Token | None:
        """The token before, line breaks aside."""
        return next((token for token in reversed(self.tokens) if token.type != "_NL"), None)

    def opens_line(self, offset: int) -> bool:
        """Whether an offset is the first of its line but for blanks."""
        text = self.source.text
        return not text[text.rfind("\n", 0, offset) + 1 : offset].strip()

    @property
    def situation(self) -> Situation:
        """What advice depends on."""
        bracket = self.opened[-1].type if self.opened else ""
        if bracket == "LBRACE" and len(self.opened) > 1 and self.opened[-2].type == "QUOTE":
            bracket = "TEXT"
        start = self.source.text.rfind("\n", 0, self.position) + 1
        left, right = self.line[: self.position - start], self.line[self.position - start :]
        before = self.before.type if self.before else ""
        return Situation(self.found, before, bracket, self.accepts, left, right)

    def column(self, offset: int) -> int:
        """The column of an offset, from 1."""
        return self.source.position(offset)[1]

    @property
    def after_head(self) -> bool:
        """Whether the parser stopped at the second token of a statement or declaration."""
        earlier = self.tokens[-2].type if len(self.tokens) > 1 else "_NL"
        at_start = bool(self.tokens) and self.tokens[-1] is self.before and earlier in ("_NL", "LBRACE")
        return at_start and not self.in_parentheses and "RBRACE" not in self.accepts

    @property
    def in_parentheses(self) -> bool:
        """Whether the innermost open bracket is `(` or `[`."""
        return bool(self.opened) and self.opened[-1].type in ("LPAR", "LSQB")

    @property
    def at_head(self) -> bool:
        """Whether a statement or declaration could begin here."""
        return {"RETURN", "SHARED"} <= self.accepts or {"BLOCK", "MODEL"} <= self.accepts

    def token_span(self, token: Token) -> Span:
        """The span of a token."""
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)

    def mistake(self, code: str, span: Span | None = None, text: str = "", **details: Any) -> Mistake:
        """The diagnostic at a span, by default at what was found."""
        return Mistake(diagnostic(code, self.span if span is None else span, text, **details), self.position)
