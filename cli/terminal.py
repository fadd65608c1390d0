"""What the command line writes: text to stdout, trouble to stderr, colours where somebody looks."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from ..compiler.names import json_printable, lines_printable

if TYPE_CHECKING:
    from ..dsl.diagnostics import Diagnostic

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "1;33",
    "blue": "34",
    "cyan": "36",
}
_COLOUR = re.compile(r"(\033\[[0-9;]*m)")
_COLOURS = {"error": "red", "warning": "yellow"}


def coloured(stream: TextIO) -> bool:
    """Whether a stream takes colours: a terminal, unless NO_COLOR is set; FORCE_COLOR sets them anyway."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style, if the stream (stdout by default) takes colours."""
    text = lines_printable(text)
    if not text or not coloured(stream or sys.stdout):
        return text
    return f"\033[{_STYLES[style]}m{text}\033[0m"


def _harmless(text: str, stream: TextIO) -> str:
    """The text without control characters, but for the colours of a stream that takes them."""
    pieces = _COLOUR.split(text) if coloured(stream) else [text]
    return "".join(piece if number % 2 else lines_printable(piece) for number, piece in enumerate(pieces))


def say(text: str = "", end: str = "\n") -> None:
    """Write a result; what could steer a terminal is shown and not sent."""
    sys.stdout.write(_harmless(text, sys.stdout) + end)


def complain(text: str) -> None:
    """Write about trouble; what was said so far comes first."""
    sys.stdout.flush()
    sys.stderr.write(_harmless(text, sys.stderr) + "\n")


def say_json(data: Any) -> None:
    """Write data as JSON."""
    say(json_printable(json.dumps(data, indent=2, ensure_ascii=False)))


def complain_of(diagnostics: Iterable[Diagnostic]) -> None:
    """Write diagnostics, with blank lines between and after them."""
    from ..dsl.render import render

    for diagnostic in diagnostics:
        text = render(diagnostic)
        complain((_painted(text) if coloured(sys.stderr) else text) + "\n")


def remark(kind: str, message: str, help: Iterable[str] = (), code: str | None = None) -> None:
    """Write an error or warning that has no place in a plan."""
    head = kind if code is None else f"{kind}[{code}]"
    message, help = lines_printable(message), map(lines_printable, help)
    complain("\n".join([f"{paint(head, _COLOURS[kind], sys.stderr)}: {message}", *map(_help, help)]))


def rendered(renderable: Any, width: int | None = None) -> str:
    """A rich renderable as text for stdout."""
    from io import StringIO
    from shutil import get_terminal_size

    from rich.console import Console

    colours = coloured(sys.stdout)
    console = Console(
        file=StringIO(),
        width=width or max(get_terminal_size((100, 24)).columns, 40),
        force_terminal=colours,
        no_color=not colours,
        legacy_windows=False,
    )
    console.print(renderable)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # the StringIO of above
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _help(text: str) -> str:
    return f"  {paint('help', 'cyan', sys.stderr)}: {text}"


def _painted(text: str) -> str:
    """A rendered diagnostic in colours."""
    lines = text.split("\n")
    head, colon, message = lines[0].partition(":")
    style = _COLOURS[head.partition("[")[0]]
    painted = [_style(head + colon, style) + _style(message, "bold")]
    for line in lines[1:]:
        line = re.sub(r"^( *\d* \||\s*-->|\s*:::|\s*:$)", lambda found: _style(found[0], "blue"), line)
        line = re.sub(r"(?<=\s)\^+( .*)?$", lambda found: _style(found[0], style), line)
        line = re.sub(r"(?<=\s)-{1,}( .*)?$", lambda found: _style(found[0], "blue"), line)
        line = re.sub(r"^( *= )(help:)", lambda found: found[1] + _style(found[2], "cyan"), line)
        painted.append(line)
    return "\n".join(painted)


def _style(text: str, style: str) -> str:
    return f"\033[{_STYLES[style]}m{text}\033[0m"
