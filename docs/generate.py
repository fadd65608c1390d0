"""Writes docs/diagnostics.md and docs/operators.md from tables in the code, docs/atlas.md and docs/std.md
from plans.

`python docs/generate.py` writes them; with `--check` it changes nothing and exits with 1 if they are not
current. With `--references` it first counts the lines of the references that are installed, for
docs/references.toml.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

from atlas import REFERENCES, recounted
from atlas import page as atlas
from library import page as library_page

from planform.cli.explain import example, indented, summary
from planform.compiler.ops import Layer, registry
from planform.dsl.codes import CODES

HERE = Path(__file__).resolve().parent
_RANGES = {
    "E0": "Text, limits and syntax",
    "E1": "Names and declarations",
    "E2": "Static values",
    "E3": "Shapes and operators",
    "E4": "Weights and labels",
    "E5": "Modes, taps and models",
    "E6": "Claims and budgets",
    "E7": "Compiling and running",
    "W9": "Warnings",
}
_GENERATED = "<!-- Written by docs/generate.py; edit the table in the code instead. -->\n"


def diagnostics() -> str:
    """Every code: its message, what it means, and an example with what it prints."""
    parts = [
        "# Diagnostics\n",
        _GENERATED,
        "Every diagnostic has a code that stays the same; `planform explain CODE` prints what stands here.",
        "Fields of a message are shown as `{name}`. Codes beginning with E are errors, with W warnings.\n",
    ]
    for prefix, title in _RANGES.items():
        codes = sorted(code for code in CODES if code.startswith(prefix))
        if codes:
            parts.append(f"## {title}\n")
        for code in codes:
            parts += _diagnostic(code)
    return "\n".join(parts)


def _diagnostic(code: str) -> list[str]:
    entry = CODES[code]
    message = summary(entry.message)
    parts = [f"### {code}\n"]
    if message:
        parts.append(f"**{message}**\n")
    parts.append(f"{entry.explanation}\n")
    shown = example(code)
    if shown is not None:
        parts += [f"```\n{_plain(entry.bad[0])}\n```\n", f"```\n{_plain(shown)}\n```\n"]
    return parts


def _plain(text: str) -> str:
    """What `explain` prints, without its indentation."""
    return "\n".join(line.removeprefix("    ") for line in indented(text).split("\n"))


def operators() -> str:
    """Every operator: its signature and its documentation, by family."""
    families: dict[str, list[str]] = {}
    for name, operator in registry().items():
        families.setdefault(operator.__module__.rpartition(".")[2], []).append(name)
    table: Mapping[str, Any] = registry()
    parts = [
        "# Operators\n",
        _GENERATED,
        "Inputs are tensors and come first; `name?` may be left out, and `*name` takes any number. Static",
        "arguments follow, with their defaults. Weights that an operator owns stand under the label of its",
        "call.\n",
    ]
    for family in sorted(families):
        parts.append(f"## {family.replace('_', ' ')}\n")
        for name in sorted(families[family]):
            parts += [
                f"### {name}\n",
                f"```\n{signature(name, table[name])}\n```\n",
                f"{_text(table[name])}\n",
            ]
    return "\n".join(parts)


def signature(name: str, operator: Any) -> str:
    """`conv(x, out, kernel, stride=1)`: the operands, then the arguments."""
    marks: Mapping[str, Callable[[str], str]] = {
        "one": lambda name: name,
        "optional": lambda name: f"{name}?",
        "many": lambda name: f"*{name}",
    }
    words = [marks[operand.arity](operand.name) for operand in operator.signature()]
    for argument in operator.arguments().values():
        words.append(argument.name if argument.required else f"{argument.name}={_value(argument.default)}")
    return f"{name}({', '.join(words)})"


def _text(operator: Any) -> str:
    kind = "\n\nOwns its weights." if issubclass(operator, Layer) else ""
    return cleandoc(operator.__doc__) + kind


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


PAGES: dict[str, Callable[[], str]] = {
    "diagnostics.md": diagnostics,
    "operators.md": operators,
    "atlas.md": atlas,
    "std.md": lambda: library_page(_GENERATED),
}


def main() -> int:
    """Write the pages, or say which are not current."""
    if "--references" in sys.argv[1:]:
        REFERENCES.write_text(recounted(REFERENCES.read_text(encoding="utf-8")), encoding="utf-8")
    stale = 0
    for name, page in PAGES.items():
        text = page()
        path = HERE / name
        current = path.exists() and path.read_text(encoding="utf-8") == text
        if "--check" in sys.argv[1:]:
            if not current:
                print(f"docs/{name} is not current: run python docs/generate.py")
                stale += 1
        elif not current:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name} written")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
