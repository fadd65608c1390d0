"""From the parser's point of failure to a diagnostic that names the likely mistake.

The parser says where it stopped and what it would have accepted there; the rules below look at that, at the
word found, at the token before it and at the open brackets. They are tried in the order of `RULES`; the last
always applies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lark import Token

from .advice import advice
from .diagnostics import Label, diagnostic
from .expectations import describe, quoted
from .failure import Failure, Mistake
from .foreign import DECLARATIONS, NAMES, sign_at
from .newlines import OPENING
from .source import Source, Span
from .suggest import did_you_mean
from .words import CHARACTERS, FORMS, ITEM_WORDS, PYTHON, RESERVED, STATEMENT_WORDS

_BARE_LABEL = re.compile(r"(?<![\w.\":-])(?<![\w)\]]\[)([A-Za-z0-9_][\w.-]*)\s*:\s*([A-Za-z_][\w.]*)\s*\(")
_KNOWN_CHARACTER = re.compile(r"""[A-Za-z0-9_\s"#()\[\]{}.,:=<>+\-*/%@|]""")


def explain(error: Any, source: Source, opened: list[Token], tokens: list[Token]) -> Mistake:
    """What is wrong where the parser stopped with lark's `UnexpectedInput`."""
    at_end = getattr(error, "token", None) == Token("$END", "")
    position = len(source.text) if at_end else min(error.pos_in_stream, len(source.text))
    accepts: frozenset[str] = frozenset(error.interactive_parser.accepts())
    failure = Failure(
        source,
        position,
        accepts,
        [token for token in opened if (token.start_pos or 0) < position],
        [token for token in tokens if (token.start_pos or 0) < position],
    )
    return next(mistake for rule in RULES if (mistake := rule(failure)) is not None)


# ---------------------------------------------------------------- rules


def _no_header(at: Failure) -> Mistake | None:
    if "PLANFORM" not in at.accepts:
        return None
    return at.mistake("E002", help=("write `planform 1` before everything else",))


def _open_text(at: Failure) -> Mistake | None:
    quotes = [token for token in at.opened if token.type == "QUOTE"]
    if not quotes or at.found not in ("", "\n", "\\"):
        return None
    return at.mistake("E007", at.token_span(quotes[0]), "opened here")


def _stray_character(at: Failure) -> Mistake | None:
    if not at.found or _KNOWN_CHARACTER.match(at.found):
        return None
    help = CHARACTERS.get(at.found)
    return at.mistake("E008", found=quoted(at.found), help=(help,) if help else ())


def _foreign_sign(at: Failure) -> Mistake | None:
    start = at.source.text.rfind("\n", 0, at.position) + 1
    sign = sign_at(at.line, at.position - start)
    if sign is None or at.end:
        return None
    first, last, help = sign
    span = Span(at.source, start + first, start + last)
    return at.mistake("E041", span, found=quoted(span.text), help=(help,))


def _bare_label(at: Failure) -> Mistake | None:
    """A label with dots, digits or dashes that is not quoted: `-> head.fc: linear(10)`."""
    start = at.source.text.rfind("\n", 0, at.position) + 1
    for match in _BARE_LABEL.finditer(at.line):
        # A slice, `x[0:n]`, has a colon after a number too; only a label has a call behind it.
        if match.start() <= at.position - start <= match.end() and not match[1].isidentifier():
            span = Span(at.source, start + match.start(), start + match.end(1))
            label = match[1].replace("-", "_")
            return at.mistake("E042", span, label=match[1], help=(f'write `"{label}": {match[2]}(...)`',))
    return None


def _python(at: Failure) -> Mistake | None:
    before = at.before
    if at.after_head and before is not None and before.type in ("NAME", "FROM") and str(before) in PYTHON:
        return at.mistake("E013", at.token_span(before), word=str(before), help=(PYTHON[before],))
    if at.found in PYTHON and at.found != "from":
        return at.mistake("E013", word=at.found, help=(PYTHON[at.found],))
    if before is not None and before == "lambda":
        return at.mistake("E013", at.token_span(before), word="lambda", help=(PYTHON["lambda"],))
    return None


