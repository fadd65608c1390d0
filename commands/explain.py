"""`planform explain`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ..terminal import complain_of, paint, say, say_json
from .frame import FINE, SCHEMA, Failure, Json, command

_LINES = 20


@command
def explain(
    code: Annotated[str, typer.Argument(help="A code such as E301.")],
    json: Json = False,
) -> int:
    """Explain the code of a diagnostic, with an example."""
    from ..dsl.codes import CODES
    from ..dsl.suggest import did_you_mean

    wanted = code.upper().strip("[]")
    if wanted not in CODES:
        raise Failure(f"no diagnostic has the code {code}", *did_you_mean(wanted, CODES))
    entry = CODES[wanted]
    if json:
        about = {"planform_json": SCHEMA, "kind": "explain", "code": wanted, "message": entry.message}
        say_json({**about, "explanation": entry.explanation, "bad": list(entry.bad)})
        return FINE
    message = summary(entry.message)
    say(paint(wanted, "red") + (f": {paint(message, 'bold')}" if message else ""))
    say()
    say(entry.explanation)
    if entry.bad:
        say("\nFor example:\n")
        say(_excerpt(entry.bad[0]))
        say("\ngives\n")
        sys.stdout.flush()
        _show(entry.bad[0], wanted)
    return FINE


def summary(template: str) -> str:
    """A message's template for people; empty where the message says nothing without its fields."""
    words = re.sub(r"(?<!{){\w+}(?!})", "", template)
    return template.replace("{{", "{").replace("}}", "}") if re.search(r"\w", words) else ""


def _excerpt(text: str) -> str:
    """The text, indented; long ones are clipped."""
    lines = text.rstrip("\n").split("\n")
    shown = [line if len(line) <= 100 else f"{line[:97]}..." for line in lines[:_LINES]]
    return "\n".join(f"    {line}".rstrip() for line in [*shown, *(["..."] if len(lines) > _LINES else [])])


def _show(text: str, code: str) -> None:
    """The diagnostic that a text causes."""
    from ..api import PlanFile
    from ..dsl.diagnostics import PlanError
    from ..dsl.render import render
    from ..dsl.source import Source

    # A folder of its own: what the text imports is looked for beside it.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "example.plan"
        try:
            found = PlanFile(path, Source(path.name, text, str(path))).check().diagnostics
        except PlanError as error:
            found = error.diagnostics
    for diagnostic in found:
        if diagnostic.code == code:
            say("\n".join(f"    {line}".rstrip() for line in render(diagnostic).split("\n")))
            return
    complain_of(found)
