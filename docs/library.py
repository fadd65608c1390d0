"""The page of the standard library: every block with its signature and what stands before it in the file."""

from __future__ import annotations

from pathlib import Path

from planform.dsl import syntax
from planform.dsl.loader import library
from planform.dsl.source import Source

HEAD = """# The standard library

{generated}
Blocks that networks share, written in the language itself ([dsl/std](../dsl/std)): `use std (mlp)` takes
them by name. Inputs come first, then static parameters with their defaults; a call without inputs is a
block value, `mlp(64, act=relu())`. Blocks take what differs between networks: `map`, a block that makes the
linear maps, such as `linear(init=xavier_uniform())`; `norm` and `act`, blocks; `init`, an initialiser;
`names`, those of the weights, in the order of the calls. An `inline` block puts its weights into the scope
of its caller, or below its label if it has one.
"""


def page(generated: str) -> str:
    """The page, file by file."""
    parts = [HEAD.format(generated=generated)]
    for file in library():
        parts += [f"## {Path(file.source.name).name}\n", f"{_comment(file.source, _first_line(file))}\n"]
        for item in file.items:
            if isinstance(item, syntax.Block):
                parts += [f"### {item.target.name}\n", f"```\n{_signature(item)}\n```\n"]
                parts += [f"{_comment(file.source, item.span.line)}\n"]
            elif isinstance(item, syntax.Let):
                parts += [f"### {item.target.name}\n", f"```\n{item.span.text}\n```\n"]
    return "\n".join(parts)


def _first_line(file: syntax.File) -> int:
    """The line after the comment that opens a file."""
    lines = file.source.text.split("\n")
    number = next(at for at, line in enumerate(lines) if line.startswith("#"))
    while lines[number].startswith("#"):
        number += 1
    return number + 1


def _comment(source: Source, line: int) -> str:
    """The comment that ends before a line (counted from 1), as a paragraph or several."""
    lines = source.text.split("\n")[: line - 1]
    first = len(lines)
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(text.removeprefix("#").removeprefix(" ") for text in lines[first:])


def _signature(block: syntax.Block) -> str:
    """The head of a block, without its body."""
    return block.span.text.partition(" {\n")[0]