def _unclosed(at: Failure) -> Mistake | None:
    if not at.opened:
        return None
    opener = at.opened[-1]
    if opener.type == "QUOTE":
        return None
    closer = OPENING[opener.type]
    before = at.before
    if before is not None and before in ITEM_WORDS and at.column(before.start_pos or 0) == 1:
        where, resume = at.token_span(before), before.start_pos or 0
    elif before is not None and at.in_parentheses and (_assigns(at) or _stands_alone(at)):
        where, resume = at.token_span(before), at.position
    elif (
        at.end
        or (at.found in ITEM_WORDS and at.column(at.position) == 1)
        or any(OPENING.get(token.type) == at.found for token in at.opened[:-1] if at.found != closer)
        or (at.in_parentheses and (at.found == "{" or _starts_statement(at)))
    ):
        where, resume = at.span, at.position
    else:
        return None
    secondary = [Label(at.token_span(opener), "opened here")]
    made = diagnostic(
        "E009", where, f"expected `{closer}` before this", secondary=secondary, opener=str(opener)
    )
    return Mistake(made, resume)


def _starts_statement(at: Failure) -> bool:
    """Whether the word found opens a line that reads as a statement: `return ...`, `a, b = ...`."""
    if not at.opens_line(at.position):
        return False
    if at.found in STATEMENT_WORDS:
        return True
    text = at.source.text
    line_end = text.find("\n", at.position)
    line = text[at.position : len(text) if line_end < 0 else line_end]
    return re.match(r"[A-Za-z_]\w*(?:[ \t]*,[ \t]*[A-Za-z_]\w*)*[ \t]*=(?!=)", line) is not None


def _stands_alone(at: Failure) -> bool:
    """Whether the word before opens a line as a statement does: `return y`."""
    before = at.before
    return before is not None and before in STATEMENT_WORDS and at.opens_line(before.start_pos or 0)


def _assigns(at: Failure) -> bool:
    """Whether this is the `=` of a line `name = ...` at which a call left open stops."""
    before = at.before
    return (
        at.found == "="
        and before is not None
        and before.type == "NAME"
        and at.opens_line(before.start_pos or 0)
    )


def _stray_closer(at: Failure) -> Mistake | None:
    if at.found not in (")", "]", "}"):
        return None
    if at.opened and OPENING.get(at.opened[-1].type) == at.found:
        return None
    secondary = [Label(at.token_span(at.opened[-1]), "the open bracket")] if at.in_parentheses else []
    return at.mistake("E010", found=at.found, secondary=secondary)


def _colon_for_brace(at: Failure) -> Mistake | None:
    rest = at.source.text[at.position + 1 :].split("\n", 1)[0].strip()
    if at.found != ":" or "LBRACE" not in at.accepts or (rest and not rest.startswith("#")):
        return None
    return at.mistake("E012", help=("write `{` here and `}` after the last statement",))


def _augmented(at: Failure) -> Mistake | None:
    match = re.compile(r"(\*\*|//|[+\-*/%@])=").match(at.source.text, at.position)
    before = at.before
    if match is None or not at.after_head or before is None:
        return None
    span = Span(at.source, match.start(), match.end())
    help = f"write `{before} = {before} {match[1]} ...`"
    return at.mistake("E030", span, op=match[1], help=(help,))


def _equality(at: Failure) -> Mistake | None:
    if at.found != "=":
        return None
    claims = {"MORETHAN", "LESSTHAN"} <= at.accepts
    return at.mistake("E011", help=("write `==` to compare",)) if claims else None


def _label_statement(at: Failure) -> Mistake | None:
    if at.found == '"' and at.at_head:
        return at.mistake("E034", help=("name the result: `y = ... -> LABEL: call()`",))
    if at.found != "(" or len(at.tokens) < 3 or "EQUAL" not in at.accepts:
        return None
    name, colon = at.tokens[-3:-1]
    if colon.type != "COLON" or not at.opens_line(name.start_pos or 0) or at.in_parentheses:
        return None
    return at.mistake(
        "E034",
        at.token_span(name),
        help=(f"name the result, `y = {name}: ...`, or go on with the line before by `-> {name}: ...`",),
    )


_AT_TOP = {"const": ("a value of the whole file needs no word: `K = 3`",)}


def _misplaced(at: Failure) -> Mistake | None:
    before = at.before
    if not at.opened and at.at_head and at.found in STATEMENT_WORDS:
        return at.mistake("E035", word=at.found, help=_AT_TOP.get(at.found, ()))
    if before is None or not at.after_head or before.type != "NAME":
        return None
    if not at.opened and before in STATEMENT_WORDS and at.found != "=":
        help = _AT_TOP.get(str(before), ())
        return at.mistake("E035", at.token_span(before), word=str(before), help=help)
    if at.opened and before in ITEM_WORDS and (at.found[:1] in ('"', "{") or at.found[:1].isalpha()):
        return at.mistake("E036", at.token_span(before), word=str(before))
    return None


