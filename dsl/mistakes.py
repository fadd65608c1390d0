"""From lark's errors to diagnostics."""

from __future__ import annotations

from typing import NamedTuple

from lark import Token
from lark.exceptions import UnexpectedInput

from .diagnostics import Diagnostic, diagnostic
from .source import Source, Span


class Mistake(NamedTuple):
    """A diagnostic and the offset from which reading may resume."""

    diagnostic: Diagnostic
    resume: int


def explain(error: UnexpectedInput, source: Source, opened: list[Token], tokens: list[Token]) -> Mistake:
    """What is wrong where the parser stopped."""
    start = error.pos_in_stream or 0
    span = Span(source, start, start + 1)
    return Mistake(diagnostic("E001", span, found=span.text, expected="..."), start)
