"""Counts lines of code: of plans by their syntax trees, of Python classes and functions by theirs.

A line of code is one that is neither blank, nor only a comment, nor part of a docstring. A comment behind
code does not make a line of its own, and a bracket alone on a line does.

`python docs/lengths.py FILE NAME...` prints the lines of the named classes and functions of a Python file.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from planform.dsl import std, syntax
from planform.dsl.loader import Loader

STD = sorted(Path(std.__file__).parent.glob("*.plan"))
SHARED_BY = 3
"""Blocks of the library that so many files use belong to nobody; those of fewer count as theirs."""

_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def python_lines(text: str, names: Iterable[str]) -> int:
    """Lines of code of the named classes and functions at the top of a Python text; raises KeyError."""
    tree = ast.parse(text)
    tops = {node.name: node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    code = _written(text) - _docstrings(tree)
    return sum(len(code & _rows(tops[name])) for name in names)


def _written(text: str) -> set[int]:
    """The lines that hold more than blanks and comments."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return found


def _docstrings(tree: ast.AST) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            first = node.body[0]
            found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def _rows(node: ast.ClassDef | ast.FunctionDef) -> set[int]:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return set(range(first, (node.end_lineno or node.lineno) + 1))


@dataclass(frozen=True)
class PlanLines:
    """Lines of code of a plan file: all of it, and all but `about`, claims and budgets."""

    all: int
    network: int


def plan_lines(path: Path) -> PlanLines:
    """The lines of code of a plan file."""
    tree = parsed(path)
    header = 1  # `planform 1`, which is no item
    counts = [(item, item_lines(item)) for item in tree.items]
    said = sum(lines for item, lines in counts if isinstance(item, (syntax.About, syntax.Claim)))
    everything = header + sum(lines for _, lines in counts)
    return PlanLines(everything, everything - said)


def item_lines(item: syntax.Item) -> int:
    """The lines of code of a declaration."""
    lines = item.span.source.text[item.span.start : item.span.end].split("\n")
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


def parsed(path: Path) -> syntax.File:
    """The syntax tree of a plan file."""
    loader = Loader()
    return loader.parsed(loader.read(path))


def library() -> dict[str, syntax.Item]:
    """The declarations of the library by name."""
    found: dict[str, syntax.Item] = {}
    for path in STD:
        for item in parsed(path).items:
            if isinstance(item, (syntax.Block, syntax.Let, syntax.Table)):
                found[item.target.name] = item
    return found


def library_names(path: Path, known: dict[str, syntax.Item]) -> set[str]:
    """What a file takes from the library, and what that takes in turn."""
    taken = {
        name.name
        for item in parsed(path).items
        if isinstance(item, syntax.Use) and item.library == "std"
        for name in item.names
    }
    found: set[str] = set()
    while taken:
        name = taken.pop()
        found.add(name)
        taken |= {used for used in names(known[name]) if used in known} - found
    return found


def own_library(paths: Collection[Path]) -> dict[Path, dict[str, int]]:
    """For each file the declarations of the library that few files use, with their lines of code."""
    known = library()
    uses = {path: library_names(path, known) for path in paths}
    count = Counter(name for taken in uses.values() for name in taken)
    return {
        path: {name: item_lines(known[name]) for name in sorted(taken) if count[name] < SHARED_BY}
        for path, taken in uses.items()
    }


def names(node: object) -> Iterator[str]:
    """All names that a piece of syntax refers to."""
    if isinstance(node, syntax.Name):
        yield node.id
    elif isinstance(node, syntax.Node):
        for field in fields(node):
            yield from names(getattr(node, field.name))
    elif isinstance(node, tuple):
        for part in node:
            yield from names(part)


if __name__ == "__main__":
    print(python_lines(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:]))
