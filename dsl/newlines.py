"""Line breaks and brackets: the streaming filter between lexer and parser.

Line breaks are free inside `( )` and `[ ]` and significant elsewhere, also inside `{ }`. The filter needs no
look-ahead, so the contextual lexer keeps seeing the parser's true state. A text's quotes count as brackets
while it is open.
"""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token

from .diagnostics import fail
from .limits import MAX_NESTING, MAX_TOKENS
from .source import Source, Span

OPENING = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}
CLOSING = {"RPAR": "LPAR", "RSQB": "LSQB", "RBRACE": "LBRACE"}


class Newlines:
    """Drops line breaks by bracket depth; remembers the open brackets, for messages, and all tokens."""

    always_accept = ("_NL",)

    def __init__(self) -> None:
        self.source = Source("", "")
        self.open: list[Token] = []
        self.texts_open = 0
        self.tokens: list[Token] = []

    def start(self, source: Source) -> None:
        """Forget the previous text."""
        self.source = source
        self.open = []
        self.texts_open = 0
        self.tokens = []

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The tokens of `stream` without the line breaks that mean nothing."""
        opened, tokens = self.open, self.tokens
        for token in stream:
            kind = token.type
            if kind == "_NL":
                if opened and opened[-1].type in ("LPAR", "LSQB") and not self.texts_open:
                    continue
            elif kind in OPENING:
                self._push(token)
            elif kind == "QUOTE":
                if opened and opened[-1].type == "QUOTE":
                    opened.pop()
                    self.texts_open -= 1
                else:
                    self._push(token)
                    self.texts_open += 1
            if len(tokens) == MAX_TOKENS:
                span = Span(self.source, token.start_pos or 0, token.end_pos or 0)
                raise fail("E004", span, what="words and signs", limit=MAX_TOKENS)
            tokens.append(token)
            yield token
            # Only now: where the parser does not take the bracket, the other one is still open.
            if kind in CLOSING and opened and opened[-1].type == CLOSING[kind]:
                opened.pop()

    def _push(self, token: Token) -> None:
        if len(self.open) >= MAX_NESTING:
            start = token.start_pos or 0
            raise fail("E005", Span(self.source, start, start + 1), limit=MAX_NESTING)
        self.open.append(token)
