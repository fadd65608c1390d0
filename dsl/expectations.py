"""What the parser would have accepted, in the words of the language."""

from __future__ import annotations

from collections.abc import Iterable

GROUPS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    # (words, terminals that must all be accepted, terminals that the words cover)
    (
        "a value",
        frozenset({"NAME", "NUMBER", "QUOTE", "LPAR"}),
        frozenset(
            {
                "NAME",
                "NUMBER",
                "QUOTE",
                "LPAR",
                "LSQB",
                "LBRACE",
                "MINUS",
                "PLUS",
                "NOT",
                "TRUE",
                "FALSE",
                "NONE",
            }
        ),
    ),
    (
        "an operator",
        frozenset({"PLUS", "STAR", "POWER"}),
        frozenset(
            {
                "PLUS",
                "MINUS",
                "STAR",
                "SLASH",
                "FLOORDIV",
                "PERCENT",
                "MATMUL",
                "POWER",
                "EQ",
                "NE",
                "LE",
                "GE",
            }
            | {"LESSTHAN", "MORETHAN", "IN", "IS", "NOT", "AND", "OR", "IF", "LPAR", "LSQB", "DOT", "ARROW"}
        ),
    ),
    (
        "a statement",
        frozenset({"RETURN", "SHARED", "IF"}),
        frozenset({"NAME", "RETURN", "IF", "FOR", "REQUIRE", "FROZEN", "PARAM", "BUFFER", "CONST", "SHARED"}),
    ),
    (
        "a declaration",
        frozenset({"BLOCK", "MODEL", "PLAN"}),
        frozenset({"NAME", "ABOUT", "USE", "TABLE", "BLOCK", "INLINE", "MODEL", "PLAN", "CLAIM", "BUDGET"}),
    ),
    (
        "a type",
        frozenset({"LIST", "LSQB", "NAME"}),
        frozenset({"LIST", "LSQB", "NAME", "LPAR", "LBRACE", "NONE"}),
    ),
    ("a label or a call", frozenset({"FROZEN", "NAME", "QUOTE"}), frozenset({"FROZEN", "NAME", "QUOTE"})),
)

WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "QUOTE": "a text",
    "TEXT": "a text",
    "_NL": "a line break",
    "$END": "the end of the file",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "DOT": "`.`",
    "VBAR": "`|`",
    "ARROW": "`->`",
    "ELLIPSIS": "`...`",
    "STAR": "`*`",
    "PERCENT": "`%`",
    "PLUS": "`+`",
    "MINUS": "`-`",
    "SLASH": "`/`",
    "FLOORDIV": "`//`",
    "MATMUL": "`@`",
    "POWER": "`**`",
    "EQ": "`==`",
    "NE": "`!=`",
    "LE": "`<=`",
    "GE": "`>=`",
    "LESSTHAN": "`<`",
    "MORETHAN": "`>`",
}


def quoted(text: str) -> str:
    """A word in backticks; a line break or an unprintable character by name."""
    if text == "\n":
        return "the end of the line"
    if len(text) == 1 and not text.isprintable():
        return f"U+{ord(text):04X}"
    return f"`{text}`"


def describe(accepts: Iterable[str]) -> str:
    """Accepted terminals as a phrase: "a value, `,` or `)`"."""
    left = set(accepts)
    phrases: list[str] = []
    for words, needed, covered in GROUPS:
        if needed <= left:
            phrases.append(words)
            left -= covered
    if len(left) > 1:
        left -= {"$END"}
    phrases += sorted(WORDS.get(terminal, f"`{terminal.lower()}`") for terminal in left)
    if not phrases:
        return "nothing more"
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} or {phrases[-1]}"
