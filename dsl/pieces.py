"""What the formatter arranges: tokens, whole texts and comments, with the spaces between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lark import Token

from .parser import Reading

OPERAND_ENDS = frozenset(
    {"NAME", "NUMBER", "STRING", "RPAR", "RSQB", "RBRACE", "TRUE", "FALSE", "NONE", "ELLIPSIS", "LIST"}
)
OPENERS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSERS = frozenset(OPENERS.values())
_SIGNS = frozenset({"PLUS", "MINUS", "STAR"})


@dataclass(slots=True)
class Piece:
    """A token, a whole text or a comment.

    `space`: whether a blank precedes it on a line; `kind`: for a bracket, what it delimits ("call", "list",
    "index", "record", "about", "table" or "body"), and for a comment "own" or "trailing"; `partner`: the
    index of the other bracket.
    """

    type: str
    text: str
    start: int
    end: int
    line: int
    column: int
    space: bool = True
    kind: str = ""
    partner: int = -1


def pieces(reading: Reading) -> list[Piece]:
    """The pieces of a file in order, with their spacing."""
    found = [*_tokens(reading), *_comments(reading)]
    found.sort(key=lambda piece: piece.start)
    _annotate(found)
    return found


def _tokens(reading: Reading) -> Iterator[Piece]:
    """Tokens, each text with all that it interpolates as one piece, line breaks left out."""
    position = reading.file.source.position
    text = reading.file.source.text
    nested: list[str] = []
    opening = 0
    for token in reading.tokens:
        start, end = token.start_pos or 0, token.end_pos or 0
        if token.type == "QUOTE":
            if nested and nested[-1] == "QUOTE":
                nested.pop()
                if not nested:
                    yield Piece("STRING", text[opening:end], opening, end, *position(opening))
            else:
                if not nested:
                    opening = start
                nested.append("QUOTE")
        elif nested:
            _nest(nested, token)
        elif token.type != "_NL":
            yield Piece(token.type, str(token), start, end, *position(start))


def _nest(nested: list[str], token: Token) -> None:
    """Follow the brackets of expressions inside a text."""
    if token.type in OPENERS:
        nested.append(token.type)
    elif token.type in CLOSERS:
        nested.pop()


def _comments(reading: Reading) -> Iterator[Piece]:
    for comment in reading.file.comments:
        text = comment.text
        if text[1:2].isalnum():
            text = f"# {text[1:]}"
        _, start, end = comment.span
        kind = "own" if comment.own_line else "trailing"
        yield Piece("COMMENT", text, start, end, *reading.file.source.position(start), kind=kind)


@dataclass(slots=True)
class _Frame:
    """An open bracket while spacing is decided."""

    kind: str
    opener: int
    annotated: bool = False  # a colon came since the last comma


def _annotate(found: list[Piece]) -> None:
    frames = [_Frame("body", -1)]
    tokens = [(index, piece) for index, piece in enumerate(found) if piece.type != "COMMENT"]
    head = ""
    tight_after = False
    for place, (index, piece) in enumerate(tokens):
        before = tokens[place - 1][1] if place else None
        frame = frames[-1]
        if before is None or (frame.kind == "body" and (before.line < piece.line or before.type == "LBRACE")):
            head = piece.type
        after_operand = before is not None and before.type in OPERAND_ENDS
        if piece.type in OPENERS:
            piece.kind = _bracket_kind(piece, before, tokens[place - 2][1] if place > 1 else None, head)
        piece.space = not tight_after and _space(piece, before, frame, head)
        tight_after = (piece.type in _SIGNS and not after_operand) or piece.type in ("DOT", "POWER")
        if piece.type == "COLON":
            frame.annotated = True
            tight_after = frame.kind == "index"
        elif piece.type == "EQUAL":
            tight_after = not piece.space
        elif piece.type == "COMMA":
            frame.annotated = False
        elif piece.type in OPENERS:
            frames.append(_Frame(piece.kind, index))
            tight_after = piece.kind in ("call", "list", "index", "record")
        elif piece.type in CLOSERS:
            frames.pop()
            piece.partner, found[frame.opener].partner, piece.kind = frame.opener, index, frame.kind


def _bracket_kind(piece: Piece, before: Piece | None, earlier: Piece | None, head: str) -> str:
    after_operand = before is not None and before.type in OPERAND_ENDS
    if piece.type == "LPAR":
        return "call"
    if piece.type == "LSQB":
        return "index" if after_operand else "list"
    if before is not None and before.type == "ABOUT":
        return "about"
    if before is not None and before.type == "ELSE":
        return (
            "body"
            if earlier is not None and earlier.type == "RBRACE" and earlier.kind == "body"
            else "record"
        )
    if not after_operand:
        return "record"
    return "table" if head == "TABLE" else "body"


def _space(piece: Piece, before: Piece | None, frame: _Frame, head: str) -> bool:
    """Whether a blank precedes a piece that does not follow a tight one."""
    if before is None:
        return False
    match piece.type:
        case "COLON":
            return before.type == "COMMA"
        case "COMMA" | "DOT" | "POWER" | "RPAR" | "RSQB":
            return False
        case "RBRACE":
            return frame.kind != "record" and before.type != "LBRACE"
        case "PERCENT":
            return head not in ("CLAIM", "BUDGET") or before.type != "NUMBER" or frame.kind != "body"
        case "EQUAL":
            return frame.kind != "call" or frame.annotated
        case "LPAR":
            return before.type not in OPERAND_ENDS or (head == "USE" and frame.kind == "body")
        case "LSQB":
            return before.type not in OPERAND_ENDS
        case _:
            return True