def _misspelt(at: Failure) -> Mistake | None:
    before = at.before
    if before is None or not at.after_head or before.type != "NAME" or "EQUAL" not in at.accepts:
        return None
    if not (at.found[:1].isalnum() or at.found[:1] in ("_", "{", '"')):
        return None
    known = STATEMENT_WORDS if at.opened else ITEM_WORDS
    kind = "statement" if at.opened else "declaration"
    help = [DECLARATIONS[before]] if before in DECLARATIONS else did_you_mean(before, known)
    return at.mistake("E014", at.token_span(before), word=str(before), kind=kind, help=help)


def _not_called(at: Failure) -> Mistake | None:
    before = at.before
    if before is None:
        return None
    if before.type == "COLON" and at.accepts == frozenset({"NAME"}):
        return _line_ends(at) or at.mistake("E015", after="a label")
    callee = {"LPAR", "DOT", "LSQB"}
    if not callee <= at.accepts or at.accepts - callee - {"COLON"}:
        return None
    last = at.tokens[-2] if len(at.tokens) > 1 else before
    if last.type == "COLON":
        help = "a label names one call; put parentheses around both to go on: `(fc: linear(3)) + 1`"
        return at.mistake("E015", at.token_span(before), "not a call", after="a label", help=(help,))
    help = (
        f"a label is followed by a colon: `{before}: linear(10)`"
        if at.found == "="
        else f"write `{before}()`"
    )
    return at.mistake("E015", at.token_span(before), "not a call", after="`->`", help=(help,))


def _unused(at: Failure) -> Mistake | None:
    if at.at_head and (at.found[:1] in ("(", "[", "-", "+") or at.found[:1].isdigit()):
        return at.mistake("E023", help=("name the value, as in `y = ...`, or `return` it",))
    before = at.before
    head = at.accepts <= {"EQUAL", "COMMA", "COLON"} and "EQUAL" in at.accepts
    if not head or before is None or before.type != "NAME" or not at.after_head:
        return None
    line = at.source.text[before.start_pos or 0 :].split("\n", 1)[0]
    if re.match(r"\w+[.\[][^=]*=(?!=)", line):
        help = (NAMES["self"],) if before == "self" else ()
        return at.mistake("E037", at.token_span(before), help=help)
    return at.mistake(
        "E023", at.token_span(before), help=(f"name the value, as in `y = {before}...`, or `return` it",)
    )


def _reserved(at: Failure) -> Mistake | None:
    if at.found in RESERVED and at.found != "not" and "NAME" in at.accepts:
        label = (
            at.line[at.position - at.source.text.rfind("\n", 0, at.position) - 1 :].partition(":")[0].strip()
        )
        help = (
            (f'a label that is a word of the language is quoted: `"{label}"`',) if label == at.found else ()
        )
        return at.mistake("E032", word=at.found, help=help)
    before = at.before
    if at.after_head and before is not None and at.found == "=" and before in (*STATEMENT_WORDS, *ITEM_WORDS):
        help = (FORMS[before],) if before in FORMS else ()
        return at.mistake("E032", at.token_span(before), word=str(before), help=help)
    return None


_AFTER_LABEL = ("the call stands on the line of its label: `fc: linear(10)`",)


def _line_ends(at: Failure) -> Mistake | None:
    if at.found != "\n" and not (at.found == "" and not at.opened):
        return None
    before = at.before
    if "LBRACE" in at.accepts and at.source.text[at.position :].lstrip().startswith("{"):
        help = ("the brace belongs at the end of this line",)
    elif before is not None and before.type == "ARROW":
        help = ("begin the next line with `->`",)
    elif before is not None and before.type == "COLON" and at.accepts == frozenset({"NAME"}):
        help = _AFTER_LABEL
    elif "LBRACE" in at.accepts and "NAME" not in at.accepts:
        help = ("a body begins with `{` at the end of this line",)
    else:
        help = advice(at.situation) or ("lines go on inside `( )`",)
    expected = "a call" if help == _AFTER_LABEL else describe(at.accepts)
    return at.mistake("E031", expected=expected, help=help)


def _unexpected(at: Failure) -> Mistake:
    found = quoted(at.found) if at.found else "the end of the file"
    secondary = [Label(at.token_span(at.opened[-1]), "inside this")] if at.in_parentheses else []
    expected = describe(at.accepts)
    return at.mistake("E001", found=found, expected=expected, secondary=secondary, help=advice(at.situation))


RULES: tuple[Callable[[Failure], Mistake | None], ...] = (
    _no_header,
    _open_text,
    _foreign_sign,
    _stray_character,
    _python,
    _bare_label,
    _unclosed,
    _stray_closer,
    _colon_for_brace,
    _augmented,
    _equality,
    _label_statement,
    _misplaced,
    _misspelt,
    _not_called,
    _reserved,
    _unused,
    _line_ends,
    _unexpected,
)
