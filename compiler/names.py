"""Names and texts of a plan in what is made of it: Python, pictures, terminals, JSON.

A plan's names are ASCII words, yet any of them may be a keyword or a builtin somewhere; its texts are
anything. Each output takes them through one of these functions. Paths of weights are never changed.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable
from html import escape

# What generated Python calls by these names, so that no argument may hide them.
USED = frozenset(
    [
        *(
            "F",
            "nn",
            "torch",
            "check_inputs",
            "float",
            "getattr",
            "max",
            "min",
            "next",
            "range",
            "reversed",
            "slice",
            "super",
        ),
        # Names that torch.fx writes into the code of its graphs.
        *("device", "fx_pytree", "inf", "nan", "NoneType", "pytree"),
    ]
)


def is_attribute(text: str) -> bool:
    """Whether Python code can say `x.text`."""
    return text.isascii() and text.isidentifier() and not keyword.iskeyword(text)


def identifier(text: str) -> str:
    """The text as a Python name, which is neither a keyword nor `self`: `class` is `class_`."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "value"
    name = f"_{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def fresh(name: str, taken: Collection[str], between: str = "_") -> str:
    """The name, with a number behind it if it is taken."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}{between}{count}"
    return found


def arguments(texts: Iterable[str], taken: Collection[str] = USED) -> list[str]:
    """Texts as names of a Python function's arguments, all different; `taken` stay visible in its body."""
    found: list[str] = []
    for text in texts:
        name = identifier(text)
        found.append(fresh(f"{name}_" if name in taken else name, {*found, *taken}))
    return found


def printable(text: str) -> str:
    """The text in one line, with escapes for what a terminal, an editor or a browser would act upon.

    Those are control characters, marks of direction, lone surrogates, and separators other than the space.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def lines_printable(text: str) -> str:
    """The same for a text of several lines, with tabs."""
    if text.isprintable():
        return text
    return re.sub(r"[^\n\t]+", lambda piece: printable(piece[0]), text)


def quoted(text: str) -> str:
    """A literal in double quotes, as Python, C and JavaScript read it."""
    return '"' + printable(text.replace("\\", "\\\\")).replace('"', '\\"') + '"'


def docstring(text: str) -> str:
    """A text for between three double quotes."""
    # Python takes no lone surrogates there, not even escaped.
    text = re.sub("[\ud800-\udfff]", "\ufffd", text)
    return re.sub(r'"(?="|\Z)|(?<=")"', r'\\"', printable(text.replace("\\", "\\\\")))


def markup(text: str) -> str:
    """A text for XML and HTML, in an element or a quoted attribute."""
    return escape(printable(text))


def json_printable(text: str) -> str:
    """Text in JSON with escapes for what is not printable in its strings; line breaks and spaces remain."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else _json_escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
