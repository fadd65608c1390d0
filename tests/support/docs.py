"""Documents as programs: their plans are files, their console lines are run, their Python is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A fenced block: its kind, the file name beside it if any, its text, and its line."""

    kind: str
    name: str | None
    text: str
    line: int


class Typed(NamedTuple):
    """A command typed at a prompt, with the output shown below it ("" where none is shown)."""

    command: str
    output: str
    line: int


def fences(document: str) -> Iterator[Fence]:
    """The fenced blocks of a document that name what they hold."""
    for found in _FENCE.finditer(document):
        yield Fence(found[1], found[2], found[3], document.count("\n", 0, found.start()) + 1)


def typed(fence: Fence) -> Iterator[Typed]:
    """The commands of a `console` block: lines after `$ `, each followed by its output."""
    for part in re.split(r"^\$ ", fence.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Typed(command, output, fence.line)


def write_plans(document: str, folder: Path) -> list[str]:
    """Write the plans that have a file name; the names."""
    names: list[str] = []
    for fence in fences(document):
        if fence.kind == "planform" and fence.name is not None:
            (folder / fence.name).write_text(fence.text, encoding="utf-8")
            names.append(fence.name)
    return names


def expected_code(command: str) -> int:
    """The exit code that a command's comment announces: `# exits with 1`; otherwise 0."""
    said = re.search(r"# exits with (\d+)", command)
    return int(said[1]) if said else 0


def matches(shown: str, got: str) -> bool:
    """Whether an output is the one shown; a line `...` stands for any lines, `...` within one for any text."""
    lines = ["(?:.*\n)*?" if line == "..." else _line(line) for line in shown.rstrip("\n").split("\n")]
    return re.fullmatch("".join(lines), got.rstrip("\n") + "\n") is not None


def _line(text: str) -> str:
    return ".*".join(map(re.escape, text.rstrip().split("..."))) + "[ ]*\n"
