"""Text to syntax tree: `parse`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from threading import RLock
from typing import NamedTuple

from lark import TextSlice, Token
from lark.exceptions import UnexpectedInput

from ..grammar import load
from .build_declarations import VERSION, Builder, Top
from .diagnostics import Diagnostic, PlanError, diagnostic, fail
from .limits import MAX_CHARACTERS, MAX_DIAGNOSTICS, MAX_NESTING, MAX_TOKENS, too_deep
from .mistakes import explain
from .newlines import Newlines
from .source import Source, Span
from .syntax import Comment, File, Item

_COMMENT = re.compile(r"#[^\n]*")
_ITEM = re.compile(r'^(?:about|use|table|block|inline|model|plan|claim|budget)\b[ \t]*[\w"{]', re.MULTILINE)
_LOCK = RLock()


class Comments:
    """Keeps the comments that the lexer passes over."""

    def __init__(self) -> None:
        self.source = Source("", "")
        self.found: dict[int, Comment] = {}

    def start(self, source: Source) -> None:
        """Begin a text."""
        self.source = source
        self.found = {}

    def take(self, token: Token) -> Token:
        """Note the comments within a token: a comment, or a line break with what follows it."""
        if "#" in token:
            offset = token.start_pos or 0
            for match in _COMMENT.finditer(token):
                self._add(offset + match.start(), offset + match.end())
        return token

    def _add(self, start: int, end: int) -> None:
        text = self.source.text
        before = text[text.rfind("\n", 0, start) + 1 : start]
        comment = text[start:end].rstrip()
        span = Span(self.source, start, start + len(comment))
        if len(self.found) == MAX_TOKENS:
            raise fail("E004", span, what="comments", limit=MAX_TOKENS)
        self.found[start] = Comment(span, comment, not before.strip(" \t\r\f\ufeff"))


class Machine(NamedTuple):
    """The parser with its parts; one of each, used under a lock."""

    run: Callable[..., Top]
    builder: Builder
    newlines: Newlines
    comments: Comments


@cache
def _machine() -> Machine:
    builder, newlines, comments = Builder(), Newlines(), Comments()
    callbacks = dict.fromkeys(("COMMENT", "CONTINUED", "_NL"), comments.take)
    run = load(transformer=builder, postlex=newlines, lexer_callbacks=callbacks)
    return Machine(run, builder, newlines, comments)


class Reading(NamedTuple):
    """A file with its tokens, for the formatter."""

    file: File
    tokens: tuple[Token, ...]


def parse(source: Source) -> File:
    """The syntax tree of a text.

    Raises `PlanError` with all independent mistakes: after a broken declaration, reading resumes at the next.
    """
    return read(source).file


def read(source: Source) -> Reading:
    """The syntax tree of a text together with its tokens; raises as `parse` does."""
    if len(source.text) > MAX_CHARACTERS:
        span = Span(source, 0, min(80, len(source.line(1))))
        raise PlanError([diagnostic("E004", span, what="characters", limit=MAX_CHARACTERS)])
    with _LOCK:
        return _read(_machine(), source)


def _read(machine: Machine, source: Source) -> Reading:
    run, builder, newlines, comments = machine
    builder.start(source)
    comments.start(source)
    problems: list[Diagnostic] = []
    items: tuple[Item, ...] = ()
    text = source.text + "\n"
    start: int | None = 0
    tokens: list[Token] = []
    while start is not None and len(problems) < MAX_DIAGNOSTICS:
        newlines.start(source)
        piece = text if start == 0 else TextSlice(text, start, len(text))
        try:
            items += run(piece, start="file" if start == 0 else "rest").items
            start = None
        except UnexpectedInput as error:
            found = explain(error, source, newlines.open, newlines.tokens)
            # What was said of the inside of a bracket that turns out broken is the same mistake.
            opened = max((token.start_pos or 0 for token in newlines.open if token != "{"), default=len(text))
            builder.problems = [p for p in builder.problems if p.primary.span.start < opened]
            problems.append(found.diagnostic)
            start = _next_item(source, max(found.resume, start + 1))
        except PlanError as error:
            problems.extend(error.diagnostics)
            start = None
        tokens += newlines.tokens
    problems += builder.problems
    if problems:
        raise PlanError(sorted(problems, key=lambda problem: problem.primary.span.start)[:MAX_DIAGNOSTICS])
    kept = tuple(comments.found[key] for key in sorted(comments.found))
    file = File(Span(source, 0, len(source.text)), source, VERSION, items, kept)
    deep = too_deep(file)
    if deep is not None:
        raise PlanError([diagnostic("E005", deep, limit=MAX_NESTING)])
    return Reading(file, tuple(tokens))


def _next_item(source: Source, offset: int) -> int | None:
    """Where the first declaration at or after an offset begins."""
    match = _ITEM.search(source.text, offset)
    return None if match is None else match.start()
