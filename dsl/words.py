"""The words of the language, and what to write for those of other languages."""

from __future__ import annotations

ITEM_WORDS = ("about", "use", "table", "block", "inline", "model", "plan", "claim", "budget")
STATEMENT_WORDS = ("return", "if", "for", "require", "param", "buffer", "const", "shared", "frozen")
RESERVED = ("if", "else", "for", "in", "is", "and", "or", "not", "when", "true", "false", "none")

PYTHON = {
    "def": "a part of a network is `block NAME(x: [B, C], ...) { ... }`",
    "class": "a part of a network is `block NAME(x: [B, C], ...) { ... }`",
    "import": 'other files are read by `use std (NAME)` or `use "file.plan" (NAME)`',
    "from": 'other files are read by `use std (NAME)` or `use "file.plan" (NAME)`',
    "elif": "write `else if`",
    "while": "loops are `for NAME in LIST { ... }`, unrolled when the file is read",
    "lambda": "a block is a value by itself: `mixer = attention(heads=8)`",
    "pass": "leave the braces empty",
    "with": "there are no contexts; what a block needs is passed to it",
    "try": "nothing is caught; demand what must hold by `require CONDITION`",
    "raise": 'demand what must hold by `require CONDITION, "message"`',
    "assert": 'demand what must hold by `require CONDITION, "message"`',
    "print": "tests and reports are commands of `planform`, not statements",
    "yield": "name the values in a list or record",
    "del": "names need not be removed",
    "global": "a file's values are visible in all its blocks",
}

FORMS = {
    "about": "write `about { title = ... }`",
    "use": 'write `use "file.plan" (NAME)`',
    "table": "write `table NAME { ... }`, with a row a line",
    "block": "write `block NAME(x: [B, C], ...) { ... }`",
    "model": "write `model NAME(x: [B, C], ...) { ... }`",
    "plan": "write `plan NAME = model(...)`",
    "claim": "write `claim PLAN: METRIC == VALUE`",
    "budget": "write `budget PLAN: METRIC <= VALUE`",
}
"""The form of each declaration, for where its word stands and the rest does not follow."""

CHARACTERS = {
    "'": "texts stand in double quotes",
    "\u2018": "texts stand in straight double quotes",
    "\u2019": "texts stand in straight double quotes",
    "\u201c": "texts stand in straight double quotes",
    "\u201d": "texts stand in straight double quotes",
    "`": "texts stand in double quotes",
    ";": "a line break ends a statement",
    "&": "write `and`",
    "!": "write `not`",
    "?": "a choice is `a if c else b`",
    "~": "write `not`",
    "$": 'a value within a text stands in braces: `"stage{i}"`',
    "\u2192": "a pipe is `->`",
    "\u2212": "a minus is `-`",
    "\u2013": "a minus is `-`",
    "\u2014": "a minus is `-`",
    "\u00d7": "a product is `*`",
    "\u00b7": "a product is `*`",
    "\u00f7": "a quotient is `/`, of whole numbers `//`",
    "\u2264": "write `<=`",
    "\u2265": "write `>=`",
    "\u2260": "write `!=`",
    "\u221a": "write `sqrt(...)`",
    "\u03c0": "write `pi`",
    "^": "a power is `**`",
    "\\": "lines go on inside `( )` and before `->`",
}
